"""Attempts are counted by outcome, and the last success is remembered."""

from __future__ import annotations

from datetime import timedelta

from sidecar.attempts import AttemptOutcome, Attempts
from tests.fakes.clock import NOON


def test_every_outcome_is_named_before_anything_happened() -> None:
    assert Attempts().by_outcome() == {"accepted": 0, "denied": 0, "throttled": 0, "refused": 0, "failed": 0}
    assert Attempts().accepted_at is None


def test_only_what_aws_accepted_is_a_success() -> None:
    attempts = Attempts()
    attempts.add(AttemptOutcome.ACCEPTED, NOON)
    for one in AttemptOutcome:
        if one is not AttemptOutcome.ACCEPTED:
            attempts.add(one, NOON + timedelta(hours=1))
    assert attempts.accepted_at == NOON
    assert set(attempts.by_outcome().values()) == {1}
