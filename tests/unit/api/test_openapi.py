"""The description of the API: it has every route and no other, is valid, and its examples are what it says."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

import jsonschema
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator
from openapi_spec_validator.validation.exceptions import OpenAPIValidationError

from sidecar.api import openapi, probes, problem, push
from sidecar.api.flask_app import application
from sidecar.api.operations import OPERATIONS, refusals
from sidecar.api.operations.operation import Operation
from sidecar.api.reply import API
from sidecar.api.router import PRE_STOP, Router
from sidecar.billing.usage import WORKLOAD_UNKNOWN
from sidecar.entitlement.status import Status
from sidecar.ledger.errors import REASONS as LEDGER_REASONS
from sidecar.metering.events import PushRefused
from sidecar.quick_dataclasses import replace
from sidecar.server import admission, http_error, response
from sidecar.server.limits import REFUSAL_STATUSES
from tests.fakes.usage import FakeUsage
from tests.fakes.view import FakeView, gate_state
from tests.unit.api.support import RouterReply

DOCUMENT: dict[str, Any] = json.loads(json.dumps(openapi.document()))
OPERATION = {one.name: one for one in OPERATIONS}
BY_NAME = pytest.mark.parametrize("one", OPERATIONS, ids=lambda one: one.id)


def routes() -> set[str]:
    """Return method and path of every route that the product's listener serves."""
    view = FakeView()
    found = {f"GET {path}" for path in probes.ROUTES} | {f"POST {PRE_STOP}"}
    assert Router(view).deferred_handler(API, "POST", push.PATH), "pushes are served by the router"
    for rule in application(view).url_map.iter_rules():  # type: ignore[attr-defined]
        found |= {f"{method} {rule.rule}" for method in rule.methods - {"HEAD", "OPTIONS"}}
    return found


def described(operations: Iterable[Operation]) -> set[str]:
    """Return method and path of every operation in the document that is made of these."""
    paths = openapi.document(operations)["paths"]
    return {f"{method.upper()} {path}" for path, item in paths.items() for method in item}


def conforms(value: object, schema: object) -> bool:
    """Return whether a value is what a schema of the document says."""
    whole = {"$ref": "#/here", "here": schema, "components": DOCUMENT["components"]}
    return jsonschema.Draft202012Validator(whole).is_valid(value)


def answer(one: Operation, status: int) -> dict[str, Any]:
    """Return the description of an answer, without a reference."""
    found: dict[str, Any] = DOCUMENT["paths"][one.path][one.method.lower()]["responses"][str(status)]
    ref = found.get("$ref")
    return DOCUMENT["components"]["responses"][ref.rpartition("/")[2]] if ref else found


# -- the routes


def test_every_route_is_described_and_no_other() -> None:
    assert described(OPERATIONS) == routes()


def test_a_route_that_is_not_described_would_be_seen() -> None:
    assert routes() - described(OPERATIONS[1:]) == {OPERATIONS[0].name}


@pytest.mark.parametrize("change", [{"path": "/v1/phantom"}, {"method": "PUT"}], ids=["path", "method"])
def test_a_described_route_that_is_not_served_would_be_seen(change: dict[str, Any]) -> None:
    phantom = replace(OPERATIONS[0], **change)
    assert described((phantom, *OPERATIONS[1:])) - routes() == {phantom.name}


def test_the_probe_routes_alone_need_no_token() -> None:
    assert {one.path for one in OPERATIONS if one.is_probe} == set(probes.ROUTES)


def test_an_id_for_generated_clients_is_there_once() -> None:
    assert len({one.id for one in OPERATIONS}) == len(OPERATIONS)


# -- the document


def test_an_independent_validator_accepts_the_document() -> None:
    OpenAPIV31SpecValidator(DOCUMENT).validate()


def test_the_validator_refuses_a_document_that_is_broken() -> None:
    broken = json.loads(json.dumps(DOCUMENT))
    del broken["paths"]["/entitled"]["get"]["responses"]["200"]["description"]
    with pytest.raises(OpenAPIValidationError):
        OpenAPIV31SpecValidator(broken).validate()


def test_a_running_sidecar_serves_the_document() -> None:
    served = RouterReply(Router(FakeView()), "/openapi.json", listener=API)
    assert (served.status, served.headers["Content-Type"]) == (200, "application/json")
    assert served.json == DOCUMENT


def test_the_probe_listener_does_not_serve_the_document() -> None:
    assert RouterReply(Router(FakeView()), "/openapi.json").refused(404, "not_found")


def test_the_document_says_nothing_of_the_running_product() -> None:
    other = FakeView(product_code="another", usage=FakeUsage(dimensions={}))
    assert RouterReply(Router(other), "/openapi.json", listener=API).json == DOCUMENT


