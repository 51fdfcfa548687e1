"""Starts, asks and stops the two servers that every benchmark compares.

`baseline` is the frozen app of `baseline/`, `ours` is `entitlement-sidecar run`. Both get the same
environment, a fresh directory for each start, a control group of their own and one fake AWS.
Everything listens on loopback, on fixed ports below the ephemeral range: a client that retries a
connect to a free ephemeral port can end up connected to itself.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final, Literal

import kernel
from arguments import positive_integer

HERE: Final = Path(__file__).resolve().parent
KEY_DIR: Final = Path(tempfile.gettempdir()) / f"entitlement-bench-{os.getuid()}"
PRODUCT_CODE: Final = "prod1"
REFUSED_PAUSE_SECONDS: Final = 0.001
UNENTITLED_PAUSE_SECONDS: Final = 0.010  # tighter polling would cost an early answerer its CPU
BOOT_SECONDS_MAX: Final = 60
STOP_SECONDS_MAX: Final = 15
REST_SECONDS: Final = 1.0
"""From entitled, or from the last acknowledged push, to a server at rest. Nothing tells when that is."""
RESPONSE_BYTES_MAX: Final = 65_536
PR_SET_PDEATHSIG: Final = 1
LIBC: Final = ctypes.CDLL(None)

METERING: Final = {"SIDECAR_DIMENSIONS": '[{"name":"requests","tags":["tenant"]}]'}
"""What the sidecar needs to accept usage; the baseline always does."""
PUSH_PATH: Final = {"baseline": "/usage", "ours": "/v1/usage"}

Side = Literal["baseline", "ours"]
SIDES: Final[tuple[Side, Side]] = ("baseline", "ours")
BASELINE_PACKAGES: Final = ("gunicorn", "pydantic", "prometheus_client", "structlog")


@dataclass(frozen=True, kw_only=True)
class Setup:
    """How to run both sides; the same for every benchmark of one run."""

    rounds: int | None
    quick: bool
    port: int
    ours_command: str
    healthcheck_command: str
    loader: str
    peer: Path | None

    def count(self, full: int, quick: int) -> int:
        """Rounds to keep, after the first one, which is dropped."""
        return self.rounds or (quick if self.quick else full)

    def probe_port(self, side: Side) -> int:
        return self.port + (1 if side == "baseline" else 2)

    def push_port(self, side: Side) -> int:
        """Ours has a listener of its own for the product."""
        return self.port + (1 if side == "baseline" else 3)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    command = Path(sys.executable).with_name("entitlement-sidecar")
    parser.add_argument("--rounds", type=positive_integer, help="measured rounds (default: what each benchmark needs)")
    parser.add_argument("--quick", action="store_true", help="smoke run: few rounds, 10 s idle")
    parser.add_argument("--port", type=int, default=18480, help="first of four loopback ports")
    parser.add_argument("--json", action="store_true", help="results as JSON")
    parser.add_argument(
        "--loader", choices=["auto", "wrk", "python"], default="auto", help="who pushes (auto: wrk if any)"
    )
    parser.add_argument(
        "--peer", type=Path, help="binary of Google Cloud's ubbagent, to be measured in the same minute"
    )
    ours = "another `ours`; {probe_port} and {api_port} are replaced"
    parser.add_argument("--ours-command", default=f"{command} run", help=ours)
    parser.add_argument("--healthcheck-command", default=f"{command} healthcheck", help=ours)


def setup_from(options: argparse.Namespace) -> Setup:
    first_ephemeral = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    if options.port + 3 >= first_ephemeral:
        raise SystemExit(f"--port must stay below {first_ephemeral - 3}, where ephemeral ports begin")
    if options.peer and not os.access(options.peer, os.X_OK):
        raise SystemExit(f"--peer {options.peer} is no program that can be run")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that servers are stopped on the way out
    return Setup(
        rounds=options.rounds,
        quick=options.quick,
        port=options.port,
        ours_command=options.ours_command,
        healthcheck_command=options.healthcheck_command,
        loader=options.loader,
        peer=options.peer,
    )


def environment(setup: Setup, probe_port: int, home: str) -> dict[str, str]:
    """Nothing of the caller's: a stray PYTHON*, proxy or AWS variable would be measured too."""
    aws, key = f"http://127.0.0.1:{setup.port}", str(KEY_DIR / "public.pem")
    return {
        "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin",
        "HOME": home,
        "LANG": "C.UTF-8",
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "AKIABENCHMARK",
        "AWS_SECRET_ACCESS_KEY": "benchmark",
        "POD_UID": str(uuid.uuid5(uuid.NAMESPACE_DNS, "bench")),
        # the baseline's
        "AWS_ENDPOINT": aws,
        "PRODUCT_CODE": PRODUCT_CODE,
        "PUBLIC_KEY_FILE": key,
        "LEDGER": f"{home}/ledger.db",
        # ours
        "SIDECAR_PRODUCT_CODE": PRODUCT_CODE,
        "SIDECAR_PUBLIC_KEY_FILE": key,
        "SIDECAR_PUBLIC_KEY_VERSION": "1",
        "SIDECAR_ENDPOINT_URL": aws,
        "SIDECAR_STATE_DIR": home,
        "SIDECAR_PROBE_BIND": f"127.0.0.1:{probe_port}",
        "SIDECAR_API_BIND": f"127.0.0.1:{setup.port + 3}",
    }


