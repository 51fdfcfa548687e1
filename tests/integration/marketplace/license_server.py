"""A small License Manager that answers what a test says, and remembers what it was asked."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import Any, Final

from sidecar.quick_dataclasses import dataclass, field
from tests.fakes.http_server import LocalServer, QuietHandler

CREDENTIAL: Final = re.compile(r"Credential=[^/]+/[0-9]{8}/([a-z0-9-]+)/license-manager/")


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One request."""

    operation: str
    region: str
    """Of the signature."""
    body: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What is answered; a `code` makes it an error of AWS's."""

    body: dict[str, Any] = field(default_factory=dict)
    code: str = ""
    status: int = 400
    of_aws: bool = True


Play = Callable[[Asked], Reply]


def granted(asked: Asked, token: str = "", **more: Any) -> Reply:
    """Allow what was asked for."""
    number = token or asked.body["ClientToken"]
    said = {
        "CheckoutType": asked.body["CheckoutType"],
        "LicenseConsumptionToken": f"held-{number}",
        "EntitlementsAllowed": asked.body["Entitlements"],
        "Expiration": "2026-11-28T23:00:00Z",
        "LicenseArn": "arn:aws:license-manager::294406891311:license:l-0123",
    }
    return Reply(body=said | more)


def refused(code: str, status: int = 400, **more: Any) -> Reply:
    return Reply(code=code, status=status, body=more)


class LicenseServer(LocalServer):
    """Answers each request by `play`."""

    def __init__(self, play: Play) -> None:
        self.play = play
        self.asked: list[Asked] = []
        super().__init__(self._handler())

    def operations(self) -> list[str]:
        return [one.operation for one in self.asked]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(QuietHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                found = CREDENTIAL.search(self.headers["Authorization"])
                assert found
                target = self.headers["X-Amz-Target"].removeprefix("AWSLicenseManager.")
                asked = Asked(operation=target, region=found[1], body=body)
                server.asked.append(asked)
                reply = server.play(asked)
                said = reply.body | ({"__type": reply.code, "Message": "no"} if reply.code else {})
                content = json.dumps(said).encode()
                self.send_response_only(reply.status if reply.code else 200)
                self.send_header("Content-Type", "application/x-amz-json-1.1" if reply.of_aws else "text/html")
                self.send_header("Content-Length", str(len(content)))
                if reply.of_aws:
                    self.send_header("x-amzn-RequestId", f"request-{len(server.asked)}")
                self.end_headers()
                self.wfile.write(content)
                self.close_connection = True

        return Handler
