"""Which answer belongs to a request, on which listener. The callable itself, no server."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from sidecar.api import probes
from sidecar.api.ports import Metric
from sidecar.api.reply import API, LISTENER, PROBE
from sidecar.api.router import Router
from sidecar.entitlement.status import Status
from tests.fakes import NOON, PRODUCT, FakeView, standing

ROOT = Path(__file__).parents[3]
SHUT = [one for one in Status if one is not Status.ENTITLED]


class Answer:
    def __init__(
        self, site: Router, path: str, method: str = "GET", listener: str | None = PROBE, **environ: Any
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
        body = site(given | environ, lambda status, headers, *_: self.started.append((status, headers)))
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


# -- /entitled


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (Status.ENTITLED, 200),
        (Status.DENIED, 403),
        (Status.PENDING, 503),
        (Status.UNAVAILABLE, 503),
        (Status.MISCONFIGURED, 503),
    ],
)
def test_the_gate_shows_as_the_contract_says(status: Status, code: int) -> None:
    found = Answer(Router(FakeView(now=standing(status))), "/entitled")
    assert found.status == code
    assert found.json == {
        "entitled": code == 200,
        "status": status.value,
        "reason": "some_reason",
        "hint": "Do this.",
        "product_code": PRODUCT,
        "checked_at": "2026-01-02T12:00:00.000Z",
        "metering_overdue_since": None,
    }
    assert found.headers.get("Retry-After") == ("7" if code == 503 else None)
    assert found.headers["Content-Type"] == "application/json"
    assert found.headers["Content-Length"] == str(len(found.body))
    assert found.headers["Cache-Control"] == "no-store"


def test_before_the_first_answer_nothing_was_checked() -> None:
    found = Answer(Router(FakeView()), "/entitled").json
    assert found["checked_at"] is None
    assert (found["entitled"], found["status"]) == (False, "pending")


def test_every_status_has_a_code_and_only_entitled_is_a_success() -> None:
    assert set(probes.HTTP_STATUS) == set(Status)
    assert [one for one, code in probes.HTTP_STATUS.items() if code < 400] == [Status.ENTITLED]


# -- /healthz, /readyz


@pytest.mark.parametrize("status", list(Status))
def test_health_does_not_ask_for_entitlement(status: Status) -> None:
    assert Answer(Router(FakeView(now=standing(status))), "/healthz").status == 200


def test_health_names_the_loop_that_stopped() -> None:
    found = Answer(Router(FakeView(now=standing(Status.ENTITLED), stopped="entitlement")), "/healthz")
    assert found.refused(503, "loop_stopped")
    assert "entitlement" in found.json["detail"]


def test_ready_is_entitled() -> None:
    assert Answer(Router(FakeView(now=standing(Status.ENTITLED))), "/readyz").status == 200


@pytest.mark.parametrize("status", SHUT)
def test_not_ready_says_why(status: Status) -> None:
    found = Answer(Router(FakeView(now=standing(status))), "/readyz")
    assert found.refused(503, "some_reason")
    assert status.value in found.json["detail"]
    assert "Do this." in found.json["detail"]


def test_ready_needs_usage_to_be_kept() -> None:
    fault = ("ledger_full", "Free some space.")
    found = Answer(Router(FakeView(now=standing(Status.ENTITLED), fault=fault)), "/readyz")
    assert found.refused(503, "ledger_full")
    assert "Free some space." in found.json["detail"]


@pytest.mark.parametrize("path", ["/entitled", "/healthz"])
def test_usage_that_cannot_be_kept_shows_in_readiness_alone(path: str) -> None:
    view = FakeView(now=standing(Status.ENTITLED), fault=("ledger_full", "Free some space."))
    assert Answer(Router(view), path).status == 200


def test_a_shut_gate_is_told_before_usage_that_cannot_be_kept() -> None:
    view = FakeView(now=standing(Status.DENIED), fault=("ledger_full", "Free some space."))
    assert Answer(Router(view), "/readyz").refused(503, "some_reason")


def test_the_gate_says_since_when_usage_is_overdue_and_stays_open() -> None:
    found = Answer(Router(FakeView(now=standing(Status.ENTITLED), overdue_since=NOON)), "/entitled")
    assert (found.status, found.json["metering_overdue_since"]) == (200, "2026-01-02T12:00:00.000Z")


def test_metrics_are_prometheus_text() -> None:
    view = FakeView(samples=[Metric(name="entitled", kind="gauge", help="h", samples=[({"a": '"\n\\'}, 1.0)])])
    found = Answer(Router(view), "/metrics")
    assert (found.status, found.headers["Content-Type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    (family,) = text_string_to_metric_families(found.body.decode())
    assert family.samples[0].labels == {"a": '"\n\\'}


# -- who reaches what


@pytest.mark.parametrize("listener", [PROBE, API])
@pytest.mark.parametrize("path", list(probes.ROUTES))
def test_both_listeners_have_the_probes(listener: str, path: str) -> None:
    site = Router(FakeView(now=standing(Status.ENTITLED)))
    assert Answer(site, path, listener=listener).status == 200
    assert Answer(site, path, "HEAD", listener).status == 200
    assert site.is_nonblocking({LISTENER: listener, "PATH_INFO": path})


@pytest.mark.parametrize("listener", [PROBE, API])
@pytest.mark.parametrize("path", list(probes.ROUTES))
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW", "get"])
def test_a_probe_is_only_read(listener: str, path: str, method: str) -> None:
    found = Answer(Router(FakeView(now=standing(Status.ENTITLED))), path, method, listener)
    assert found.refused(405, "method_not_allowed")
    assert found.headers["Allow"] == "GET, HEAD"


@pytest.mark.parametrize(
    "path", ["/v1/status", "/v1/recheck", "/v1/usage", "/", "", "/entitled/", "//entitled", "/ENTITLED", "/static/x"]
)
@pytest.mark.parametrize("method", ["GET", "POST", "HEAD"])
@pytest.mark.parametrize("listener", [PROBE, None, "other"])
def test_the_probe_listener_reaches_no_other_route(path: str, method: str, listener: str | None) -> None:
    view = FakeView(now=standing(Status.ENTITLED))
    site = Router(view)
    assert Answer(site, path, method, listener).refused(404, "not_found")
    assert view.rechecks == 0
    assert site.is_nonblocking({"PATH_INFO": path} | ({LISTENER: listener} if listener else {}))


def test_no_header_makes_a_probe_client_the_product() -> None:
    view = FakeView()
    claims = {"HTTP_SIDECAR_LISTENER": API, "HTTP_X_FORWARDED_FOR": "127.0.0.1", "REMOTE_ADDR": "127.0.0.1"}
    assert Answer(Router(view), "/v1/recheck", "POST", PROBE, **claims).refused(404, "not_found")
    assert view.rechecks == 0


def test_the_product_reaches_the_rest_and_that_is_not_quick() -> None:
    site = Router(FakeView())
    assert Answer(site, "/v1/status", listener=API).status == 200
    assert not site.is_nonblocking({LISTENER: API, "PATH_INFO": "/v1/status"})


@pytest.mark.parametrize("path", ["//v1/usage", "///v1/usage", "//v1/status", "//"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_path_that_begins_with_two_slashes_is_no_route_of_either_kind(path: str, method: str) -> None:
    site = Router(FakeView())
    assert site.deferred_handler(API, method, path) is None
    assert Answer(site, path, method, API).refused(404, "not_found")


def test_a_refusal_repeats_nothing_of_the_request() -> None:
    found = Answer(Router(FakeView()), "/<script>hunter2", QUERY_STRING="hunter2")
    assert b"hunter2" not in found.body


def test_flask_is_imported_for_the_first_other_route_and_not_before() -> None:
    program = f"""
import sys
from sidecar.api.reply import API, PROBE
from sidecar.api.router import Router
from tests.unit.api.test_router import Answer, FakeView
for name in [name for name in sys.modules if name.split(".")[0] in ("flask", "werkzeug")]:
    raise SystemExit(name + " came with the test")
site = Router(FakeView())
for path in {list(probes.ROUTES)!r}:
    for listener in (PROBE, API):
        Answer(site, path, listener=listener)
        Answer(site, "/v1/status", listener=PROBE)
assert "flask" not in sys.modules, "too early"
assert Answer(site, "/v1/status", listener=API).status == 200
assert "flask" in sys.modules
"""
    ended = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stderr


def test_the_view_of_the_past_is_not_kept() -> None:
    view = FakeView()
    site = Router(view)
    assert Answer(site, "/entitled").status == 503
    view.now = standing(Status.ENTITLED, checked_at=NOON)
    assert Answer(site, "/entitled").status == 200
