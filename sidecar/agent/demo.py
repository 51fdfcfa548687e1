"""What does it look like? Emulator, sidecar and a tiny product in one terminal; ends by itself.

Three acts, each with real processes, real HTTP and real signatures:

1. A customer who subscribed: AWS is slow at first, the gate is pending, then open, and only then does
   the product start.
2. The product reports what it used; an hour goes by in seconds on the emulator's clock; AWS bills it once, and
   the ledger shows the same hour with AWS's metering record id.
3. The same customer, unsubscribed, starts another pod: denied, and the product never starts.

Rules kept here:
- The demo looks at what happened and fails if the story did not go that way.
- Nothing of the surrounding AWS or sidecar configuration is used, and nothing is left behind.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from sidecar.agent import look
from sidecar.clock import SystemClock
from sidecar.errors import Exit

PRODUCT_CODE: Final = "demo-product"
DIMENSION: Final = "requests"
PRODUCT: Final = "print('the product says: hello, I am running', flush=True)"
STARTED: Final = "the product says: hello"
PATIENCE_SECONDS: Final = 30
ROLE: Final = "arn:aws:iam::123456789012:role/demo"
BAR: Final = "─" * 78


class Unlike(Exception):
    """The story went another way; the text says how."""


class Stage:
    """Where the demo runs: a directory, an environment, and processes that end with it."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        self._directory, self._stack = directory, stack
        self._began = time.monotonic()

    def say(self, words: str) -> None:
        """One line of the story, with the seconds since its beginning."""
        sys.stdout.write(f"{time.monotonic() - self._began:6.2f}s  {words}\n")
        sys.stdout.flush()

    def emulator(self) -> Mapping[str, Any]:
        """Start AWS Marketplace, and hear where it listens and which key it signs with."""
        start = SystemClock().now().replace(minute=20, second=0, microsecond=0).isoformat()  # no hour's end is near
        product = ["--product-code", PRODUCT_CODE, "--dimension", DIMENSION]
        command = ["emulator", "--port", "0", "--json", *product, "--clock-start", start]
        process = self._start(command, {}, stdout=subprocess.PIPE, log="emulator.log")
        line = process.stdout.readline() if process.stdout else b""
        try:
            return dict(json.loads(line))
        except ValueError as exc:
            raise Unlike(f"the emulator did not start; it said: {self._last_lines('emulator.log')}") from exc

    def sidecar(self, name: str, aws: Mapping[str, Any]) -> dict[str, str]:
        """Start the sidecar of pod `name`; the environment its product shares."""
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
            "AWS_WEB_IDENTITY_TOKEN_FILE": str(self._identity(name, pod)),
        }
        (self._directory / name).mkdir()
        self._start(["run"], env, log=f"{name}.log")
        return env

    def product(self, env: Mapping[str, str], log: str) -> subprocess.Popen[bytes]:
        """Start the product behind the gate."""
        return self._start(["exec", "--timeout", str(PATIENCE_SECONDS), "--", sys.executable, "-c", PRODUCT], env, log)

    def command(self, env: Mapping[str, str], *command: str) -> str:
        """What another command beside the sidecar says, once it has ended well."""
        log = f"{command[0]}.log"
        process = self._start(command, env, log)
        _want(process.wait(PATIENCE_SECONDS) == 0, f"{' '.join(command)} ended with {process.returncode}")
        return self.said(log)

    def said(self, log: str) -> str:
        return (self._directory / log).read_text(errors="replace")

    def _identity(self, name: str, pod: str) -> Path:
        """A service-account token such as EKS projects into the pod, naming it; unsigned, for the emulator."""
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
        return " | ".join(self.said(log).splitlines()[-3:])

    def explain(self) -> str:
        """The ends of all logs, for a story that went wrong."""
        logs = sorted(self._directory.glob("*.log"))
        return "\n".join(f"--- {path.name}\n{path.read_text(errors='replace')[-1500:]}" for path in logs)


