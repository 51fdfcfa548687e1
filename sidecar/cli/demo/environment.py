"""Hold what every route of the demo needs: its directory, its terminal, its processes, and the emulator's controls.

Elsewhere: the routes, a module each (`demo`).

Invariants:
- Nothing of the surrounding AWS or sidecar configuration is used, and nothing is left behind.
- A terminal gets colours (unless NO_COLOR is set) and a counter while the demo waits; a pipe gets plain lines.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import textwrap
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, TypeVar

from sidecar.cli import local_client
from sidecar.clock import SystemClock

T = TypeVar("T")
PRODUCT_CODE: Final = "demo-product"
PRODUCT: Final = "print('the product says: hello, I am running', flush=True)"
STARTED: Final = "the product says: hello"
TIMEOUT_SECONDS: Final = 30
ROLE: Final = "arn:aws:iam::123456789012:role/demo"
CLOSING: Final = "Done: the processes, the HTTP calls and the signatures were real; only AWS was emulated"
COLUMNS: Final = (60, 100)
"""The least and the greatest width of a line; in between, the terminal's width."""
COLUMNS_SHOWN: Final = 5
"""Of `usage`: hour, dimension, state, quantity, record id."""
SERVICE: Final = "saas"
"""The SaaS service among the processes of the demo."""
INDENT: Final = " " * 8
BOLD, DIM, RED, GREEN, YELLOW, CYAN = "1", "2", "31", "32", "33", "36"
COLOURED: Final = {
    r"pending \(\w+\)": YELLOW,
    r"entitled \(\w+\)": GREEN,
    r"denied \(\w+\)": RED,
    r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}": CYAN,
}
"""Pattern → colour on a terminal: the state of the gate, and the id that AWS and the ledger share."""


class DemoFailed(Exception):
    """A step had another result than expected; the text says which."""


