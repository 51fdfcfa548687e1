"""A followed clock counts on from an emulator's last answer, and does not ask for each reading."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from sidecar.clock import SystemClock
from sidecar.remote_clock import NOW_MAX, ROUTE, FollowedClock, answering_clock, clock_for
from tests.fakes.clock import NOON, FakeClock
from tests.fakes.peer import Peer, http_answer
from tests.ports import free_port

MIDNIGHT = datetime(2026, 2, 1, tzinfo=UTC)


def says(now: object = MIDNIGHT.timestamp(), speed: object = 60.0) -> bytes:
    return http_answer(200, {"now": now, "speed": speed})


def test_before_any_answer_it_is_this_machines_time() -> None:
    own = FakeClock()
    clock = FollowedClock(f"http://127.0.0.1:{free_port()}", own)
    assert clock.now() == NOON
    assert not clock.refresh()
    own.advance(5)
    assert clock.now() == NOON + timedelta(seconds=5)


def test_time_runs_on_from_the_last_answer_at_its_speed() -> None:
    own = FakeClock()
    with Peer([says(speed=60.0)]) as peer:
        clock = FollowedClock(peer.url, own)
        assert clock.refresh()
    assert clock.now() == MIDNIGHT
    own.advance(2)
    assert clock.now() == MIDNIGHT + timedelta(minutes=2)


def test_with_speed_zero_it_stands() -> None:
    own = FakeClock()
    with Peer([says(speed=0)]) as peer:
        clock = FollowedClock(peer.url, own)
        clock.refresh()
    own.advance(3600)
    assert clock.now() == MIDNIGHT


def test_spans_are_real_at_any_speed() -> None:
    own = FakeClock()
    with Peer([says(speed=1000)]) as peer:
        clock = FollowedClock(peer.url, own)
        clock.refresh()
    before = clock.monotonic()
    own.advance(2)
    assert clock.monotonic() - before == 2


def test_a_clock_set_back_shows_with_the_next_answer() -> None:
    back = MIDNIGHT - timedelta(days=1)
    with Peer([says(), says(now=back.timestamp())]) as peer:
        clock = FollowedClock(peer.url, FakeClock())
        clock.refresh()
        assert clock.now() == MIDNIGHT
        assert clock.refresh()
    assert clock.now() == back


@pytest.mark.parametrize(
    "answer",
    [
        http_answer(500, {"now": 1.0, "speed": 1.0}),
        http_answer(302, b"", Location="/elsewhere"),
        http_answer(200, b"<html>Sign in</html>"),
        http_answer(200, b"[]"),
        http_answer(200, b"[" * 100_000),
        http_answer(200, {"now": 1.0}),
        says(now="2026-01-01T00:00:00Z"),
        says(now=True),
        says(now=-1),
        says(now=NOW_MAX * 2),
        says(speed=-1),
        says(speed=1e9),
        http_answer(200, b'{"now": NaN, "speed": 1}'),
        http_answer(200, b'{"now": Infinity, "speed": 1}'),
        http_answer(200, b'{"now": ' + b"9" * 400 + b', "speed": 1}'),
        b"",
    ],
)
def test_what_is_no_clock_leaves_the_last_answer_counting(answer: bytes) -> None:
    own = FakeClock()
    with Peer([says(speed=1), answer]) as peer:
        clock = FollowedClock(peer.url, own)
        assert clock.refresh()
        own.advance(7)
        assert not clock.refresh()
    assert clock.now() == MIDNIGHT + timedelta(seconds=7)


def test_it_stops_at_the_end_of_what_can_be_told() -> None:
    own = FakeClock()
    with Peer([says(speed=100_000)]) as peer:
        clock = FollowedClock(peer.url, own)
        clock.refresh()
    own.advance(1e12 / 1e5)
    assert clock.now().year == 2200


@pytest.mark.parametrize("path", ["", "/"])
def test_the_emulators_address_is_enough(path: str) -> None:
    with Peer([says()]) as peer:
        assert FollowedClock(peer.url + path).refresh()
    assert [(one.method, one.target) for one in peer.requests] == [("GET", ROUTE)]


def test_a_path_is_asked_as_it_is() -> None:
    with Peer([says()]) as peer:
        assert FollowedClock(f"{peer.url}/aws/clock").refresh()
    assert peer.requests[0].target == "/aws/clock"


def test_no_proxy_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    with Peer([says()]) as peer:
        assert FollowedClock(peer.url).refresh()


def test_without_a_setting_it_is_this_machines_clock() -> None:
    assert isinstance(clock_for(None), SystemClock)


def test_with_one_it_is_followed_from_the_start() -> None:
    with Peer([says(speed=0)]) as peer:
        assert clock_for(peer.url).now() == MIDNIGHT


def test_a_real_emulator_is_followed() -> None:
    from sidecar.emulator import Emulator

    with Emulator(clock_start=MIDNIGHT, clock_speed=0) as aws:
        assert clock_for(aws.url).now() == MIDNIGHT


def test_an_emulator_that_starts_late_is_waited_for() -> None:
    with Peer([http_answer(503, {}), http_answer(503, {}), says(speed=0)]) as peer:
        pauses: list[float] = []
        clock = answering_clock(peer.url, 30, pauses.append)
        assert clock.now() == MIDNIGHT
    assert len(pauses) == 2


def test_an_emulator_that_stays_away_is_named() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(TimeoutError, match=f"{url} gave no time within 2 s"):
        answering_clock(url, 2, lambda _seconds: None)


def test_nobody_waits_for_this_machines_clock() -> None:
    assert isinstance(answering_clock(None, 0), SystemClock)
