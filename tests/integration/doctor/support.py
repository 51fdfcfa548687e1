"""A container as doctor finds it: real files, a real environment, and an AWS that answers over HTTP."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from sidecar.doctor.context import Context
from sidecar.doctor.finding import Finding, Status
from sidecar.doctor.table import CHECKS
from sidecar.emulator import Emulator
from sidecar.emulator.keys import SigningKeys
from tests.fakes.http_server import LocalServer, QuietHandler

PRODUCT: Final = "prod1"
REGION: Final = "us-east-1"
ROLE: Final = "arn:aws:iam::123456789012:role/team/app"
ACCOUNT: Final = "123456789012"
TASK_ARN: Final = "arn:aws:ecs:us-east-1:123456789012:task/shop/0123456789abcdef"
TASK: Final[Mapping[str, object]] = {"TaskARN": TASK_ARN, "Cluster": "shop", "LaunchType": "FARGATE"}
SECRET_KEY: Final = "wJalrXUtnFEMI-unchecked-secret"
POD: Final = "pod-uid-1"


@dataclass(kw_only=True)
class Container:
    """Environment, files and servers of one container; the servers end with the test."""

    directory: Path
    keys: SigningKeys
    running: ExitStack
    status: Mapping[str, object] | None = None
    """What a sidecar that runs here answers; None: there is none."""
    gate: Mapping[str, object] | None = None
    """What it answers to `/entitled`; None: nothing listens."""
    api_mount: Path = Path("/nowhere")
    manifest: Path = field(init=False)
    seal: Path = field(init=False)
    env: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self.manifest, self.seal = self.directory / "product.yaml", self.directory / "manifest.sha256"
        state = self.directory / "state"
        state.mkdir()
        self.env = {
            "SIDECAR_PRODUCT_CODE": PRODUCT,
            "SIDECAR_PUBLIC_KEY": self.keys.public_pem(1),
            "SIDECAR_STATE_DIR": str(state),
            "POD_UID": POD,
            "POD_NAMESPACE": "shop",
            "SERVICE_ACCOUNT": "product",
            "KUBERNETES_SERVICE_HOST": "10.0.0.1",
            "AWS_REGION": REGION,
        }

    def set(self, **variables: str | None) -> Container:
        """Set variables of the environment; None takes one away."""
        for name, value in variables.items():
            self.env.pop(name, None)
            if value is not None:
                self.env[name] = value
        return self

    def context(self) -> Context:
        """Return the context of this container."""
        return Context(
            env=dict(self.env),
            manifest_path=self.manifest,
            seal_path=self.seal,
            read_status=self._read_status,
            read_gate=self._read_gate,
            api_mount=self.api_mount,
            read_instance_region=lambda env: None,
            tokens=(),
        )

    def check(self, id_: str) -> Finding:
        """Run one check alone."""
        (check,) = [one for one in CHECKS if one.id == id_]
        return check.run(self.context())

    def aws(self, **settings: Any) -> Emulator:
        """Start an emulator of AWS, and let the settings name it."""
        settings = {"keys": self.keys, "dimensions": ("requests", "gigabytes"), **settings}
        found = self.running.enter_context(Emulator(product_codes=(PRODUCT,), **settings))
        self.set(SIDECAR_ENDPOINT_URL=found.url)
        return found

    def irsa(self) -> Container:
        """Inject what the webhook of IRSA does."""
        token = self.directory / "token"
        claims = base64.urlsafe_b64encode(json.dumps({"kubernetes.io": {"pod": {"uid": POD}}}).encode()).decode()
        token.write_text(f"e30.{claims}.c2ln")
        return self.set(AWS_ROLE_ARN=ROLE, AWS_WEB_IDENTITY_TOKEN_FILE=str(token))

    def task(self, described: Mapping[str, object] = TASK) -> Container:
        """Make it a container of an ECS task, with an agent that describes the task."""
        url = self.serve(json.dumps(described).encode())
        self.set(POD_UID=None, POD_NAMESPACE=None, SERVICE_ACCOUNT=None, KUBERNETES_SERVICE_HOST=None)
        return self.set(ECS_CONTAINER_METADATA_URI_V4=url)

    def serve(self, body: bytes, status: int = 200, content_type: str = "application/json") -> str:
        """Start a server on this machine that answers everything with `body`. Return its URL."""

        class Handler(QuietHandler):
            def do_GET(self) -> None:
                self.send_response(status)
                self.send_header("Content-Type", content_type)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_POST = do_GET

        return self.running.enter_context(LocalServer(Handler)).url

    def _read_status(self) -> Mapping[str, object]:
        if self.status is None:
            raise ConnectionRefusedError("no sidecar listens")
        return self.status

    def _read_gate(self) -> tuple[int, Mapping[str, object]]:
        if self.gate is None:
            raise ConnectionRefusedError("no sidecar listens")
        return 200, self.gate


def text(finding: Finding) -> str:
    """Return everything a finding says."""
    return f"{finding.seen}\n{finding.rule}\n{finding.fix}"


def is_mended(finding: Finding) -> bool:
    """Return whether a finding that is not fine comes with a fix."""
    return finding.status in (Status.PASS, Status.SKIP) or bool(finding.fix)
