"""The admin routes over HTTP."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any

import jwt
import pytest

from sidecar.emulator import Emulator

from .conftest import PRODUCT, Aws, code, eventually, register


def admin(aws: Emulator, route: str, body: Any = None, *, method: str | None = None) -> tuple[int, Any]:
    data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(f"{aws.url}/_emulator/{route}", data=data, method=method)
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def post(aws: Emulator, verb: str, body: Any = None) -> tuple[int, Any]:
    return admin(aws, verb, body, method="POST")


def test_unsubscribing_and_subscribing_change_the_next_answer(aws: Emulator) -> None:
    assert post(aws, "unsubscribe") == (200, {"subscriptions": []})
    assert code(lambda: register(aws.url)) == "CustomerNotEntitledException"
    status, answer = post(aws, "subscribe", {"product": PRODUCT})
    assert (status, answer) == (200, {"subscriptions": [{"account": "123456789012", "product": PRODUCT}]})
    assert code(lambda: register(aws.url)) == "ok"


def test_faults_are_ordered_seen_and_cleared(aws: Emulator) -> None:
    status, left = post(aws, "faults", {"operation": "*", "kind": "ThrottlingException", "times": 3})
    assert status == 200
    assert code(lambda: register(aws.url)) == "ThrottlingException"
    assert admin(aws, "state")[1]["faults"] == [{**left["faults"][0], "times": 2}]
    assert admin(aws, "faults", method="DELETE") == (200, {"faults": []})
    assert code(lambda: register(aws.url)) == "ok"


def test_a_caller_is_defined_and_then_amended(aws: Emulator) -> None:
    post(aws, "callers", {"access_key": "k", "workload": "task-1", "platform": "ecs"})
    status, caller = post(aws, "callers", {"access_key": "k", "role": "app"})
    assert status == 200
    assert caller == {
        "access_key": "k",
        "workload": "task-1",
        "account": "123456789012",
        "platform": "ecs",
        "region": "us-east-1",
        "allowed": True,
        "role": "app",
    }
    register(aws.url, workload="k")
    assert [each["workload"] for each in admin(aws, "state")[1]["registrations"]] == ["task-1"]


def test_behaviour_is_turned_knob_by_knob(aws: Emulator) -> None:
    post(aws, "behaviour", {"claims": "pascal"})
    status, knobs = post(aws, "behaviour", {"iat": False})
    assert (status, knobs["claims"], knobs["iat"]) == (200, "pascal", False)
    claims = jwt.decode(register(aws.url)["Signature"], aws.public_key(), algorithms=["PS256"])
    assert set(claims) == {"ProductCode", "Nonce", "PublicKeyVersion"}


def test_public_keys_are_listed_and_rotated(emulator: Aws) -> None:
    aws = emulator(key_versions=(3,))
    assert post(aws, "rotate") == (200, {"public_key_version": 4})
    assert admin(aws, "public-keys") == (
        200,
        [
            {"version": 3, "key": aws.public_key(version=3)},
            {"version": 4, "key": aws.public_key()},
        ],
    )
    assert admin(aws, "state")[1]["behaviour"]["superseded"] == [3]


def test_state_shows_no_private_key(aws: Emulator) -> None:
    register(aws.url)
    assert "PRIVATE" not in json.dumps([admin(aws, "state"), admin(aws, "public-keys")])


@pytest.mark.parametrize(
    ("verb", "body", "field"),
    [
        ("subscribe", {"product": "other"}, "product"),
        ("subscribe", {"account": 12}, "account"),
        ("unsubscribe", {"acount": "1"}, "acount"),
        ("faults", {"kind": "hang"}, "operation"),
        ("faults", {"operation": "*", "kind": "hang", "times": 0}, "times"),
        ("callers", {"workload": "pod"}, "access_key"),
        ("callers", {"access_key": "k", "platform": "ec2"}, "platform"),
        ("callers", {"access_key": "k", "allowed": "no"}, "allowed"),
        ("behaviour", {"claims": "snake"}, "claims"),
        ("behaviour", {"no_iat": True}, "no_iat"),
        ("rotate", {"version": 3}, "version"),
        ("expire-keys", {"all": True}, "all"),
        ("subscribe", b"{", "body"),
        ("subscribe", [], "body"),
    ],
)
def test_a_bad_order_is_told_its_field_and_changes_nothing(aws: Emulator, verb: str, body: Any, field: str) -> None:
    before = admin(aws, "state")
    status, answer = post(aws, verb, body)
    assert status == 400
    assert answer["error"].startswith(f"{field}: ")
    assert admin(aws, "state") == before


def test_an_order_nobody_knows_is_not_found(aws: Emulator) -> None:
    status, answer = post(aws, "explode")
    assert (status, "subscribe" in answer["error"]) == (404, True)


def test_the_first_page_says_what_this_is(aws: Emulator) -> None:
    with urllib.request.urlopen(aws.url) as page:
        assert "local AWS Marketplace" in page.read().decode()


def test_the_list_of_calls_keeps_the_last_thousand(aws: Emulator) -> None:
    for number in range(1001):
        aws.note_call("RegisterUsage", f"pod-{number}", "ok")
    calls = admin(aws, "calls")[1]
    assert (len(calls), calls[0]["workload"], calls[-1]["workload"]) == (1000, "pod-1", "pod-1000")


def test_a_timeline_plays_by_itself(emulator: Aws) -> None:
    told: list[Any] = []
    aws = emulator(
        timeline=[
            {"after": 0, "do": "unsubscribe"},
            {"after": 0.05, "do": "behaviour", "reask": "sticky"},
        ],
        on_event=told.append,
    )
    eventually(lambda: len(told) == 2)
    assert [event["do"] for event in told] == ["unsubscribe", "behaviour"]
    assert code(lambda: register(aws.url)) == "CustomerNotEntitledException"
    aws.subscribe()
    assert code(lambda: register(aws.url)) == "CustomerNotEntitledException"


def test_an_emulator_stops_in_the_middle_of_its_timeline(emulator: Aws) -> None:
    aws = emulator(timeline=[{"after": 3600, "do": "unsubscribe"}])
    aws.stop()
    assert aws.subscriptions
