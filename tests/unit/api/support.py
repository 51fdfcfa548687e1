"""Call the router as the HTTP server does, without a server."""

from __future__ import annotations

import json
from typing import Any

from sidecar.api.reply import LISTENER, PROBE
from sidecar.api.router import Router


class RouterReply:
    """The router's reply to one request. `listener`: None for an environ that names none."""

    def __init__(
        self, router: Router, path: str, method: str = "GET", listener: str | None = PROBE, **environ: Any
    ) -> None:
        given = {
            "REQUEST_METHOD": method,
            "PATH_INFO": path,
            "QUERY_STRING": "",
            "SERVER_NAME": "x",
            "SERVER_PORT": "1",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "wsgi.url_scheme": "http",
        }
        given |= {LISTENER: listener} if listener else {}
        self.started: list[tuple[str, list[tuple[str, str]]]] = []
        body = router(given | environ, lambda status, headers, *_: self.started.append((status, headers)))
        self.body = b"".join(body)
        ((line, headers),) = self.started
        self.status = int(line.split(" ")[0])
        self.headers = dict(headers)
        assert len(self.headers) == len(headers), "a header given twice"

    @property
    def json(self) -> dict[str, Any]:
        found = json.loads(self.body)
        assert isinstance(found, dict)
        return found

    def refused(self, status: int, reason: str) -> bool:
        assert self.headers["Content-Type"] == "application/problem+json"
        assert (self.status, self.json["status"]) == (status, status)
        return bool(self.json["reason"] == reason)