def run() -> int:
    """Play both acts. 0 when the story went as told."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="entitlement-sidecar-demo-")))
        stage = Stage(directory, stack)
        try:
            _play(stage)
        except Unlike as exc:
            sys.stderr.write(f"\nThe demo went wrong: {exc}\n{stage.explain()}\n")
            return Exit.FAILED
    return Exit.OK


def _play(stage: Stage) -> None:
    aws = stage.emulator()
    stage.say(f"AWS Marketplace emulator at {aws['url']}; it signs with its own RSA key (PS256)")
    _tell(aws["url"], "faults", {"operation": "RegisterUsage", "kind": "ThrottlingException", "times": 3})
    _act(stage, "Act 1. The customer has subscribed to the product; AWS throttles three times first")
    env = stage.sidecar("first-pod", aws)
    product = stage.product(env, "first-product.log")
    shown = _watch(stage, env, until="entitled")
    _want(shown[0] == "pending" and shown[-1] == "entitled", f"the gate showed {shown}")
    _want(product.wait(PATIENCE_SECONDS) == 0, f"the product ended with {product.returncode}")
    _want(STARTED in stage.said("first-product.log"), "the product did not start")
    stage.say("the gate opened, and only then: " + stage.said("first-product.log").splitlines()[-1])
    _act(stage, "Act 2. The product reports usage; an hour goes by in three seconds; AWS bills it once")
    _meter(stage, aws["url"], env)
    _act(stage, "Act 3. The customer unsubscribes, and starts another pod of the same product")
    _tell(aws["url"], "unsubscribe", {})
    env = stage.sidecar("second-pod", aws)
    product = stage.product(env, "second-product.log")
    shown = _watch(stage, env, until="denied")
    _want(shown[-1] == "denied", f"the gate showed {shown}")
    _want(product.wait(PATIENCE_SECONDS) == Exit.DENIED, f"exec ended with {product.returncode}, not 77")
    _want(STARTED not in stage.said("second-product.log"), "the product started without an entitlement")
    stage.say("exec ended with 77; the product was never started")
    _act(stage, "That was it. Real processes, real HTTP, real signatures; only AWS was played")


def _meter(stage: Stage, url: str, env: Mapping[str, str]) -> None:
    """Usage in, a billed hour out."""
    for quantity in ("12", "5"):
        stage.say(f"report {DIMENSION} {quantity} → {stage.command(env, 'report', DIMENSION, quantity).strip()}")
    _tell(url, "clock", {"speed": 1200})
    lines = _billed(url)
    _tell(url, "clock", {"speed": 1})
    (hour,) = lines[0]["hours"]
    stage.say(f"AWS's bill: {hour['hour']}  {DIMENSION}  {hour['quantity']}  metering record id {hour['record_id']}")
    _want(hour["quantity"] == "17", f"AWS billed {hour['quantity']}, not 17")
    table = stage.command(env, "usage")
    for line in table.splitlines():
        stage.say("usage: " + line.replace("\t", "  "))
    _want(hour["record_id"] in table, "the ledger does not show AWS's metering record id")


def _billed(url: str) -> list[dict[str, Any]]:
    """The lines of the bill AWS would print, once there is one."""
    host, _, port = url.rpartition("//")[2].rpartition(":")
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        _, found = look.ask((host, int(port)), "GET /_emulator/bill")
        lines: Any = found["lines"]
        if lines:
            return list(lines)
        time.sleep(0.1)
    raise Unlike(f"AWS was not told of the hour within {PATIENCE_SECONDS} s")


def _act(stage: Stage, title: str) -> None:
    sys.stdout.write(f"\n{BAR}\n{title}\n{BAR}\n")


def _watch(stage: Stage, env: Mapping[str, str], until: str) -> list[str]:
    """Say each new state of the gate until it shows `until`; the states seen, in order."""
    port = int(env["SIDECAR_PROBE_BIND"].rpartition(":")[2])
    shown: list[str] = []
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        try:
            code, found = look.ask(("127.0.0.1", port), "GET /entitled")
        except (OSError, ValueError):
            time.sleep(0.02)
            continue
        if not shown or shown[-1] != found["status"]:
            shown.append(str(found["status"]))
            stage.say(f"GET /entitled → {code}  {look.line(found)}")
        if found["status"] == until:
            return shown
        time.sleep(0.02)
    raise Unlike(f"the gate did not show {until} in {PATIENCE_SECONDS} s, but {shown}")


def _tell(url: str, verb: str, body: Mapping[str, object]) -> None:
    """Give the emulator an order."""
    connection = http.client.HTTPConnection(url.rpartition("//")[2], timeout=5)
    headers = {"Content-Type": "application/json"}
    connection.request("POST", f"/_emulator/{verb}", json.dumps(body), headers)
    answer = connection.getresponse()
    text = answer.read().decode(errors="replace")
    connection.close()
    _want(answer.status < 300, f"the emulator refused {verb}: {text}")


def _want(fine: bool, otherwise: str) -> None:
    if not fine:
        raise Unlike(otherwise)


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
