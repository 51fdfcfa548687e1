"""The SaaS service as a real process, asked over HTTP."""

from __future__ import annotations

import json
import os
import signal
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from sidecar.emulator import Emulator
from tests.acceptance.billing.metered import dead
from tests.acceptance.support import Sidecar, eventually


class Service(Sidecar):
    """One replica."""

    def __init__(self, aws: Emulator, directory: Path, **settings: str | None) -> None:
        given: dict[str, str | None] = {
            "SIDECAR_DIMENSIONS": '[{"name": "requests"}, {"name": "gb", "decimals": 3}]',
            "SIDECAR_CLOCK_URL": aws.url,
            "SIDECAR_PUBLIC_KEY": None,
            "SIDECAR_TERMINATION_LOG": None,
            "AWS_ROLE_ARN": None,
            "AWS_WEB_IDENTITY_TOKEN_FILE": None,
            "AWS_ACCESS_KEY_ID": "seller",
            "AWS_SECRET_ACCESS_KEY": "unchecked",
        }
        super().__init__(aws, directory, **given | settings)
        self.line = [sys.executable, "-m", "sidecar", "saas"]

    def ask(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        data = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.api_port}{path}", data, method=method)
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as exc:
            return exc.code, json.loads(exc.read())

    def ready(self) -> Service:
        try:
            eventually(lambda: self.probe("/readyz")[0] == 200 and self.ask("GET", "/v1/status")[1]["leads"])
        except AssertionError as exc:
            raise AssertionError(f"{exc}\n{self.text()}") from None
        return self

    def killed(self) -> None:
        """End all its processes at once, as the kernel ends those of a container, and wait until none has the file."""
        assert self.process is not None
        main = self.process.pid
        every = [main, *map(int, Path(f"/proc/{main}/task/{main}/children").read_text().split())]
        for one in every:
            os.kill(one, signal.SIGKILL)
        self.process.wait()
        eventually(lambda: all(map(dead, every)))

    def resolve(self, aws: Emulator, customer: str) -> tuple[int, Any]:
        return self.ask("POST", "/v1/customers/resolve", {"token": aws.saas.make_token(customer)})

    def use(self, customer: dict[str, str], quantity: object, dimension: str = "requests", **more: object) -> Any:
        event = {"customer": customer, "dimension": dimension, "quantity": quantity, **more}
        return self.ask("POST", "/v1/usage", event)

    def states(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for one in self.ask("GET", "/v1/usage")[1]["records"]:
            found[one["state"]] = found.get(one["state"], 0) + 1
        return found
