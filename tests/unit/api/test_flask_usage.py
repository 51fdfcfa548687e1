"""Records, decisions and the audit copy over HTTP."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from werkzeug.test import Client, TestResponse

from sidecar.api.flask_app import application
from sidecar.errors import DecisionRefused, SidecarError
from sidecar.metering.hours import Hour
from sidecar.metering.records import UsageRecord
from sidecar.metering.resolution import Resolution
from sidecar.metering.states import Action, IllegalTransition, State
from sidecar.quick_dataclasses import replace
from tests.fakes.clock import NOON
from tests.fakes.usage import FakeUsage
from tests.fakes.view import FakeView

TEN = Hour(datetime(2026, 11, 20, 10, tzinfo=UTC))
SETTLED = UsageRecord(
    hour=TEN, dimension="requests", state=State.SETTLED, quantity=Decimal("7.500"), record_id="r-1", attempts=2
)
SETTLED = replace(SETTLED, aws_quantity=Decimal("5.0"))
REJECTED = UsageRecord(
    hour=TEN.next,
    dimension="gigabytes",
    state=State.REJECTED,
    quantity=Decimal("1E+3"),
    last_error="outcome_unknown",
    retry_at=NOON + timedelta(milliseconds=5),
    rolled_to=TEN.next.next,
)


def client(usage: FakeUsage | None = None) -> Client:
    return Client(application(FakeView(usage=usage or FakeUsage())))


def refused(found: TestResponse, status: int, reason: str) -> str:
    assert (found.status_code, found.content_type) == (status, "application/problem+json")
    body = json.loads(found.data)
    assert (body["status"], body["reason"]) == (status, reason)
    return str(body["detail"])


# -- GET /v1/usage


def test_records_are_shown_whole_and_in_their_order() -> None:
    found = client(FakeUsage(found=[SETTLED, REJECTED])).get("/v1/usage")
    assert (found.status_code, found.content_type) == (200, "application/json")
    assert json.loads(found.data) == {
        "records": [
            {
                "workload": "pod-1",
                "hour": "2026-11-20T10:00:00Z",
                "dimension": "requests",
                "state": "settled",
                "quantity": "7.5",
                "metering_record_id": "r-1",
                "last_error": None,
                "attempts": 2,
                "retry_at": None,
                "rolled_to": None,
                "aws_quantity": "5",
                "kind": None,
            },
            {
                "workload": "pod-1",
                "hour": "2026-11-20T11:00:00Z",
                "dimension": "gigabytes",
                "state": "rejected",
                "quantity": "1000",
                "metering_record_id": None,
                "last_error": "outcome_unknown",
                "attempts": 0,
                "retry_at": "2026-01-02T12:00:00.005Z",
                "rolled_to": "2026-11-20T12:00:00Z",
                "aws_quantity": None,
                "kind": None,
            },
        ]
    }


def test_records_of_workloads_that_are_gone_follow_with_their_own() -> None:
    asking = client(FakeUsage(found=[SETTLED], orphaned=[("pod-0", REJECTED)]))
    found = asking.get("/v1/usage").get_json()["records"]
    assert [(one["workload"], one["state"]) for one in found] == [("pod-1", "settled"), ("pod-0", "rejected")]
    found = asking.get("/v1/usage?state=rejected").get_json()["records"]
    assert [one["workload"] for one in found] == ["pod-0"]


def test_no_record_is_an_empty_list() -> None:
    assert client().get("/v1/usage").get_json() == {"records": []}


@pytest.mark.parametrize("state", list(State))
def test_a_state_chooses_its_records(state: State) -> None:
    found = client(FakeUsage(found=[SETTLED, REJECTED])).get(f"/v1/usage?state={state.value}").get_json()
    assert [one["state"] for one in found["records"]] == [state.value] * (state in (State.SETTLED, State.REJECTED))


@pytest.mark.parametrize("state", ["", "nonsense", "SETTLED", "settle"])
def test_an_unknown_state_is_refused_with_the_known_ones(state: str) -> None:
    detail = refused(client().get("/v1/usage", query_string={"state": state}), 400, "bad_request")
    assert json.dumps(state) in detail
    assert "rolled_forward" in detail


# -- POST /v1/usage/retry

HOUR = "2026-11-20T10:00:00Z"


@pytest.mark.parametrize(
    ("body", "asked"),
    [
        (b"", Resolution()),
        ({}, Resolution()),
        ({"act": "retry"}, Resolution()),
        ({"act": "roll_forward", "hour": HOUR}, Resolution(action=Action.ROLL_FORWARD, hour=TEN)),
        ({"act": "roll_forward", "workload": "w"}, Resolution(action=Action.ROLL_FORWARD, workload="w")),
        ({"dimension": "requests"}, Resolution(dimension="requests")),
        ({"hour": "2026-11-20T12:00:00+02:00"}, Resolution(hour=TEN)),
        (
            {"act": "confirm", "hour": HOUR, "dimension": "requests", "metering_record_id": "r-1"},
            Resolution(action=Action.CONFIRM, hour=TEN, dimension="requests", record_id="r-1"),
        ),
        (
            {"act": "accept_aws", "hour": HOUR, "dimension": "requests", "quantity": "2.50"},
            Resolution(action=Action.ACCEPT_AWS, hour=TEN, dimension="requests", quantity=Decimal("2.5")),
        ),
        (
            {"act": "accept_aws", "hour": HOUR, "dimension": "requests", "quantity": 0},
            Resolution(action=Action.ACCEPT_AWS, hour=TEN, dimension="requests", quantity=Decimal(0)),
        ),
    ],
)
def test_a_decision_is_passed_on_as_it_was_made(body: Any, asked: Resolution) -> None:
    usage = FakeUsage(found=[SETTLED])
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    found = client(usage).post("/v1/usage/retry", data=data)
    assert (found.status_code, usage.acts) == (200, [asked])
    assert [one["metering_record_id"] for one in found.get_json()["records"]] == ["r-1"]


CONFIRM = {"act": "confirm", "hour": HOUR, "dimension": "requests", "metering_record_id": "r-1"}

ACCEPT: dict[str, Any] = {"act": "accept_aws", "hour": HOUR, "dimension": "requests", "quantity": "1"}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"act": "seal"}, ['act is "seal"', "retry, roll_forward, confirm"]),
        ({"act": "settle"}, ['"settle"']),
        ({"act": None}, ["act is null"]),
        ({"hour": "2026-11-20T10:30:00Z"}, ["hour", "10:30", "start of an hour"]),
        ({"hour": "2026-11-20T10:00:00"}, ["hour"]),
        ({"hour": "10"}, ["hour"]),
        ({"hour": 10}, ["hour is 10, not text"]),
        ({"dimension": ""}, ['dimension is ""']),
        ({"workload": ""}, ['workload is ""']),
        ({"workload": 1}, ["workload is 1, not text"]),
        ({"dimension": ["requests"]}, ["dimension is an array"]),
        ({"dimensions": "requests"}, ['"dimensions" is not a field']),
        ({"metering_record_id": "r-1"}, ["only to confirm"]),
        ({"act": "roll_forward", "metering_record_id": "r-1"}, ["only to confirm"]),
        ({name: value for name, value in CONFIRM.items() if name != "hour"}, ["hour is missing"]),
        ({name: value for name, value in CONFIRM.items() if name != "dimension"}, ["dimension is missing"]),
        ({name: value for name, value in CONFIRM.items() if name != "metering_record_id"}, ["id is missing"]),
        *(({**ACCEPT, "quantity": one}, ["quantity"]) for one in (-1, "1e3", "", None, True, "1.0000001", 10**10)),
        *(({k: v for k, v in ACCEPT.items() if k != name}, [f"{name} is missing"]) for name in ACCEPT if name != "act"),
        ({**ACCEPT, "act": "retry"}, ["quantity is", "only to accept AWS's"]),
        ({**CONFIRM, "quantity": "1"}, ['quantity is "1"', "only to accept AWS's"]),
        ({**ACCEPT, "metering_record_id": "r-1"}, ["only to confirm"]),
        ([], ["an array, not an object"]),
        (b'{"act": "retry", "act": "confirm"}', ['"act" is given twice']),
        (b"act=retry", ["not JSON"]),
        (b"\xff", ["UTF-8"]),
        (b" ", ["not JSON"]),
    ],
)
def test_a_malformed_decision_is_refused_and_nothing_is_done(body: Any, words: list[str]) -> None:
    usage = FakeUsage()
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    detail = refused(client(usage).post("/v1/usage/retry", data=data), 400, "bad_request")
    assert [one for one in words if one not in detail] == []
    assert usage.acts == []


def test_an_illegal_transition_is_409() -> None:
    usage = FakeUsage(broken=IllegalTransition("a record that is settled cannot retry."))
    detail = refused(client(usage).post("/v1/usage/retry"), 409, "illegal_transition")
    assert "a record that is settled cannot retry." in detail


@pytest.mark.parametrize(("status", "reason"), [(404, "workload_not_found"), (409, "ledger_locked")])
def test_a_decision_that_cannot_be_made_here_says_why(status: int, reason: str) -> None:
    usage = FakeUsage(broken=DecisionRefused(status, reason, "Run it there."))
    assert refused(client(usage).post("/v1/usage/retry"), status, reason) == "Nothing was changed: Run it there."


# -- GET /v1/usage/export


def test_a_page_of_the_export_links_to_the_next() -> None:
    pages = {"": (['{"n": 1}', '{"n": 2}'], "a/b&c=2"), "a/b&c=2": (['{"n": 3}'], "")}
    asking = client(FakeUsage(pages=pages))
    first = asking.get("/v1/usage/export")
    assert (first.content_type, first.text) == ("application/x-ndjson", '{"n": 1}\n{"n": 2}\n')
    target, _, relation = first.headers["Link"].partition(">; ")
    assert relation == 'rel="next"'
    last = asking.get(target.removeprefix("<"))
    assert last.text == '{"n": 3}\n'
    assert "Link" not in last.headers


def test_an_empty_export_is_an_empty_page() -> None:
    found = client().get("/v1/usage/export")
    assert (found.status_code, found.data, "Link" in found.headers) == (200, b"", False)


def test_an_unknown_page_of_the_export_is_refused() -> None:
    assert '"x"' in refused(client().get("/v1/usage/export?after=x"), 400, "bad_request")


# -- all of them


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/v1/usage"), ("POST", "/v1/usage/retry"), ("GET", "/v1/usage/export")]
)
def test_a_ledger_error_is_503_with_its_reason(method: str, path: str) -> None:
    found = client(FakeUsage(broken=SidecarError("ledger_full", "Free some space."))).open(path, method=method)
    assert refused(found, 503, "ledger_full") == "Free some space."
    assert found.headers["Retry-After"] == "1"


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("PUT", "/v1/usage", {"GET", "HEAD", "POST"}),
        ("GET", "/v1/usage/retry", {"POST"}),
        ("POST", "/v1/usage/export", {"GET", "HEAD"}),
    ],
)
def test_another_method_is_405_with_the_allowed_methods(method: str, path: str, allow: set[str]) -> None:
    usage = FakeUsage()
    found = client(usage).open(path, method=method)
    refused(found, 405, "method_not_allowed")
    assert {one.strip() for one in found.headers["Allow"].split(",")} == allow
    assert usage.acts == []


def test_flask_never_handles_a_push() -> None:
    usage = FakeUsage()
    with pytest.raises(AssertionError):
        client(usage).post("/v1/usage", data=b'{"dimension": "requests", "quantity": 1}')
    assert usage.kept == []
