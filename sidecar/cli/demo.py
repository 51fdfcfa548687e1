"""Run emulator, sidecar and a tiny product in one terminal, and end by itself.

Three parts, each with real processes, real HTTP and real signatures:

1. A customer who subscribed: AWS is slow at first, the gate is pending, then open, and only then does
   the product start.
2. The product reports what it used; an hour goes by in seconds on the emulator's clock; AWS bills it once, and
   the ledger shows the same hour with AWS's metering record id.
3. The same customer, unsubscribed, starts another pod: denied, and the product never starts.

Invariants:
- The demo checks each step, and fails where one has another result.
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
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from sidecar.cli import local_client
from sidecar.clock import SystemClock
from sidecar.errors import Exit

PRODUCT_CODE: Final = "demo-product"
DIMENSION: Final = "requests"
PRODUCT: Final = "print('the product says: hello, I am running', flush=True)"
STARTED: Final = "the product says: hello"
TIMEOUT_SECONDS: Final = 30
ROLE: Final = "arn:aws:iam::123456789012:role/demo"
HEADINGS: Final = (
    "Act 1 of 3: the customer has subscribed; AWS throttles the first three calls",
    "Act 2 of 3: the product reports usage; an hour passes in three seconds; AWS bills it once",
    "Act 3 of 3: the customer unsubscribes; another pod of the same product starts",
)
CLOSING: Final = "Done: the processes, the HTTP calls and the signatures were real; only AWS was emulated"
COLUMNS: Final = (60, 100)
"""The least and the greatest width of a line; in between, the terminal's width."""
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

    def start_emulator(self) -> Mapping[str, Any]:
        """Start the emulator of AWS Marketplace and return the JSON line it prints: its URL and public keys."""
        start = SystemClock().now().replace(minute=20, second=0, microsecond=0).isoformat()  # no hour's end is near
        product = ["--product-code", PRODUCT_CODE, "--dimension", DIMENSION]
        command = ["emulator", "--port", "0", "--json", *product, "--clock-start", start]
        process = self._start(command, {}, stdout=subprocess.PIPE, log="emulator.log")
        line = process.stdout.readline() if process.stdout else b""
        try:
            return dict(json.loads(line))
        except ValueError as exc:
            raise DemoFailed(f"the emulator did not start; its log: {self._last_lines('emulator.log')}") from exc

    def start_sidecar(self, name: str, aws: Mapping[str, Any]) -> dict[str, str]:
        """Start the sidecar of pod `name` and return the environment that its product shares."""
        probe, api = _free_ports(2)
        pod = str(uuid.uuid4())
        env = {
            "SIDECAR_PRODUCT_CODE": PRODUCT_CODE,
            "SIDECAR_PUBLIC_KEY": aws["public_keys"][0]["key"],
            "SIDECAR_PUBLIC_KEY_VERSION": str(aws["public_keys"][0]["version"]),
            "SIDECAR_DIMENSIONS": DIMENSION,
            "SIDECAR_ENDPOINT_URL": aws["url"],
            "SIDECAR_CLOCK_URL": aws["url"],
            "SIDECAR_STATE_DIR": str(self._directory / name),
            "SIDECAR_PROBE_BIND": f"127.0.0.1:{probe}",
            "SIDECAR_API_BIND": f"127.0.0.1:{api}",
            "POD_UID": pod,
            "AWS_REGION": "us-east-1",
            "AWS_ROLE_ARN": ROLE,
            "AWS_WEB_IDENTITY_TOKEN_FILE": str(self._write_token(name, pod)),
        }
        (self._directory / name).mkdir()
        self._start(["run"], env, log=f"{name}.log")
        return env

    def start_product(self, env: Mapping[str, str], log: str) -> subprocess.Popen[bytes]:
        """Start the product behind the gate."""
        return self._start(["exec", "--timeout", str(TIMEOUT_SECONDS), "--", sys.executable, "-c", PRODUCT], env, log)

    def run_command(self, env: Mapping[str, str], *command: str) -> str:
        """Run another command beside the sidecar and return its output. Raises DemoFailed where it fails."""
        log = f"{command[0]}.log"
        process = self._start(command, env, log)
        _expect(process.wait(TIMEOUT_SECONDS) == 0, f"{' '.join(command)} ended with {process.returncode}")
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


