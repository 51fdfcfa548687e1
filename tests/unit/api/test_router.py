"""The router sends each request of each listener to its handler. The callable itself, no server."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from sidecar.api import probes
from sidecar.api.reply import API, LISTENER, PROBE
from sidecar.api.router import Router
from sidecar.entitlement.status import Status
from tests.fakes.clock import NOON
from tests.fakes.view import FakeView, gate_state
from tests.unit.api.support import RouterReply

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("listener", [PROBE, API])
@pytest.mark.parametrize("path", list(probes.ROUTES))
def test_both_listeners_have_the_probes(listener: str, path: str) -> None:
    router = Router(FakeView(now=gate_state(Status.ENTITLED)))
    assert RouterReply(router, path, listener=listener).status == 200
    assert RouterReply(router, path, "HEAD", listener).status == 200
    assert router.is_nonblocking({LISTENER: listener, "PATH_INFO": path})


@pytest.mark.parametrize("path", list(probes.ROUTES))
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "get"])
@pytest.mark.parametrize("status", Status)
def test_a_quick_reply_is_what_the_router_would_have_sent(path: str, method: str, status: Status) -> None:
    router = Router(FakeView(now=gate_state(status)))
    handler = router.quick_handler(method, path)
    routed = RouterReply(router, path, method)
    assert handler is not None
    quick = handler()
    assert (quick.status, quick.body) == (routed.status, routed.body)
    assert {"Content-Type": quick.content_type, **dict(quick.headers)}.items() <= routed.headers.items()


@pytest.mark.parametrize("path", ["/v1/status", "/v1/usage", "/v1/pre-stop", "/", "", "/entitled/", "//entitled"])
@pytest.mark.parametrize("method", ["GET", "POST", "HEAD"])
def test_no_other_route_is_replied_to_without_the_router(path: str, method: str) -> None:
    view = FakeView(now=gate_state(Status.ENTITLED))
    assert Router(view).quick_handler(method, path) is None


def test_what_entitled_says_follows_the_gate() -> None:
    view = FakeView(now=gate_state(Status.PENDING))
    router = Router(view)
    said = []
    for status in (Status.PENDING, Status.ENTITLED, Status.DENIED, Status.ENTITLED, Status.PENDING):
        view.now = gate_state(status)
        handler = router.quick_handler("GET", "/entitled")
        assert handler is not None
        reply = handler()
        said.append((reply.status, json.loads(reply.body)["status"]))
    codes = {"pending": 503, "entitled": 200, "denied": 403}
    assert said == [(codes[one], one) for one in ("pending", "entitled", "denied", "entitled", "pending")]


@pytest.mark.parametrize("listener", [PROBE, API])
@pytest.mark.parametrize("path", list(probes.ROUTES))
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW", "get"])
def test_a_probe_allows_get_and_head_alone(listener: str, path: str, method: str) -> None:
    found = RouterReply(Router(FakeView(now=gate_state(Status.ENTITLED))), path, method, listener)
    assert found.refused(405, "method_not_allowed")
    assert found.headers["Allow"] == "GET, HEAD"


@pytest.mark.parametrize(
    "path", ["/v1/status", "/v1/recheck", "/v1/usage", "/", "", "/entitled/", "//entitled", "/ENTITLED", "/static/x"]
)
@pytest.mark.parametrize("method", ["GET", "POST", "HEAD"])
@pytest.mark.parametrize("listener", [PROBE, None, "other"])
def test_the_probe_listener_reaches_no_other_route(path: str, method: str, listener: str | None) -> None:
    view = FakeView(now=gate_state(Status.ENTITLED))
    router = Router(view)
    assert RouterReply(router, path, method, listener).refused(404, "not_found")
    assert view.rechecks == 0
    assert router.is_nonblocking({"PATH_INFO": path} | ({LISTENER: listener} if listener else {}))


def test_no_header_gives_a_probe_client_the_api_routes() -> None:
    view = FakeView()
    claims = {"HTTP_SIDECAR_LISTENER": API, "HTTP_X_FORWARDED_FOR": "127.0.0.1", "REMOTE_ADDR": "127.0.0.1"}
    assert RouterReply(Router(view), "/v1/recheck", "POST", PROBE, **claims).refused(404, "not_found")
    assert view.rechecks == 0


def test_the_api_listener_reaches_the_rest_which_may_block() -> None:
    router = Router(FakeView())
    assert RouterReply(router, "/v1/status", listener=API).status == 200
    assert not router.is_nonblocking({LISTENER: API, "PATH_INFO": "/v1/status"})


def test_the_pre_stop_hook_is_heard_at_once_by_the_products_listener_alone() -> None:
    view = FakeView()
    router = Router(view)
    assert router.is_nonblocking({LISTENER: API, "PATH_INFO": "/v1/pre-stop"})
    assert RouterReply(router, "/v1/pre-stop", "POST", PROBE).refused(404, "not_found")
    for method in ("GET", "HEAD", "PUT", "DELETE"):
        found = RouterReply(router, "/v1/pre-stop", method, API)
        assert found.refused(405, "method_not_allowed")
        assert found.headers["Allow"] == "POST"
    assert view.pre_stops == 0
    assert RouterReply(router, "/v1/pre-stop", "POST", API).status == 202
    assert view.pre_stops == 1


@pytest.mark.parametrize("path", ["//v1/usage", "///v1/usage", "//v1/status", "//"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_path_with_two_leading_slashes_is_never_a_route(path: str, method: str) -> None:
    router = Router(FakeView())
    assert router.deferred_handler(API, method, path) is None
    assert RouterReply(router, path, method, API).refused(404, "not_found")


def test_a_refusal_repeats_nothing_of_the_request() -> None:
    found = RouterReply(Router(FakeView()), "/<script>hunter2", QUERY_STRING="hunter2")
    assert b"hunter2" not in found.body


def test_flask_is_imported_at_the_first_request_that_needs_it() -> None:
    program = f"""
import sys
from sidecar.api.reply import API, PROBE
from sidecar.api.router import Router
from tests.fakes.view import FakeView
from tests.unit.api.support import RouterReply
for name in [name for name in sys.modules if name.split(".")[0] in ("flask", "werkzeug")]:
    raise SystemExit(name + " came with the test")
router = Router(FakeView())
for path in {list(probes.ROUTES)!r}:
    for listener in (PROBE, API):
        RouterReply(router, path, listener=listener)
        RouterReply(router, "/v1/status", listener=PROBE)
assert "flask" not in sys.modules, "too early"
assert RouterReply(router, "/v1/status", listener=API).status == 200
assert "flask" in sys.modules
"""
    ended = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stderr


def test_each_request_reads_the_present_state() -> None:
    view = FakeView()
    router = Router(view)
    assert RouterReply(router, "/entitled").status == 503
    view.now = gate_state(Status.ENTITLED, checked_at=NOON)
    assert RouterReply(router, "/entitled").status == 200
