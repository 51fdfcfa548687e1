"""A proof for the product: when AWS is asked, who shares an answer, and what is never handed out."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sidecar.api.ports import NoProof, Proof, ProofRefused, ProofSigned
from sidecar.child.process import ChildProcess
from sidecar.entitlement.hold import Hold
from sidecar.gate.loop import RECHECK_SECONDS, EntitlementLoop
from sidecar.gate.messages import CheckResult
from sidecar.gate.proof import BUDGET_SECONDS, PAUSE_SECONDS, Proofs
from sidecar.gate.proof_messages import ProofRequest, ProofResult
from sidecar.quick_dataclasses import dataclass, field, replace
from sidecar.settings import PublicKey
from tests.fakes.child import FakeChild, crashed, silent
from tests.fakes.config import settings
from tests.fakes.keys import public_pem
from tests.fakes.log import Events

from .support import ACCEPTED, CONFIG, DENY, RETRY, Story

NONCE, OTHER = "n" * 43, "o" * 43
TOKEN = "head.claims.signature"
SIGNED = ProofResult(answer="accepted", reason="registered", asked="RegisterUsage", request_id="r-1", token=TOKEN)
THROTTLED = ProofResult(
    answer="retry", reason="throttled", hint="Wait.", code="ThrottlingException", asked="RegisterUsage"
)
NOT_ALLOWED = replace(
    THROTTLED, answer="config", reason="access_denied", hint="Allow it.", code="AccessDeniedException"
)
NOT_ENTITLED = replace(THROTTLED, answer="deny", reason="customer_not_entitled", code="CustomerNotEntitledException")
FORGED = ProofResult(answer="deny", reason="token_nonce", hint="Not AWS.", code="token_nonce", asked="token")


def answering(result: ProofResult, **more: Any) -> FakeChild:
    return FakeChild(lines=[result.as_json().encode()], **more)


@dataclass(kw_only=True)
class Desk:
    """Proofs beside a gate that has read these results."""

    story: Story
    gate: EntitlementLoop
    children: list[FakeChild]
    env: dict[str, str] = field(default_factory=dict)
    requests: list[ProofRequest] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=lambda: {"signed": 0, "refused": 0})

    def __post_init__(self) -> None:
        def start(request: ProofRequest) -> ChildProcess:
            self.requests.append(request)
            return self.children.pop(0)  # type: ignore[return-value]

        self.proofs = Proofs(settings(**self.env), self.gate, self.story.clock, self.counts, start)

    def prove(self, nonce: str = NONCE) -> Proof:
        return self.proofs.prove(nonce)

    def refused(self, nonce: str = NONCE) -> ProofRefused:
        found = self.prove(nonce)
        assert isinstance(found, ProofRefused)
        return found


Open = Callable[..., Desk]


@pytest.fixture
def desk(tmp_path: Path, events: Events) -> Open:
    def make(*children: FakeChild, results: tuple[CheckResult, ...] = (ACCEPTED,), **env: str) -> Desk:
        story = Story(note=tmp_path / "note", settings=env)
        return Desk(story=story, gate=story.after(*results), children=list(children), env=env)

    return make


# -- what AWS is asked


def test_an_open_gate_lets_a_nonce_be_signed_exactly_as_it_is(desk: Open) -> None:
    found = desk(answering(SIGNED))
    assert found.prove("né \0" * 5) == ProofSigned(token=TOKEN)
    (asked,) = found.requests
    assert (asked.nonce, asked.region, asked.public_key.version) == ("né \0" * 5, "us-east-1", 1)
    assert ProofRequest.from_payload({k: v for k, v in json.loads(asked.as_json()).items() if k != "job"}) == asked


def test_the_key_asked_for_is_the_one_that_the_gates_answer_verified_with() -> None:
    keys = tuple(PublicKey(version=version, pem=public_pem()) for version in (2, 1))
    of = replace(settings(), public_keys=keys)
    versions = [ProofRequest.of(of, NONCE, "r", version).public_key.version for version in (1, 2, None)]
    assert versions == [1, 2, 2]


def test_neither_nonce_nor_token_is_in_a_repr_or_a_log_event(desk: Open, events: Events) -> None:
    found = desk(answering(SIGNED))
    signed = found.prove()
    said = [repr(one.__dict__) for one in events.records] + [repr(signed), repr(found.requests), repr(SIGNED)]
    assert not [one for one in said if NONCE in one or TOKEN in one]
    assert events.one("proof.signed")["aws_request_id"] == "r-1"


# -- when AWS is not asked


@pytest.mark.parametrize(
    ("results", "why", "reason"),
    [
        ((), NoProof.UNAVAILABLE, "asking"),
        ((RETRY,), NoProof.UNAVAILABLE, "throttled"),
        ((CONFIG,), NoProof.UNAVAILABLE, "access_denied"),
        ((DENY,), NoProof.DENIED, "customer_not_entitled"),
    ],
    ids=["not asked yet", "retry", "config", "denied"],
)
def test_before_the_gate_has_opened_nobody_asks_aws(
    desk: Open, results: tuple[CheckResult, ...], why: NoProof, reason: str
) -> None:
    found = desk(results=results)
    refused = found.refused()
    assert (refused.why, refused.reason, refused.hint) == (why, reason, found.gate.state.hint)
    assert (refused.retry_after_seconds is None) == (why is NoProof.DENIED)
    assert found.requests == []


def test_a_gate_that_metering_holds_proves_nothing(desk: Open) -> None:
    found = desk(answering(SIGNED))
    found.gate.set_hold(Hold.METERING_OVERDUE)
    assert found.refused().why in (NoProof.DENIED, NoProof.UNAVAILABLE)
    assert found.requests == []


@pytest.mark.parametrize(
    ("check", "needed"),
    [
        ("meter_usage", {"dimensions": "requests"}),
        ("checkout_license", {"product_sku": "prod-a", "licenses": '[{"name": "pro", "take": "check"}]'}),
    ],
)
def test_what_aws_does_not_sign_is_refused_for_good(desk: Open, check: str, needed: dict[str, str]) -> None:
    found = desk(entitlement_check=check, **needed)
    refused = found.refused()
    assert (refused.why, refused.reason) == (NoProof.NOTHING_SIGNED, "nothing_signed")
    assert check in refused.hint
    assert refused.retry_after_seconds is None


# -- one question at a time


def test_another_nonce_within_fifteen_seconds_waits_and_asks_nobody(desk: Open) -> None:
    found = desk(answering(SIGNED), answering(SIGNED))
    found.prove()
    found.story.clock.advance(PAUSE_SECONDS - 0.5)
    refused = found.refused(OTHER)
    assert (refused.why, refused.reason, refused.retry_after_seconds) == (NoProof.TOO_SOON, "asked_just_now", 1)
    assert len(found.requests) == 1


def test_another_nonce_after_fifteen_seconds_is_asked(desk: Open) -> None:
    found = desk(answering(SIGNED), answering(SIGNED))
    found.prove()
    found.story.clock.advance(PAUSE_SECONDS)
    assert isinstance(found.prove(OTHER), ProofSigned)
    assert [one.nonce for one in found.requests] == [NONCE, OTHER]


def test_the_same_nonce_within_fifteen_seconds_has_the_same_answer(desk: Open) -> None:
    found = desk(answering(SIGNED))
    assert found.prove() == found.prove() == ProofSigned(token=TOKEN)
    assert len(found.requests) == 1


def test_the_same_nonce_later_is_a_new_question(desk: Open) -> None:
    found = desk(answering(SIGNED), answering(replace(SIGNED, token="newer")))
    found.prove()
    found.story.clock.advance(PAUSE_SECONDS)
    assert found.prove() == ProofSigned(token="newer")


def test_a_refusal_is_shared_too_and_says_how_long_the_pause_lasts(desk: Open) -> None:
    found = desk(answering(THROTTLED))
    first = found.refused()
    found.story.clock.advance(5)
    again = found.refused()
    assert (first.reason, again.reason) == ("throttled", "throttled")
    assert (first.retry_after_seconds, again.retry_after_seconds) == (15, 10)
    assert len(found.requests) == 1


def test_a_proof_right_after_the_gates_own_question_does_not_wait(desk: Open) -> None:
    found = desk(answering(SIGNED))
    assert found.gate.recheck() == RECHECK_SECONDS
    assert isinstance(found.prove(), ProofSigned)


def test_a_proof_does_not_make_a_recheck_wait(desk: Open) -> None:
    found = desk(answering(SIGNED))
    found.story.clock.advance(RECHECK_SECONDS)
    found.prove()
    assert found.gate.recheck() == 0


# -- equal nonces in flight


@dataclass(kw_only=True)
class InFlight:
    """A question whose answer the test lets go."""

    asked: threading.Event = field(default_factory=threading.Event)
    go: threading.Event = field(default_factory=threading.Event)

    def child(self, result: ProofResult = SIGNED) -> FakeChild:
        def wait() -> None:
            self.asked.set()
            assert self.go.wait(20)

        return answering(result, while_read=wait)


def in_threads(prove: Callable[[], Proof], count: int) -> tuple[list[threading.Thread], list[Proof]]:
    found: list[Proof] = []
    threads = [threading.Thread(target=lambda: found.append(prove()), daemon=True) for _ in range(count)]
    for one in threads:
        one.start()
    return threads, found


def test_equal_nonces_in_flight_share_one_question_and_its_answer(desk: Open) -> None:
    flight = InFlight()
    found = desk(flight.child())
    first, answers = in_threads(found.prove, 1)
    assert flight.asked.wait(20)
    second, shared = in_threads(found.prove, 1)
    question = found.proofs._question
    assert question is not None
    while not question.sharing:
        second[0].join(0.001)
    flight.go.set()
    for one in (*first, *second):
        one.join(20)
    assert answers == shared == [ProofSigned(token=TOKEN)]
    assert len(found.requests) == 1


def test_no_more_than_two_threads_wait_for_one_answer(desk: Open) -> None:
    flight = InFlight()
    found = desk(flight.child())
    threads, _ = in_threads(found.prove, 1)
    assert flight.asked.wait(20)
    more, answers = in_threads(found.prove, 3)
    while len(answers) < 2:
        more[0].join(0.001)
    assert {one.reason for one in answers if isinstance(one, ProofRefused)} == {"asked_just_now"}
    flight.go.set()
    for one in (*threads, *more):
        one.join(20)
    assert answers[2:] == [ProofSigned(token=TOKEN)]


def test_another_nonce_in_flight_waits_however_slow_aws_is(desk: Open) -> None:
    flight = InFlight()
    found = desk(flight.child())
    threads, _ = in_threads(found.prove, 1)
    assert flight.asked.wait(20)
    found.story.clock.advance(PAUSE_SECONDS + 5)
    assert found.refused(OTHER).retry_after_seconds == 1
    flight.go.set()
    threads[0].join(20)


# -- answers that are no proof


@pytest.mark.parametrize(
    ("result", "why"),
    [
        (NOT_ENTITLED, NoProof.DENIED),
        (NOT_ALLOWED, NoProof.UNAVAILABLE),
        (THROTTLED, NoProof.UNAVAILABLE),
        (FORGED, NoProof.UNVERIFIED),
    ],
    ids=["deny", "config", "retry", "forged"],
)
def test_a_refusal_has_the_reason_of_the_error_table(
    desk: Open, events: Events, result: ProofResult, why: NoProof
) -> None:
    found = desk(answering(result))
    refused = found.refused()
    assert (refused.why, refused.reason) == (why, result.reason)
    assert refused.hint.startswith(result.hint)
    assert refused.retry_after_seconds == (None if why is NoProof.DENIED else PAUSE_SECONDS)
    logged = events.one("proof.refused")
    assert logged["reason"] == result.reason
    assert logged["aws_error"] == (None if result is FORGED else result.code)
    assert found.counts == {"signed": 0, "refused": 1}


@pytest.mark.parametrize("result", [NOT_ENTITLED, NOT_ALLOWED, THROTTLED, FORGED], ids=lambda one: one.reason)
def test_whatever_a_proof_answers_the_gate_stays_as_it_is(desk: Open, result: ProofResult) -> None:
    found = desk(answering(result))
    before = (found.gate.state, found.gate.result, found.gate.next_ask_at, found.gate.identity)
    found.prove()
    assert (found.gate.state, found.gate.result, found.gate.next_ask_at, found.gate.identity) == before


@pytest.mark.parametrize(
    ("child", "reason"),
    [
        (crashed(), "asking_failed"),
        (silent(), "asking_timed_out"),
        (FakeChild(), "asking_failed"),
        (FakeChild(lines=[b'{"answer": "accepted", "token": ""}']), "asking_failed"),
        (FakeChild(lines=[b'{"answer": "deny", "token": "t"}']), "asking_failed"),
        (FakeChild(lines=[b'{"answer": "accepted", "token": ["t"]}']), "asking_failed"),
    ],
    ids=[
        "crashed",
        "silent",
        "ended",
        "accepted without a token",
        "a token that is refused",
        "a token that is no text",
    ],
)
def test_a_child_without_a_usable_answer_proves_nothing_and_is_closed(
    desk: Open, child: FakeChild, reason: str
) -> None:
    refused = desk(child).refused()
    assert (refused.why, refused.reason) == (NoProof.UNAVAILABLE, reason)
    assert child.closed


def test_where_no_child_can_be_started_the_next_question_still_can(desk: Open, events: Events) -> None:
    found = desk()  # `pop` from an empty list raises
    assert found.refused().reason == "asking_failed"
    found.children.append(answering(SIGNED))
    found.story.clock.advance(PAUSE_SECONDS)
    assert isinstance(found.prove(), ProofSigned)


def test_the_child_has_half_a_minute(desk: Open) -> None:
    child = answering(SIGNED)
    desk(child).prove()
    assert len(child.deadlines) == 1
    assert BUDGET_SECONDS == 30


def test_a_child_that_starts_while_the_process_stops_is_killed(desk: Open) -> None:
    child = FakeChild()
    found = desk(child)
    found.proofs.stop()
    refused = found.refused()
    assert (refused.why, refused.reason) == (NoProof.UNAVAILABLE, "shutting_down")
    assert "memory" not in refused.hint
    assert child.killed
    assert child.closed


def test_stopping_kills_the_child_that_asks(desk: Open) -> None:
    flight = InFlight()
    child = flight.child()
    found = desk(child)
    threads, _ = in_threads(found.prove, 1)
    assert flight.asked.wait(20)
    found.proofs.stop()
    assert child.killed
    flight.go.set()
    threads[0].join(20)
