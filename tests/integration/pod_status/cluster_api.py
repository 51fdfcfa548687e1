"""A small API server for one pod: HTTPS with a CA of its own, a bearer token, strategic-merge patches and events."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from sidecar.pod_status.access import ApiAccess
from sidecar.quick_dataclasses import dataclass, field
from tests.fakes.tls import tls_context

TOKEN = "eyJhbGciOi.bound-to-this-pod.c2lnbmF0dXJl"
UID = "6f1c0000-0000-4000-8000-000000000001"
STRATEGIC = "application/strategic-merge-patch+json"
REASONS = {401: "Unauthorized", 403: "Forbidden", 404: "NotFound", 409: "AlreadyExists", 422: "Invalid"}

Answer = tuple[int, object]


@dataclass
class ClusterApi:
    """The server, what it holds, and what it was asked. `fault` may answer a request (method, path) in its place."""

    directory: Path
    conditions: list[dict[str, str]] = field(default_factory=list)
    events: dict[str, dict[str, Any]] = field(default_factory=dict)
    asked: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    fault: Callable[[str, str], Answer | None] = lambda _method, _path: None
    connections: int = 0
    hangs: bool = False
    denied: set[str] = field(default_factory=set)
    """Rights that the account does not have, such as `patch pods/status`."""
    over: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.conditions.append({"type": "ContainersReady", "status": "True"})
        self.mount = self.directory / "mount"
        self.mount.mkdir()
        (self.mount / "token").write_text(TOKEN)
        context, bundle = tls_context(self.directory)
        (self.mount / "ca.crt").write_bytes(bundle.read_bytes())
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # answers leave whole
            disable_nagle_algorithm = True  # and wait for no acknowledgement

            def setup(self) -> None:
                api.connections += 1
                super().setup()

            def do_PATCH(self) -> None:
                api.serve(self)

            do_POST = do_GET = do_PUT = do_PATCH

            def log_message(self, *_: Any) -> None: ...

        class Quiet(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: Any) -> None: ...

        self.server = Quiet(("127.0.0.1", 0), Handler)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def __enter__(self) -> ClusterApi:
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.server.shutdown()
        self.server.server_close()

    def access(self, **changes: str) -> ApiAccess:
        given = {
            "mount": str(self.mount),
            "host": "127.0.0.1",
            "port": str(self.port),
            "pod": "product-1",
            "namespace": "shop",
            "uid": UID,
            "node": "node-1",
            "service_account": "seller",
        }
        return ApiAccess(**(given | changes))

    def shown(self) -> dict[str, str] | None:
        return next((one for one in self.conditions if one["type"].startswith("entitlement")), None)

    # -- answering

    def serve(self, request: BaseHTTPRequestHandler) -> None:
        body = json.loads(request.rfile.read(int(request.headers.get("Content-Length", 0))) or b"{}")
        self.asked.append((request.command, request.path, body))
        if self.hangs:
            self.over.wait(30)
            return
        status, found = self.answer(request, body)
        if status >= 400 and not found:
            found = {"kind": "Status", "reason": REASONS.get(status, "InternalError"), "message": f"no: {TOKEN}"}
        data = found if isinstance(found, bytes) else json.dumps(found).encode()
        request.send_response(status)
        if 300 <= status < 400:
            request.send_header("Location", f"https://127.0.0.1:{self.port}/elsewhere")
        request.send_header("Content-Type", "application/json")
        request.send_header("Content-Length", str(len(data)))
        request.end_headers()
        request.wfile.write(data)

    def answer(self, request: BaseHTTPRequestHandler, body: dict[str, Any]) -> Answer:
        method, path = request.command, request.path
        if request.headers.get("Authorization", "").lower() != f"bearer {TOKEN}".lower():
            return 401, None
        wanted = STRATEGIC if method == "PATCH" else "application/json"
        if request.headers.get("Content-Type") != wanted:
            return 415, None
        if said := self.fault(method, path):
            return said
        if (method, path) == ("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"):
            return self._review(body)
        if (method, path) == ("PATCH", "/api/v1/namespaces/shop/pods/product-1/status"):
            return self._patch_status(body)
        if (method, path) == ("POST", "/api/v1/namespaces/shop/events"):
            return self._create(body)
        if method == "PATCH" and path.startswith("/api/v1/namespaces/shop/events/"):
            return self._count(path.rpartition("/")[2], body)
        return 404, None

    def _review(self, body: dict[str, Any]) -> Answer:
        asked = body["spec"]["resourceAttributes"]
        resource = "/".join(part for part in (asked["resource"], asked.get("subresource")) if part)
        allowed = asked["namespace"] == "shop" and f"{asked['verb']} {resource}" not in self.denied
        return 201, {**body, "status": {"allowed": allowed}}

    def _patch_status(self, body: dict[str, Any]) -> Answer:
        if body["metadata"].get("uid", UID) != UID:
            return 422, None
        for given in body.get("status", {}).get("conditions", []):
            there = next((one for one in self.conditions if one["type"] == given["type"]), None)
            if there is None:
                self.conditions.append(given)
            else:
                there.update(given)
        return 200, {"kind": "Pod", "metadata": {"uid": UID}, "status": {"conditions": self.conditions}}

    def _create(self, body: dict[str, Any]) -> Answer:
        name = body["metadata"]["name"]
        if name in self.events:
            return 409, None
        self.events[name] = body
        return 201, body

    def _count(self, name: str, body: dict[str, Any]) -> Answer:
        if name not in self.events:
            return 404, None
        self.events[name].update(body)
        return 200, self.events[name]


def wait_for(what: Callable[[], object], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "did not happen"
        time.sleep(0.02)