def run() -> int:
    """Run the demo. Returns 0 where every step had its expected result."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="entitlement-sidecar-demo-")))
        demo = DemoEnvironment(directory, stack)
        try:
            _run_parts(demo)
        except DemoFailed as exc:
            sys.stderr.write(f"\nThe demo went wrong: {exc}\n{demo.log_tails()}\n")
            return Exit.FAILED
    return Exit.OK


def _run_parts(demo: DemoEnvironment) -> None:
    demo.print_step("starting an emulator of AWS Marketplace")
    aws = demo.start_emulator()
    demo.print_step(f"the emulator listens on {aws['url']} and signs its answers with its own RSA key")
    _control(aws["url"], "faults", {"operation": "RegisterUsage", "kind": "ThrottlingException", "times": 3})
    demo.print_heading(HEADINGS[0])
    demo.print_step("starting the sidecar, and the product with it: entitlement-sidecar exec -- product")
    env = demo.start_sidecar("first-pod", aws)
    product = demo.start_product(env, "first-product.log")
    shown = _watch(demo, env, until="entitled")
    _expect(shown[0] == "pending" and shown[-1] == "entitled", f"the gate showed {shown}")
    _expect(product.wait(TIMEOUT_SECONDS) == 0, f"the product ended with {product.returncode}")
    _expect(STARTED in demo.read_log("first-product.log"), "the product did not start")
    demo.print_step(
        "the gate is open, so exec starts the product: " + demo.read_log("first-product.log").splitlines()[-1]
    )
    demo.print_heading(HEADINGS[1])
    _meter(demo, aws["url"], env)
    demo.print_heading(HEADINGS[2])
    _control(aws["url"], "unsubscribe", {})
    demo.print_step("starting a second sidecar, and a second product with it")
    env = demo.start_sidecar("second-pod", aws)
    product = demo.start_product(env, "second-product.log")
    shown = _watch(demo, env, until="denied")
    _expect(shown[-1] == "denied", f"the gate showed {shown}")
    _expect(product.wait(TIMEOUT_SECONDS) == Exit.DENIED, f"exec ended with {product.returncode}, not 77")
    _expect(STARTED not in demo.read_log("second-product.log"), "the product started without an entitlement")
    demo.print_step("exec ended with exit code 77; the product was never started")
    demo.print_heading(CLOSING)


def _meter(demo: DemoEnvironment, url: str, env: Mapping[str, str]) -> None:
    """Report usage, let an hour pass, and compare AWS's bill with the ledger."""
    for quantity in ("12", "5"):
        printed = demo.run_command(env, "report", DIMENSION, quantity).strip()
        demo.print_step(f"entitlement-sidecar report {DIMENSION} {quantity} → {printed}")
    demo.print_step("the emulator's clock runs 1,200 times as fast until the hour has ended and is billed")
    _control(url, "clock", {"speed": 1200})
    lines = _billed(demo, url)
    _control(url, "clock", {"speed": 1})
    (hour,) = lines[0]["hours"]
    demo.print_step(f"AWS's bill: {hour['quantity']} {DIMENSION}, metering record id {hour['record_id']}")
    _expect(hour["quantity"] == "17", f"AWS billed {hour['quantity']}, not 17")
    table = demo.run_command(env, "usage")
    demo.print_step("entitlement-sidecar usage → the sidecar's own ledger has the same hour and id:")
    for line in _aligned(table):
        demo.print_step(line)
    _expect(hour["record_id"] in table, "the ledger does not show AWS's metering record id")


def _aligned(table: str) -> list[str]:
    """Return the lines of `usage` with aligned columns, without the last one, which is for errors."""
    rows = [line.split("\t")[:-1] for line in table.splitlines()]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]


def _billed(demo: DemoEnvironment, url: str) -> list[dict[str, Any]]:
    """Wait for the emulator's bill and return its lines."""
    host, _, port = url.rpartition("//")[2].rpartition(":")
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while time.monotonic() < deadline:
        _, found = local_client.get_json([(host, int(port))], "GET /_emulator/bill")
        lines: Any = found["lines"]
        if lines:
            return list(lines)
        demo.show_waiting("waiting for the hour to end, and for the sidecar to send it to AWS")
        time.sleep(0.1)
    raise DemoFailed(f"AWS received no record of the hour within {TIMEOUT_SECONDS} s")


def _watch(demo: DemoEnvironment, env: Mapping[str, str], until: str) -> list[str]:
    """Print each new state of the gate until it shows `until`, and return the states in order."""
    port = int(env["SIDECAR_PROBE_BIND"].rpartition(":")[2])
    shown: list[str] = []
    last = ""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while time.monotonic() < deadline:
        demo.show_waiting(f"waiting for the gate to show {until}")
        try:
            code, found = local_client.get_json([("127.0.0.1", port)], "GET /entitled")
        except (OSError, ValueError):
            time.sleep(0.02)
            continue
        asking = found["reason"] == "asking"  # may be over before the first poll
        if not asking and last != (last := local_client.format_status(found)):
            shown.append(str(found["status"]))
            demo.print_step(f"GET /entitled → {code} {last}")
        if found["status"] == until:
            return shown
        time.sleep(0.02)
    raise DemoFailed(f"the gate did not show {until} in {TIMEOUT_SECONDS} s, but {shown}")


def _control(url: str, verb: str, body: Mapping[str, object]) -> None:
    """Send the emulator a control command."""
    connection = http.client.HTTPConnection(url.rpartition("//")[2], timeout=5)
    headers = {"Content-Type": "application/json"}
    connection.request("POST", f"/_emulator/{verb}", json.dumps(body), headers)
    response = connection.getresponse()
    text = response.read().decode(errors="replace")
    connection.close()
    _expect(response.status < 300, f"the emulator refused {verb}: {text}")


def _expect(holds: bool, otherwise: str) -> None:
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
