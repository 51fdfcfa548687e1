"""`POST /v1/usage`: each refusal as the contract has it, each reply once, after the disk."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sidecar.api import problem, push
from sidecar.api.reply import API, PROBE, Reply
from sidecar.api.router import Router
from sidecar.metering.events import REASONS, PushAccepted, PushRefused
from tests.fakes.usage import FakeUsage
from tests.fakes.view import FakeView

ONE = b'{"dimension": "requests", "quantity": 1}'


def pushed(usage: FakeUsage, body: bytes = ONE) -> list[Reply]:
    """Return the replies so far."""
    replies: list[Reply] = []
    push.handle(usage, body, replies.append)
    return replies


def refused(reply: Reply, status: int, reason: str) -> dict[str, Any]:
    assert (reply.status, reply.content_type) == (status, "application/problem+json")
    found = json.loads(reply.body)
    assert (found["status"], found["reason"], found["title"]) == (status, reason, problem.TITLES[status])
    assert isinstance(found, dict)
    return found


def test_accepted_events_are_counted() -> None:
    usage = FakeUsage()
    (reply,) = pushed(usage, b"[" + ONE + b"," + ONE + b"]")
    assert reply == Reply(status=200, body=b'{"accepted": 2, "duplicates": 0}')
    assert [event.dimension for event in usage.kept] == ["requests", "requests"]


def test_duplicates_are_counted_apart() -> None:
    (reply,) = pushed(FakeUsage(result=PushAccepted(accepted=3, duplicates=4)))
    assert json.loads(reply.body) == {"accepted": 3, "duplicates": 4}


def test_there_is_no_reply_before_the_events_are_on_disk() -> None:
    usage = FakeUsage(later=True)
    replies = pushed(usage)
    assert replies == []
    usage.pay()
    assert [one.status for one in replies] == [200]


@pytest.mark.parametrize(
    ("body", "status", "reason", "index"),
    [
        (b"[" + ONE + b"," + ONE[:-1] + b', "x": 1}]', 400, "field_unknown", 1),
        (b'{"dimension": "other", "quantity": 1}', 404, "dimension_unknown", 0),
        (b'{"dimension": "requests", "quantity": -1}', 422, "quantity_out_of_range", 0),
        (b"[" + b",".join([ONE] * 1001) + b"]", 413, "too_many_events", None),
        (b" " * (1 << 20) + ONE, 413, "body_too_large", None),
        (b"[]", 400, "no_events", None),
        (b"quantity=1", 400, "body_malformed", None),
        (b"", 400, "body_malformed", None),
    ],
)
def test_an_invalid_body_is_refused_at_once_and_nothing_is_stored(
    body: bytes, status: int, reason: str, index: int | None
) -> None:
    usage = FakeUsage(later=True)
    (reply,) = pushed(usage, body)
    found = refused(reply, status, reason)
    assert found["detail"]
    assert found.get("index") == index
    assert ("index" in found) == (index is not None)
    assert (usage.kept, usage.owed) == ([], [])


def test_of_several_faults_400_comes_before_404_before_422() -> None:
    low, unknown, odd = b'{"dimension": "requests", "quantity": -1}', b'{"dimension": "x", "quantity": 1}', b"{}"
    for body, status in ((low + b"," + unknown + b"," + odd, 400), (low + b"," + unknown, 404), (low, 422)):
        (reply,) = pushed(FakeUsage(), b"[" + body + b"]")
        assert reply.status == status


@pytest.mark.parametrize(("status", "reason"), [(409, "id_conflict"), (422, "hour_sealed"), (503, "ledger_full")])
def test_the_ledger_may_refuse_a_push(status: int, reason: str) -> None:
    (reply,) = pushed(FakeUsage(result=PushRefused(status=status, reason=reason, detail="Why.", index=0)))
    assert refused(reply, status, reason)["index"] == 0
    assert reply.headers == ((("Retry-After", "1"),) if status == 503 else ())


@pytest.mark.parametrize("status", sorted({*REASONS.values(), 409, 503}))
def test_every_status_of_a_refusal_has_a_problem_document(status: int) -> None:
    reply = push.reply(PushRefused(status=status, reason="some_reason", detail="Why."))
    assert "index" not in refused(reply, status, "some_reason")


# -- which requests are pushes


def test_a_push_on_the_api_listener_is_deferred() -> None:
    usage = FakeUsage()
    handler = Router(FakeView(usage=usage)).deferred_handler(API, "POST", "/v1/usage")
    assert handler is not None
    replies: list[Reply] = []
    handler(ONE, replies.append)
    assert ([one.status for one in replies], len(usage.kept)) == ([200], 1)


@pytest.mark.parametrize(
    ("listener", "method", "path"),
    [
        (PROBE, "POST", "/v1/usage"),
        ("other", "POST", "/v1/usage"),
        (API, "GET", "/v1/usage"),
        (API, "HEAD", "/v1/usage"),
        (API, "PUT", "/v1/usage"),
        (API, "OPTIONS", "/v1/usage"),
        (API, "post", "/v1/usage"),
        (API, "POST", "/v1/usage/"),
        (API, "POST", "//v1/usage"),
        (API, "POST", "/v1/usage/retry"),
        (API, "POST", "/v1/recheck"),
        (API, "POST", "/entitled"),
    ],
)
def test_no_other_request_is_deferred(listener: str, method: str, path: str) -> None:
    assert Router(FakeView()).deferred_handler(listener, method, path) is None
