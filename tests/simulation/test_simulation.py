"""The simulation holds, does the same again, shortens what fails, and finds each mistake of the list."""

from __future__ import annotations

import json

import pytest

from tests.simulation import mutations
from tests.simulation.__main__ import main
from tests.simulation.run import run, shortened
from tests.simulation.shrink import shrink
from tests.simulation.steps import WEIGHTS, Step, draw

UNSENT = "a record is sent before disk has that it is"


@pytest.mark.parametrize("seed", [1, 5, 12])
def test_some_lives_hold(seed: int) -> None:
    found = run(seed, 0.1)
    assert found.fault == ""
    assert found.counts["calms"] > 0, "it was never looked whether everything is settled"


def test_a_seed_does_the_same_again() -> None:
    first, second = run(2, 0.03), run(2, 0.03)
    assert (first.steps, first.counts, first.years) == (second.steps, second.counts, second.years)
    assert first.fault == ""
    assert first.counts["pushes"] > 0


def test_a_mistake_is_shortened_to_steps_that_find_it_again() -> None:
    with mutations.applied(UNSENT):
        found = mutations.caught(UNSENT)
        assert found is not None
        short = shortened(found)
        assert short.fault.startswith("sent before it was sealed")
        assert len(short.steps) <= min(len(found.steps), 4)
        assert run(short.seed, steps=short.steps).fault == short.fault
    assert run(short.seed, steps=short.steps).fault == ""


def test_shrinking_keeps_what_is_needed_and_nothing_else() -> None:
    assert shrink(range(40), lambda items: 7 in items and 31 in items) == [7, 31]


def test_steps_are_read_as_they_are_printed() -> None:
    steps = [step for step, _ in zip(draw(3), range(50), strict=False)]
    assert [Step.parse(str(step)) for step in steps] == steps
    with pytest.raises(ValueError, match="none of push, wait"):
        Step.parse("nap:1")


def test_the_command_prints_figures_for_machines(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seed", "1", "--steps", "push:1,wait:2", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["failed"], found["steps"], found["seeds"]) == ([], 2, "1-1")


def test_the_command_fails_and_says_how_to_see_it_again(capsys: pytest.CaptureFixture[str]) -> None:
    with mutations.applied(UNSENT):
        found = mutations.caught(UNSENT)
        assert found is not None
        assert main(["--seed", str(found.seed), "--steps", ",".join(map(str, found.steps))]) == 1
    assert f"again: python -m tests.simulation --seed {found.seed} --steps " in capsys.readouterr().out


def test_a_failing_seed_is_printed_at_once_and_runs_again_alone(capsys: pytest.CaptureFixture[str]) -> None:
    with mutations.applied(UNSENT):
        assert main(["--seed", "1", "--years", "0.02"]) == 1
        said = capsys.readouterr().err
        again = said.partition("again: python -m tests.simulation ")[2].split("\n")[0]
        assert said.startswith("\nseed 1 does not hold: sent before it was sealed")
        assert main(again.split()) == 1
        assert capsys.readouterr().err == said


def test_there_are_at_least_ten_mistakes_and_twenty_kinds_of_steps() -> None:
    assert len(mutations.MUTATIONS) >= 10
    assert len(WEIGHTS) >= 20


@pytest.mark.slow
@pytest.mark.parametrize("name", mutations.MUTATIONS)
def test_each_mistake_is_caught(name: str) -> None:
    assert mutations.caught(name) is not None