class DemoEnvironment:
    """The demo's directory, terminal and processes, which end with it."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        self._directory, self._stack = directory, stack
        self._began = time.monotonic()
        self._sidecars: dict[str, subprocess.Popen[bytes]] = {}
        self.shown: dict[str, str] = {}
        """Pod → the state of its gate that was printed last."""
        self._terminal = sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
        self._colours = self._terminal and not os.environ.get("NO_COLOR")
        self._width = min(max(shutil.get_terminal_size((COLUMNS[1], 24)).columns, COLUMNS[0]), COLUMNS[1])

    def print_step(self, text: str) -> None:
        """Print one step, with the seconds since the start."""
        wrapped = textwrap.fill(
            text, self._width, initial_indent=INDENT, subsequent_indent=INDENT,
            break_long_words=False, break_on_hyphens=False,
        )[len(INDENT) :]  # fmt: skip
        for pattern, colour in COLOURED.items():
            wrapped = re.sub(pattern, self._coloured(colour, r"\g<0>"), wrapped)
        self._write(f"{self._coloured(DIM, self._elapsed())}  {wrapped}\n")

    def print_heading(self, text: str) -> None:
        """Print a heading."""
        self._write(f"\n{self._coloured(BOLD, text)}\n")

    def show_waiting(self, text: str) -> None:
        """Show on a terminal what the demo waits for, until the next line replaces it."""
        if self._terminal:
            self._write(self._coloured(DIM, f"{self._elapsed()}  … {text}"[: self._width - 1]))

    def _elapsed(self) -> str:
        return f"{time.monotonic() - self._began:5.1f}s"

    def _coloured(self, colour: str, text: str) -> str:
        return f"\033[{colour}m{text}\033[0m" if self._colours else text

    def _write(self, text: str) -> None:
        sys.stdout.write(("\r\033[K" if self._terminal else "") + text)
        sys.stdout.flush()

    def start_emulator(self, *flags: str) -> Mapping[str, Any]:
        """Start the emulator of AWS Marketplace and return the JSON line it prints: its URL and public keys."""
        start = SystemClock().now().replace(minute=20, second=0, microsecond=0).isoformat()  # no hour's end is near
        command = ["emulator", "--port", "0", "--json", "--product-code", PRODUCT_CODE, "--clock-start", start, *flags]
        process = self._start(command, {}, stdout=subprocess.PIPE, log="emulator.log")
        line = process.stdout.readline() if process.stdout else b""
        try:
            return dict(json.loads(line))
        except ValueError as exc:
            raise DemoFailed(f"the emulator did not start; its log: {self._last_lines('emulator.log')}") from exc

    def start_sidecar(self, name: str, aws: Mapping[str, Any], settings: Mapping[str, str]) -> dict[str, str]:
        """Start the sidecar of pod `name` and return the environment that its product shares.

        `settings`: those of the route, beside what every sidecar needs here.
        """
        pod = str(uuid.uuid4())
        env = {
            **self._settings(name, aws["url"]),
            "POD_UID": pod,
            "AWS_REGION": "us-east-1",
            "AWS_ROLE_ARN": ROLE,
            "AWS_WEB_IDENTITY_TOKEN_FILE": str(self._write_token(name, pod)),
            **settings,
        }
        self._sidecars[name] = self._start(["run"], env, log=f"{name}.log")
        return env

    def start_service(self, url: str, settings: Mapping[str, str]) -> dict[str, str]:
        """Start the SaaS service, with keys of the seller's account, and return its environment."""
        keys = {"AWS_ACCESS_KEY_ID": "seller", "AWS_SECRET_ACCESS_KEY": "unchecked"}
        env = {**self._settings(SERVICE, url), **keys, **settings}
        self._sidecars[SERVICE] = self._start(["saas"], env, log=f"{SERVICE}.log")
        return env

    def expect_running(self, name: str) -> None:
        """Raise DemoFailed where the process has ended by itself."""
        expect(self._sidecars[name].poll() is None, f"{name} ended; its log: {self._last_lines(f'{name}.log')}")

    def _settings(self, name: str, url: str) -> dict[str, str]:
        """Return what each of our processes needs here, and make its state directory."""
        probe, api = _free_ports(2)
        (self._directory / name).mkdir()
        return {
            "SIDECAR_PRODUCT_CODE": PRODUCT_CODE,
            "SIDECAR_ENDPOINT_URL": url,
            "SIDECAR_CLOCK_URL": url,
            "SIDECAR_STATE_DIR": str(self._directory / name),
            "SIDECAR_PROBE_BIND": f"127.0.0.1:{probe}",
            "SIDECAR_API_BIND": f"127.0.0.1:{api}",
        }

    def end_sidecar(self, name: str) -> None:
        """End the sidecar of pod `name` as the kubelet does, and wait for it. Raises DemoFailed where it fails."""
        self._sidecars[name].terminate()
        expect(self._sidecars[name].wait(TIMEOUT_SECONDS) == 0, f"the sidecar of {name} did not end well")

    def start_product(self, env: Mapping[str, str], log: str) -> subprocess.Popen[bytes]:
        """Start the product behind the gate."""
        return self._start(["exec", "--timeout", str(TIMEOUT_SECONDS), "--", sys.executable, "-c", PRODUCT], env, log)

    def run_command(self, env: Mapping[str, str], *command: str) -> str:
        """Run another command beside the sidecar and return its output. Raises DemoFailed where it fails."""
        log = f"{command[0]}.log"
        process = self._start(command, env, log)
        expect(process.wait(TIMEOUT_SECONDS) == 0, f"{' '.join(command)} ended with {process.returncode}")
        return self.read_log(log)

    def read_log(self, log: str) -> str:
        """Return the output of a process so far."""
        return (self._directory / log).read_text(errors="replace")

    def _write_token(self, name: str, pod: str) -> Path:
        """Write a service-account token as EKS projects it into the pod, unsigned, and return its path."""
        claims = {"sub": "system:serviceaccount:demo:product", "kubernetes.io": {"pod": {"name": name, "uid": pod}}}
        parts = [base64.urlsafe_b64encode(json.dumps(one).encode()).decode().rstrip("=") for one in ({}, claims)]
        path = self._directory / f"{name}.token"
        path.write_text(".".join([*parts, "unsigned"]))
        return path

    def _start(
        self, command: Sequence[str], env: Mapping[str, str], log: str, stdout: int | None = None
    ) -> subprocess.Popen[bytes]:
        clean = {key: value for key, value in os.environ.items() if not key.startswith(("AWS_", "SIDECAR_", "POD_"))}
        output = self._stack.enter_context((self._directory / log).open("wb"))
        process = subprocess.Popen(
            [sys.executable, "-m", "sidecar", *command],
            env={**clean, **env, "PYTHONPATH": os.pathsep.join(sys.path)},
            stdin=subprocess.DEVNULL,
            stdout=stdout or output,
            stderr=output,
        )
        self._stack.callback(_end, process)
        return process

    def _last_lines(self, log: str) -> str:
        return " | ".join(self.read_log(log).splitlines()[-3:])

    def log_tails(self) -> str:
        """Return the last lines of all logs."""
        logs = sorted(self._directory.glob("*.log"))
        return "\n".join(f"--- {path.name}\n{path.read_text(errors='replace')[-1500:]}" for path in logs)


