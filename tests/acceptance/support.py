"""Real processes for acceptance tests: the sidecar as a container would run it, killed and restarted."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from sidecar.cli import local_client
from sidecar.emulator import Emulator
from tests.ports import free_port

T = TypeVar("T")

PATIENCE_SECONDS = 20.0
PRODUCT = "prod1"
ROLE = "arn:aws:iam::123456789012:role/product"


def eventually(what: Callable[[], T], seconds: float = PATIENCE_SECONDS) -> T:
    """The first true value of `what`, asked until it comes; the last one's failure otherwise."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            found = what()
            if found:
                return found
        except (OSError, ValueError):
            found = None
        if time.monotonic() > deadline:
            raise AssertionError(f"did not happen within {seconds} s; last seen: {found!r}")
        time.sleep(0.02)


class Sidecar:
    """One sidecar process, its environment and its log."""

    def __init__(self, aws: Emulator | None, directory: Path, **settings: str | None) -> None:
        self.probe_port, self.api_port = free_port(), free_port()
        self.directory = directory
        self.log = directory / f"sidecar-{uuid.uuid4().hex[:6]}.log"
        self.note = directory / "termination-log"
        self.note.touch()
        self.pod = settings.pop("POD_UID", None) or str(uuid.uuid4())
        self.env = clean_environment() | {
            "SIDECAR_PRODUCT_CODE": PRODUCT,
            "SIDECAR_STATE_DIR": str(directory),
            "SIDECAR_PROBE_BIND": f"127.0.0.1:{self.probe_port}",
            "SIDECAR_API_BIND": f"127.0.0.1:{self.api_port}",
            "SIDECAR_TERMINATION_LOG": str(self.note),
            "POD_UID": self.pod,
            "AWS_REGION": "us-east-1",
            "AWS_ROLE_ARN": ROLE,
            "AWS_WEB_IDENTITY_TOKEN_FILE": str(identity_token(directory, self.pod)),
        }
        if aws is not None:
            self.env |= {"SIDECAR_PUBLIC_KEY": aws.public_key(), "SIDECAR_ENDPOINT_URL": aws.url}
        for name, value in settings.items():
            if value is None:
                self.env.pop(name, None)
            else:
                self.env[name] = value
        self.line = [sys.executable, "-m", "sidecar", "run"]
        self.process: subprocess.Popen[bytes] | None = None

    def sealed_by(self, manifest: Mapping[str, object]) -> Sidecar:
        """Start it as an image would that has `manifest` sealed in."""
        path = self.directory / "product.yaml"
        path.write_text(json.dumps(manifest))
        code = f"import sys; from sidecar.__main__ import main; sys.exit(main(['run'], {str(path)!r}))"
        self.line = [sys.executable, "-c", code]
        return self

    def start(self, before: Sequence[str] = ()) -> Sidecar:
        """Start it; `before` is what its command line stands behind."""
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                [*before, *self.line],
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        return self

    def __enter__(self) -> Sidecar:
        return self if self.process else self.start()

    def __exit__(self, *_: object) -> None:
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise AssertionError(f"the sidecar did not end on SIGTERM\n{self.text()}") from None

    # -- asking it

    def probe(self, path: str = "/entitled") -> tuple[int, dict[str, Any]]:
        return local_client.get_json([("127.0.0.1", self.probe_port)], f"GET {path}", 2.0)

    def api(self, request: str) -> tuple[int, dict[str, Any]]:
        return local_client.get_json([("127.0.0.1", self.api_port)], request, 5.0)

    def shows(self, status: str, seconds: float = PATIENCE_SECONDS) -> dict[str, Any]:
        """Wait until `/entitled` shows `status`; its body."""

        def seen() -> dict[str, Any] | None:
            _, found = self.probe()
            return found if found["status"] == status else None

        try:
            return eventually(seen, seconds)
        except AssertionError as exc:
            raise AssertionError(f"{exc}\n{self.text()}") from None

    def command(self, *arguments: str, timeout: float = 30, **env: str) -> subprocess.CompletedProcess[str]:
        """Another command beside it, with its environment."""
        return subprocess.run(
            [sys.executable, "-m", "sidecar", *arguments],
            env=self.env | env,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def ended(self, seconds: float = PATIENCE_SECONDS) -> int:
        assert self.process is not None
        return self.process.wait(seconds)

    def told(self, number: int = signal.SIGTERM) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    # -- what it left

    def text(self) -> str:
        return self.log.read_text(errors="replace")

    def events(self, name: str = "") -> list[dict[str, Any]]:
        """The events it logged, all or those of one name."""
        lines = [json.loads(line) for line in self.text().splitlines() if line.startswith("{")]
        return [line for line in lines if not name or line["event"] == name]

    def logged(self, name: str, seconds: float = PATIENCE_SECONDS) -> dict[str, Any]:
        return eventually(lambda: self.events(name), seconds)[0]

    def worker(self) -> int:
        """The one worker's process id. Raises ValueError while there is none, or more."""
        assert self.process is not None
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        listening = [int(pid) for pid in children if (Path("/proc") / pid / "fdinfo").is_dir() and listens(int(pid))]
        if len(listening) != 1:
            raise ValueError(f"{listening} of {children} listen; one should")
        return listening[0]


def listens(pid: int) -> bool:
    """Whether a process holds a listening socket; a child that asks AWS holds none."""
    inodes = {target[8:-1] for target in _targets(pid) if target.startswith("socket:[")}
    tables = [Path(f"/proc/{pid}/net/{name}") for name in ("tcp", "tcp6")]
    rows = [line.split() for table in tables for line in _lines(table)]
    return any(row[3] == "0A" and row[9] in inodes for row in rows)


def _lines(table: Path) -> list[str]:
    try:
        return table.read_text().splitlines()[1:]
    except OSError:
        return []


def _targets(pid: int) -> Iterator[str]:
    """What the process has open; nothing once it is gone."""
    try:
        links = list(Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return
    for link in links:
        try:
            yield os.readlink(link)
        except OSError:
            continue


def clean_environment() -> dict[str, str]:
    """This environment without anything that AWS's SDK or the sidecar would read."""
    foreign = (
        "AWS_",
        "SIDECAR_",
        "POD_",
        "ECS_",
        "KUBERNETES_",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "http_proxy",
        "https_proxy",
    )
    return {name: value for name, value in os.environ.items() if not name.startswith(foreign)}


def identity_token(directory: Path, pod: str) -> Path:
    """A service-account token such as EKS projects: it names the pod. Unsigned: the emulator does not check."""

    def part(value: Mapping[str, object]) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    claims = {"sub": "system:serviceaccount:ns:product", "kubernetes.io": {"pod": {"name": "p", "uid": pod}}}
    path = directory / f"{pod}.token"
    path.write_text(f"{part({'alg': 'RS256'})}.{part(claims)}.c2lnbmF0dXJlLW9mLXRoZS1jbHVzdGVy")
    return path