def test_no_link_of_the_documentation_is_left_in_a_text() -> None:
    assert "](" not in json.dumps(DOCUMENT)
    assert openapi.plain("the [reasons](a.md) of [b](c.md#d)") == "the reasons of b"


# -- what is answered


def bodies(one: Operation) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield name and media type object of everything that an operation takes and answers."""
    taken = DOCUMENT["paths"][one.path][one.method.lower()].get("requestBody", {"content": {}})
    yield from ((f"request {kind}", media) for kind, media in taken["content"].items())
    for status in DOCUMENT["paths"][one.path][one.method.lower()]["responses"]:
        yield from ((f"{status} {kind}", media) for kind, media in answer(one, int(status))["content"].items())


@BY_NAME
def test_each_body_has_an_example_that_its_schema_allows(one: Operation) -> None:
    for name, media in bodies(one):
        examples = [media["example"]] if "example" in media else [each["value"] for each in media["examples"].values()]
        assert examples, name
        for example in examples:
            assert conforms(example, media["schema"]), (name, example)
            assert not conforms(None, media["schema"]), name


@BY_NAME
def test_each_query_has_an_example_that_its_schema_allows(one: Operation) -> None:
    for parameter in DOCUMENT["paths"][one.path][one.method.lower()].get("parameters", ()):
        assert conforms(parameter["example"], parameter["schema"])


@BY_NAME
def test_a_status_with_retry_after_is_one_that_passes(one: Operation) -> None:
    for status, found in one.answers.items():
        assert status in (429, 503) or "Retry-After" not in found.headers


def test_a_push_names_each_reason_of_its_refusals() -> None:
    for reason, status in refusals.PUSH.items():
        found = answer(OPERATION["POST /v1/usage"], status)["content"]["application/problem+json"]
        body = json.loads(problem.document(status, reason, "x", index=0))
        assert conforms(body, found["schema"]), reason
        assert not conforms({**body, "reason": "another_reason"}, found["schema"])
        assert not conforms({**body, "status": 418}, found["schema"])


@pytest.mark.parametrize("status", Status)
def test_the_gate_answers_as_it_is_described(status: Status) -> None:
    view = FakeView(now=gate_state(status, reason="customer_not_entitled"))
    found = RouterReply(Router(view), "/entitled")
    media = answer(OPERATION["GET /entitled"], found.status)["content"]["application/json"]
    assert conforms(found.json, media["schema"])
    assert not conforms({**found.json, "reason": "no_such_reason"}, media["schema"])


def test_a_missing_and_a_wrong_method_are_answered_as_described() -> None:
    shared = DOCUMENT["components"]["responses"]
    router = Router(FakeView())
    missing = RouterReply(router, "/nothing", listener=API)
    assert conforms(missing.json, shared["NotFound"]["content"]["application/problem+json"]["schema"])
    for path, item in DOCUMENT["paths"].items():
        methods = {method.upper() for method in item} | ({"HEAD"} if "get" in item else set())
        for method in {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"} - methods:
            wrong = RouterReply(router, path, method, listener=API)
            assert (wrong.status, set(wrong.headers["Allow"].split(", "))) == (405, methods), (method, path)
            if method != "HEAD":
                assert conforms(wrong.json, shared["MethodNotAllowed"]["content"]["application/problem+json"]["schema"])


# -- the tables that other packages have


def test_the_ledgers_reasons_are_the_ledgers() -> None:
    assert tuple(LEDGER_REASONS) == refusals.LEDGER
    assert WORKLOAD_UNKNOWN[0] == refusals.WORKLOAD_UNKNOWN


def test_the_servers_reasons_are_the_servers() -> None:
    modules = (admission, http_error, response)
    found = {one for module in modules for one in vars(module).values() if isinstance(one, http_error.HttpError)}
    found.add(http_error.unsupported_coding(""))
    assert {(one.reason, one.status) for one in found} == {
        (name, refusals.REFUSALS[name].status) for name in refusals.BY_SERVER
    }
    assert set(openapi.BY_STATUS) == {*REFUSAL_STATUSES, 500}


def test_the_servers_headers_are_described() -> None:
    for one in (admission.TOKEN_REFUSED, http_error.unsupported_coding("br"), response.TOO_BUSY):
        assert f"\r\n{openapi.SHARED_HEADERS[one.status]}: ".encode() in response.error_response(one).parts[0]


def test_a_refused_push_has_the_status_of_the_table() -> None:
    refused = PushRefused(status=503, reason="ledger_full", detail="x")
    found = push.reply(refused)
    assert (found.status, dict(found.headers)["Retry-After"]) == (refusals.PUSH["ledger_full"], "1")