def _argv(setup: Setup, side: Side) -> list[str]:
    port = setup.probe_port(side)
    if side == "ours":
        api_port = str(setup.push_port(side))
        return shlex.split(setup.ours_command.replace("{probe_port}", str(port)).replace("{api_port}", api_port))
    gunicorn = str(Path(sys.executable).with_name("gunicorn"))
    flags = shlex.split(f"-k gthread --threads 4 -w 1 -b 127.0.0.1:{port} --chdir")
    if missing := [name for name in BASELINE_PACKAGES if find_spec(name) is None]:
        command = ".venv/bin/uv sync --locked --inexact --group bench"
        raise SystemExit(f"the baseline needs {', '.join(missing)}: {command}")
    return [gunicorn, *flags, str(HERE / "baseline"), "app:app"]


@dataclass(frozen=True, kw_only=True)
class Server:
    """A started process tree."""

    side: Side
    pid: int
    port: int
    """Where probes go."""
    push_port: int
    started_ns: int
    """Monotonic, in the child, just before exec."""
    group: kernel.Group
    home: str

    def ended(self) -> bool:
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def kill(self) -> None:
        """The whole tree at once, without a word: nothing is flushed, sealed or sent on the way out."""
        pids = kernel.tree(self.pid) | self.group.pids()
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + STOP_SECONDS_MAX
        while any(_alive(pid) for pid in pids):
            if time.monotonic() > deadline:
                raise SystemExit(f"{self.side} does not die")
            time.sleep(0.01)

    def log_tail(self) -> str:
        return (Path(self.home) / "bench.log").read_text(errors="replace")[-2000:]


def _alive(pid: int) -> bool:
    """False for what is gone and for what only waits to be reaped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


@contextmanager
def running(
    setup: Setup, side: Side, *, quota_us: int | None = None, extra: Mapping[str, str] | None = None
) -> Iterator[Server]:
    """Start one side, with `extra` environment; whatever happens, its whole tree is gone afterwards."""
    port = setup.probe_port(side)
    require_free(port)
    group = kernel.Group(f"entitlement-bench-{os.getpid()}-{side}-{port}")
    with tempfile.TemporaryDirectory(prefix="entitlement-bench-") as home:
        if quota_us:
            group.limit_cpu(quota_us)
        env = environment(setup, port, home) | (extra or {})
        process, started_ns = _spawn(_argv(setup, side), env, group, home)
        server = Server(
            side=side, pid=process.pid, port=port, push_port=setup.push_port(side),
            started_ns=started_ns, group=group, home=home,
        )  # fmt: skip
        try:
            yield server
        finally:
            group.limit_cpu(None)
            _stop(process)
            group.remove()


def _spawn(argv: list[str], env: dict[str, str], group: kernel.Group, home: str) -> tuple[subprocess.Popen[bytes], int]:
    reader, writer = os.pipe()

    def before_exec() -> None:
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        group.join()
        os.write(writer, str(time.monotonic_ns()).encode())

    with (Path(home) / "bench.log").open("wb") as log:
        process = subprocess.Popen(
            argv, env=env, preexec_fn=before_exec, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip
    os.close(writer)
    started_ns = int(os.read(reader, 32))
    os.close(reader)
    return process, started_ns


def _stop(process: subprocess.Popen[bytes]) -> None:
    pids = kernel.tree(process.pid)
    process.terminate()
    try:
        process.wait(STOP_SECONDS_MAX)
    except subprocess.TimeoutExpired:
        print(f"killed after {STOP_SECONDS_MAX} s: {process.args!r}", file=sys.stderr)
    for pid in pids:
        with suppress(ProcessLookupError):
            if os.getsid(pid) == process.pid:  # still of our session, not a number used again
                os.kill(pid, signal.SIGKILL)
    process.wait()


def require_free(port: int) -> None:
    with socket.socket() as probe_socket:
        probe_socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe_socket.bind(("127.0.0.1", port))
        except OSError as error:
            raise SystemExit(f"port {port} is in use; choose others with --port") from error


@contextmanager
def fake_aws(setup: Setup, latency_ms: float = 0) -> Iterator[None]:
    """The AWS of this run; its key pair is there when this returns."""
    require_free(setup.port)
    argv = [sys.executable, str(HERE / "fake_aws.py"), "--port", str(setup.port)]
    process = subprocess.Popen(
        [*argv, "--key-dir", str(KEY_DIR), "--latency-ms", str(latency_ms)],
        preexec_fn=lambda: LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM),
    )
    try:
        _await_listener(setup.port, process)
        yield
    finally:
        process.terminate()
        process.wait()


def _await_listener(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + BOOT_SECONDS_MAX
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        time.sleep(0.02)
    raise SystemExit("the fake AWS did not start")
