"""Start-up and memory once more, from inside the image, beside this checkout on the host.

bench/image.py IMAGE [--rounds N] [--quick] [--engine podman] [--run-flags '…']

Host and image start in turns and ask the same fake AWS; the first round is dropped. The container is as a pod's:
read-only root, no capability, the image's own user. The clock starts in the container just before exec, so that
the engine's own work is not counted. Ratios are against the host of the same round; above 1 the image needs less.

Ends with 1 where the image takes twice the host's time (missing bytecode costs three times), or 15 % more memory.
"""

from __future__ import annotations

import argparse
import shlex
import shutil
import statistics
import subprocess
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import bytecode
import kernel
from lib import KEY_DIR, REST_SECONDS, Setup, add_arguments, environment, fake_aws, require_free, running, setup_from
from probes import ask, await_entitled

PYTHON = "/opt/entitlement-sidecar/bin/python"
COMMAND = "/usr/local/bin/entitlement-sidecar"
STAMP = "import os,sys,time;print(time.monotonic_ns(),flush=True);os.execv(sys.argv[1],sys.argv[1:])"
LOCKED_DOWN = ("--read-only", "--cap-drop", "all", "--security-opt", "no-new-privileges", "--network", "host")
STATE = "/var/lib/entitlement-sidecar"
WAIT_SECONDS = 60
MS, MIB = 1e6, 2**20
SLOWER_MAX, LARGER_MAX = 2.0, 1.15


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One start."""

    entitled_ms: float
    anon_mib: float
    alone_mib: float


@contextmanager
def _container(
    setup: Setup, engine: str, image: str, flags: Sequence[str], argv: Sequence[str]
) -> Iterator[tuple[int, str]]:
    """A started container: the instant of exec, and its name."""
    require_free(setup.probe_port("ours"))
    name = f"entitlement-bench-{uuid.uuid4().hex[:12]}"
    env = environment(setup, setup.probe_port("ours"), STATE)
    key = (KEY_DIR / "public.pem").read_text()
    settings = {n: v for n, v in env.items() if n.startswith(("AWS_", "SIDECAR_", "POD_")) and n != "AWS_ENDPOINT"}
    settings.pop("SIDECAR_PUBLIC_KEY_FILE")
    variables = [w for n, v in {**settings, "SIDECAR_PUBLIC_KEY": key}.items() for w in ("--env", f"{n}={v}")]
    started = [engine, "run", "--rm", "--name", name, *LOCKED_DOWN, *flags, *variables, "--entrypoint", PYTHON]
    process = subprocess.Popen(
        [*started, image, "-I", "-S", "-c", STAMP, *argv], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        line = process.stdout.readline() if process.stdout else b""
        if not line.strip().isdigit():
            raise SystemExit(f"{image} did not start: {line.decode(errors='replace')}")
        yield int(line), name
    finally:
        subprocess.run([engine, "stop", "--time", "15", name], capture_output=True, check=False)
        process.communicate(timeout=WAIT_SECONDS)


def _in_image(setup: Setup, engine: str, image: str, flags: Sequence[str], argv: Sequence[str]) -> Sample:
    with _container(setup, engine, image, flags, argv) as (started_ns, name):
        entitled_ns = _entitled(setup.probe_port("ours")) - started_ns
        time.sleep(REST_SECONDS)
        shown = subprocess.run(
            [engine, "inspect", "--format", "{{.State.Pid}}", name], capture_output=True, text=True, check=True
        )
        memory = kernel.memory(int(shown.stdout))
    return Sample(entitled_ms=entitled_ns / MS, anon_mib=memory.anon / MIB, alone_mib=memory.alone / MIB)


def _entitled(port: int) -> int:
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline:
        try:
            answer = ask(port)
        except OSError:
            time.sleep(0.001)
            continue
        if answer.status == 200:
            return answer.at_ns
        time.sleep(0.010)
    raise SystemExit("the image did not become entitled")


def _on_host(setup: Setup) -> Sample:
    with running(setup, "ours") as server:
        boot = await_entitled(server)
        time.sleep(REST_SECONDS)
        memory = kernel.memory(server.pid)
    return Sample(entitled_ms=boot.entitled_ns / MS, anon_mib=memory.anon / MIB, alone_mib=memory.alone / MIB)


def main() -> int:
    """Measure, print, judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("image", help="the image for production")
    parser.add_argument("--engine", default=next((e for e in ("podman", "docker") if shutil.which(e)), "podman"))
    parser.add_argument("--run-flags", default="", help="further flags of `run`")
    add_arguments(parser)
    options = parser.parse_args()
    setup, flags = setup_from(options), shlex.split(options.run_flags)
    bytecode.require()
    rows: list[tuple[Sample, Sample]] = []
    with fake_aws(setup):
        for _ in range(setup.count(7, 2) + 1):
            host = _on_host(setup)
            inside = _in_image(setup, options.engine, options.image, flags, (COMMAND, "run"))
            rows.append((host, inside))
    return _show(rows[1:], options.image)


def _show(rows: Sequence[tuple[Sample, Sample]], image: str) -> int:
    what = {"entitled_ms": "exec → entitled, ms", "anon_mib": "anonymous memory, MiB", "alone_mib": "… with files, MiB"}
    print(f"{image}, {len(rows)} rounds\n")
    print(f"| measure | host | image | ratio |\n|{' --- |' * 4}")
    ratios = {}
    for name, words in what.items():
        host, inside = ([getattr(sample, name) for sample in column] for column in zip(*rows, strict=True))
        pairs = [a / b for a, b in zip(host, inside, strict=True)]
        ratios[name] = statistics.median(pairs)
        shown = f"{ratios[name]:.2f}x ({min(pairs):.2f}–{max(pairs):.2f})"
        middle = [f"{statistics.median(column):.1f}" for column in (host, inside)]
        print(f"| {words} | {middle[0]} | {middle[1]} | {shown} |")
    fine = ratios["entitled_ms"] >= 1 / SLOWER_MAX and ratios["anon_mib"] >= 1 / LARGER_MAX
    print(f"\n{'pass' if fine else 'FAIL'}")
    return 0 if fine else 1


if __name__ == "__main__":
    raise SystemExit(main())
