"""Scripts, parsed before they are played."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from sidecar.emulator.keys import SigningKeys
from sidecar.emulator.refusals import BadCommand
from sidecar.emulator.state import EmulatorState
from sidecar.emulator.timeline import load, play, read_steps


class Instantly(threading.Event):
    """Waiting moves a clock on, and takes no time."""

    def __init__(self) -> None:
        super().__init__()
        self.elapsed = 0.0

    def wait(self, timeout: float | None = None) -> bool:
        self.elapsed += timeout or 0.0
        return self.is_set()

    def monotonic(self) -> float:
        return self.elapsed

    def now(self) -> datetime:
        return datetime.fromtimestamp(1_800_000_000 + self.elapsed, UTC)


@pytest.fixture
def emulated(keys: SigningKeys) -> EmulatorState:
    return EmulatorState(keys=keys)


def test_steps_are_played_in_the_order_they_are_due_and_told(keys: SigningKeys) -> None:
    time, told = Instantly(), []
    emulated = EmulatorState(keys=keys, clock=time, on_event=told.append)
    script: list[object] = [
        {"after": 20, "do": "subscribe"},
        {"after": 5.5, "do": "unsubscribe", "product": "demo-product"},
    ]
    play(emulated, read_steps(emulated, script), time)
    assert [(event["do"], event["at"]) for event in told] == [
        ("unsubscribe", "2027-01-15T08:00:05.500Z"),
        ("subscribe", "2027-01-15T08:00:20.000Z"),
    ]
    assert emulated.subscriptions == {("123456789012", "demo-product")}


def test_a_stopped_emulator_plays_no_further(keys: SigningKeys) -> None:
    time, told = Instantly(), []
    emulated = EmulatorState(keys=keys, clock=time, on_event=told.append)
    time.set()
    play(emulated, read_steps(emulated, [{"after": 1, "do": "unsubscribe"}]), time)
    assert told == []


@pytest.mark.parametrize(
    ("step", "names"),
    [
        ("subscribe", "step 2: must read"),
        ({"do": "subscribe"}, "step 2: after"),
        ({"after": -1, "do": "subscribe"}, "step 2: after"),
        ({"after": 1}, "step 2: do: is required"),
        ({"after": 1, "do": "explode"}, "step 2: do: explode is none of"),
        ({"after": 1, "do": "subscribe", "to": "x"}, "step 2: to: unknown field"),
        ({"after": 1, "do": "subscribe", "product": "other"}, "step 2: product"),
        ({"after": 1, "do": "faults", "operation": "*"}, "step 2: kind"),
        ({"after": 1, "do": "callers"}, "step 2: access_key"),
        ({"after": 1, "do": "behaviour", "claims": "snake"}, "step 2: claims"),
        ({"after": 1, "do": "rotate", "x": 1}, "step 2: x"),
        ({"after": 1, "do": "clock"}, "step 2: now"),
        ({"after": 1, "do": "clock", "now": "soon"}, "step 2: now"),
        ({"after": 1, "do": "clock", "speed": -2}, "step 2: speed"),
    ],
)
def test_a_bad_step_is_named_before_anything_is_played(emulated: EmulatorState, step: Any, names: str) -> None:
    with pytest.raises(BadCommand, match=names):
        read_steps(emulated, [{"after": 0, "do": "unsubscribe"}, step])
    assert emulated.subscriptions


@pytest.mark.parametrize("text", ["- {after: 1, do: rotate}\n", '[{"after": 1, "do": "rotate"}]'])
def test_a_script_is_yaml_or_json(tmp_path: Path, text: str) -> None:
    (tmp_path / "script").write_text(text)
    assert load(tmp_path / "script") == [{"after": 1, "do": "rotate"}]


@pytest.mark.parametrize(("text", "names"), [("{after: 1}", "a list of steps"), ("[", "neither YAML")])
def test_another_file_is_no_script(tmp_path: Path, text: str, names: str) -> None:
    (tmp_path / "script").write_text(text)
    with pytest.raises(BadCommand, match=names):
        load(tmp_path / "script")


def test_a_script_counts_real_seconds_however_fast_the_clock_runs(keys: SigningKeys) -> None:
    time, told = Instantly(), []
    emulated = EmulatorState(keys=keys, clock=time, clock_speed=3600, on_event=told.append)
    play(emulated, read_steps(emulated, [{"after": 2, "do": "clock", "speed": 0}, {"after": 9, "do": "rotate"}]), time)
    assert [event["at"] for event in told] == ["2027-01-15T10:00:00.000Z"] * 2


@pytest.mark.parametrize("written", ["2030-01-01T00:00:00Z", '"2030-01-01T00:00:00Z"', "1893456000"])
def test_an_instant_may_be_written_as_yaml_knows_it(keys: SigningKeys, tmp_path: Path, written: str) -> None:
    (tmp_path / "script").write_text(f"- {{after: 0, do: clock, now: {written}, speed: 0}}\n")
    time = Instantly()
    emulated = EmulatorState(keys=keys, clock=time)
    play(emulated, read_steps(emulated, load(tmp_path / "script")), time)
    assert emulated.clock.now() == datetime(2030, 1, 1, tzinfo=UTC)


def test_a_missing_script_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadCommand, match="cannot be read"):
        load(tmp_path / "absent.yaml")
