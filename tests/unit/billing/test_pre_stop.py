"""The end of a workload is announced once, and the final flush begins in time without SIGTERM."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from sidecar.billing.pre_stop import PreStop, flush_budget_seconds
from tests.fakes.config import settings
from tests.fakes.log import Events, logged_events


@pytest.fixture
def events() -> Iterator[Events]:
    with logged_events() as found:
        yield found


class Scene:
    """A workload that can be told to end; `timers` are those that were started."""

    def __init__(self, **given: str) -> None:
        self.stops = 0
        self.timers: list[tuple[float, Callable[[], None]]] = []
        self.pre_stop = PreStop(
            settings(**given),
            self.stop,
            lambda: self.stops > 0,
            lambda seconds, run: self.timers.append((seconds, run)),
        )

    def stop(self) -> None:
        self.stops += 1


def test_the_last_flush_begins_its_own_time_before_the_grace_is_over(events: Events) -> None:
    scene = Scene(grace_seconds="45", flush_seconds="10")
    assert scene.pre_stop.announce()
    ((seconds, run),) = scene.timers
    assert (seconds, scene.stops) == (35, 0)
    run()
    assert scene.stops == 1
    assert "SIGTERM" in str(events.one("shutdown.forced")["hint"])


def test_after_sigterm_the_grace_forces_nothing(events: Events) -> None:
    scene = Scene(grace_seconds="45")
    scene.pre_stop.announce()
    scene.stop()
    scene.timers[0][1]()
    assert scene.stops == 1
    assert events.of("shutdown.forced") == []


def test_without_a_known_grace_only_sigterm_stops() -> None:
    scene = Scene()
    assert scene.pre_stop.announce()
    assert scene.timers == []


def test_the_end_is_announced_once_and_not_after_it_began() -> None:
    scene = Scene(grace_seconds="45")
    assert [scene.pre_stop.announce(), scene.pre_stop.announce()] == [True, False]
    assert len(scene.timers) == 1
    late = Scene(grace_seconds="45")
    late.stop()
    assert not late.pre_stop.announce()
    assert late.timers == []


@pytest.mark.parametrize(
    ("given", "seconds"),
    [({}, 10), ({"grace_seconds": "60"}, 10), ({"grace_seconds": "4"}, 4), ({"flush_seconds": "50"}, 50)],
)
def test_the_last_flush_takes_no_longer_than_the_grace(given: dict[str, str], seconds: int) -> None:
    assert flush_budget_seconds(settings(**given)) == seconds
    scene = Scene(**given)
    scene.pre_stop.announce()
    assert all(started == int(given["grace_seconds"]) - seconds for started, _ in scene.timers)
