"""The product's routes in Flask: their replies and refusals."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from werkzeug.test import Client, TestResponse

from sidecar.api.flask_app import application
from sidecar.entitlement.status import Status
from tests.fakes.view import FakeView, gate_state


def client(view: FakeView | None = None) -> Client:
    return Client(application(view or FakeView()))


def refused(found: TestResponse, status: int, reason: str) -> dict[str, Any]:
    assert found.status_code == status
    assert found.content_type == "application/problem+json"
    body = found.get_json(force=True)
    assert (body["status"], body["reason"]) == (status, reason)
    assert isinstance(body, dict)
    return body


def test_status_is_the_whole_document_in_its_order() -> None:
    found = client(FakeView(document={"version": "1", "b": {"z": 1, "a": None}})).get("/v1/status")
    assert found.status_code == 200
    assert found.get_json() == {"version": "1", "b": {"z": 1, "a": None}}
    assert found.text.index("version") < found.text.index('"b"')


def test_entitlements_are_what_the_contract_allows() -> None:
    document = {"entitlements": [{"name": "seats", "expires_at": None}], "license_arn": "arn"}
    found = client(FakeView(licenses=document)).get("/v1/entitlements")
    assert (found.status_code, found.get_json()) == (200, document)


def test_entitlements_without_a_contract_are_409() -> None:
    assert "checkout_license" in refused(client(FakeView()).get("/v1/entitlements"), 409, "no_contract")["detail"]


def test_a_recheck_asks_once_and_is_202() -> None:
    view = FakeView()
    found = client(view).post("/v1/recheck")
    assert (found.status_code, found.get_json(), view.rechecks) == (202, {"asked": True}, 1)


def test_a_recheck_too_soon_is_429_with_retry_after() -> None:
    found = client(FakeView(wait=9)).post("/v1/recheck")
    assert "9 s" in refused(found, 429, "asked_just_now")["detail"]
    assert found.headers["Retry-After"] == "9"


@pytest.mark.parametrize("status", list(Status))
def test_a_recheck_does_not_move_the_gate(status: Status) -> None:
    view = FakeView(now=gate_state(status))
    client(view).post("/v1/recheck", json={"entitled": True, "status": "entitled"})
    assert view.now == gate_state(status)


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("GET", "/v1/recheck", {"POST"}),
        ("PUT", "/v1/recheck", {"POST"}),
        ("POST", "/v1/status", {"GET", "HEAD"}),
        ("DELETE", "/v1/status", {"GET", "HEAD"}),
    ],
)
def test_another_method_is_405_with_the_allowed_methods(method: str, path: str, allow: set[str]) -> None:
    view = FakeView()
    found = client(view).open(path, method=method)
    refused(found, 405, "method_not_allowed")
    assert {one.strip() for one in found.headers["Allow"].split(",")} == allow
    assert view.rechecks == 0


def test_the_head_of_the_status_has_no_body() -> None:
    found = client().head("/v1/status")
    assert (found.status_code, found.data) == (200, b"")


@pytest.mark.parametrize("path", ["/v2/status", "/v1/status/", "/V1/status", "/static/x", "/v1/%00", "/hunter2/<b>"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_another_path_is_refused_and_not_repeated(method: str, path: str) -> None:
    found = client().open(path, method=method, query_string="q=hunter2", data=b"hunter2")
    body = refused(found, 404, "not_found")
    assert "hunter2" not in found.text
    assert "/v1/status" in body["detail"]


def test_a_doubled_slash_is_not_merged() -> None:
    found = client().get("/v1//status", headers={"Host": "hunter2.example"})
    refused(found, 404, "not_found")


def broken() -> FakeView:
    return FakeView(broken=RuntimeError("hunter2 is the password"))


@pytest.mark.parametrize(("method", "path"), [("GET", "/v1/status"), ("POST", "/v1/recheck")])
def test_an_exception_of_a_route_is_raised_and_not_logged_by_flask(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str], method: str, path: str
) -> None:
    with caplog.at_level(logging.DEBUG), pytest.raises(RuntimeError):
        client(broken()).open(path, method=method)
    assert "hunter2" not in caplog.text
    assert capfd.readouterr() == ("", "")
