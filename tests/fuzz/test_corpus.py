"""Each kept input is answered as documented, and a search would notice what is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from . import http_target, token_target
from .__main__ import CORPUS, NAMES
from .targets import TARGETS
from .watch import Growth, Slow, Watched

INPUTS_MAX = 50


def inputs(name: str) -> list[Path]:
    return sorted((CORPUS / name).iterdir())


def test_every_target_can_be_run_and_has_a_corpus() -> None:
    assert tuple(TARGETS) == NAMES
    assert {one.name for one in CORPUS.iterdir()} == set(NAMES)
    assert all(0 < len(inputs(name)) <= INPUTS_MAX for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_each_kept_input_is_answered(name: str) -> None:
    watched = Watched(TARGETS[name])
    for file in inputs(name):
        watched(file.read_bytes())


def test_a_kept_token_is_accepted_by_all_three() -> None:
    good = b'S{"alg":"PS256"}\n{"productCode":"prod1","publicKeyVersion":1,"nonce":"n","iat":@NOW@}\n'
    token_target.run(good)
    from datetime import UTC, datetime

    from sidecar import proof

    now = datetime.now(UTC)
    proof.check(token_target.token_of(good, now), token_target.key().public_key(), token_target.EXPECTED, now)


def test_what_another_parser_refuses_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_target, "other", lambda data: "no")
    with pytest.raises(http_target.Disagreement, match="h11"):
        http_target.run(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")


def test_a_slow_input_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter((0.0, 1.5))
    monkeypatch.setattr("time.thread_time", lambda: next(ticks))
    with pytest.raises(Slow, match=r"1\.5 s for 3 bytes"):
        Watched(lambda data: None)(b"abc")


def test_what_stays_alive_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.fuzz.watch.COUNT_EVERY", 1)
    monkeypatch.setattr("tests.fuzz.watch.GROWTH_MAX", 10)
    left: list[list[int]] = []
    watched = Watched(lambda data: left.extend([[]] for _ in range(20)), live=lambda: len(left))
    for _ in range(3):
        watched(b"")
    with pytest.raises(Growth):
        watched(b"")
