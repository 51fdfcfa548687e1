"""The service's routes are those that its description lists."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from flask import Flask
from openapi_spec_validator import validate

from sidecar.saas import http, openapi


def application() -> Flask:
    nothing: Any = SimpleNamespace(send_now=None, resolve=None)
    app = http.application(
        store=nothing, resolver=nothing, notices=nothing, leading=nothing, status=nothing, now=nothing
    )
    assert isinstance(app, Flask)
    return app


def test_every_route_is_described_and_no_other() -> None:
    rules = application().url_map.iter_rules()
    served = {(method, rule.rule) for rule in rules for method in (rule.methods or ()) if method != "HEAD"}
    described = {(method, path) for method, path, *_ in openapi.ROUTES if path not in http.PROBES}
    assert served == described


def test_the_description_is_valid() -> None:
    validate(openapi.document())


@pytest.mark.parametrize(
    "body", ["not json", "[1]", '"a"', "", "{", "[" * 9999, b"\xff", '{"token": "a", "token": "a"}']
)
def test_a_body_without_a_token_is_a_problem_document(body: str | bytes) -> None:
    made = application().test_client().post("/v1/customers/resolve", data=body, content_type="application/json")
    assert (made.status_code, made.content_type) == (400, "application/problem+json")
    assert made.get_json()["reason"] == "bad_request"


def test_an_unknown_route_is_a_problem_document_and_a_wrong_method_says_which_are_right() -> None:
    client = application().test_client()
    missing, wrong = client.get("/v1/nothing"), client.get("/v1/notices")
    assert (missing.status_code, missing.get_json()["reason"]) == (404, "not_found")
    assert missing.get_json()["detail"] == "There is no such route. See GET /openapi.json."
    assert (wrong.status_code, wrong.get_json()["reason"], wrong.headers["Allow"]) == (
        405,
        "method_not_allowed",
        "POST",
    )


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_the_probes_are_answered_without_the_router_and_nothing_else_is(method: str) -> None:
    nothing: Any = SimpleNamespace(push=None)
    status: Any = SimpleNamespace(unhealthy=lambda: None, not_ready=lambda: ("starting", "It starts."), metrics=list)
    router = http.SaasRouter(status, nothing, application)
    found = {path: router.quick_handler(method, path) for path in (*http.PROBES, "/", "/v1/usage", "/v1/status", "")}
    replies = {path: handler().status for path, handler in found.items() if handler}
    healthy = {"/healthz": 200, "/readyz": 503, "/metrics": 200}
    assert replies == (healthy if method != "POST" else dict.fromkeys(healthy, 405))