def watch(demo: DemoEnvironment, env: Mapping[str, str], until: str) -> list[str]:
    """Print each new state of the gate until it shows `until`, and return the new states in order."""
    port = int(env["SIDECAR_PROBE_BIND"].rpartition(":")[2])
    shown: list[str] = []
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while time.monotonic() < deadline:
        demo.show_waiting(f"waiting for the gate to show {until}")
        try:
            code, found = local_client.get_json([("127.0.0.1", port)], "GET /entitled")
        except (OSError, ValueError):
            time.sleep(0.02)
            continue
        asking = found["reason"] == "asking"  # may be over before the first poll
        line = local_client.format_status(found)
        if not asking and line != demo.shown.get(env["POD_UID"]):
            demo.shown[env["POD_UID"]] = line
            shown.append(str(found["status"]))
            demo.print_step(f"GET /entitled → {code} {line}")
        if found["status"] == until:
            return shown
        time.sleep(0.02)
    raise DemoFailed(f"the gate did not show {until} in {TIMEOUT_SECONDS} s, but {shown}")


def wait_for(demo: DemoEnvironment, waiting: str, found: Callable[[], T], otherwise: str) -> T:
    """Return what `found` returns once it is not empty. Raises DemoFailed with `otherwise`."""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while not (value := found()):
        if time.monotonic() > deadline:
            raise DemoFailed(f"{otherwise} within {TIMEOUT_SECONDS} s")
        demo.show_waiting(waiting)
        time.sleep(0.1)
    return value


def aligned(table: str) -> list[str]:
    """Return the lines of `usage` with aligned columns, up to the record id: what follows is for errors."""
    rows = [line.split("\t")[:COLUMNS_SHOWN] for line in table.splitlines()]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]


def ask(url: str, path: str) -> Any:
    """Return what the emulator, or another process of the demo, shows at `path`."""
    host, _, port = url.rpartition("//")[2].rpartition(":")
    return local_client.get_json([(host, int(port))], f"GET {path}")[1]


def control(url: str, verb: str, body: Mapping[str, object]) -> Any:
    """Send the emulator a control command, and return its answer."""
    status, answer = exchange("POST", url, f"/_emulator/{verb}", body)
    expect(status < 300, f"the emulator refused {verb}: {answer}")
    return answer


def exchange(method: str, url: str, path: str, body: object = None) -> tuple[int, Any]:
    """Send JSON, and return status and answer. Raises DemoFailed where none comes, or one that is no JSON."""
    connection = http.client.HTTPConnection(url.rpartition("//")[2], timeout=TIMEOUT_SECONDS)
    try:
        connection.request(method, path, json.dumps(body), {"Content-Type": "application/json"})
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    except (OSError, http.client.HTTPException, ValueError) as exc:
        raise DemoFailed(f"{method} {url}{path} was not answered: {type(exc).__name__}") from exc
    finally:
        connection.close()


def expect(holds: bool, otherwise: str) -> None:
    if not holds:
        raise DemoFailed(otherwise)


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        socks = [stack.enter_context(socket.socket()) for _ in range(count)]
        for sock in socks:
            sock.bind(("127.0.0.1", 0))
        return [sock.getsockname()[1] for sock in socks]


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout:
        process.stdout.close()
