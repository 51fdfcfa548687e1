"""Each script and each slow test runs in a step of the gate, `.ci/run`, which waits for each step beside others."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parent.parent
TESTS: Final = ROOT / "tests"
SLOW: Final = re.compile(r"mark\.slow\b")
BESIDE: Final = re.compile(r"^(?:\w+=\S+ )?beside (\w+) ", re.MULTILINE)
AWAIT: Final = re.compile(r"^await (\w+)$", re.MULTILINE)
CALLED: Final = re.compile(r"^[^#\n]*\.ci/([\w-]+)", re.MULTILINE)
STEP: Final = re.compile(r"pytest\b.* -m slow (.+)")


def step_paths(scripts: Iterable[str]) -> list[str]:
    """Return the files and directories whose slow tests some step runs, as globs below the repository."""
    steps = [step for script in scripts for step in STEP.findall(script)]
    return [word for step in steps for word in step.partition(" --")[0].split() if word.startswith("tests/")]


def left_out(paths: Iterable[str]) -> set[str]:
    """Return the files with slow tests that are under none of these."""
    run = {one for path in paths for one in ROOT.glob(path)}
    marked = {file for file in TESTS.rglob("test_*.py") if SLOW.search(file.read_text())}
    return {str(file.relative_to(ROOT)) for file in marked if run.isdisjoint((file, *file.parents))}


def not_awaited(script: str) -> set[str]:
    """Return the steps that go on beside others and whose end nothing after them waits for."""
    awaited = {one[1]: one.start() for one in AWAIT.finditer(script)}
    return {one[1] for one in BESIDE.finditer(script) if awaited.get(one[1], -1) < one.start()}


def not_called(scripts: Mapping[str, str]) -> set[str]:
    """Return the scripts that `run` does not call, itself or by way of others. `scripts`: name → text."""
    reached, more = set[str](), {"run"}
    while more:
        reached |= more
        more = {name for one in more for name in CALLED.findall(scripts[one]) if name in scripts} - reached
    return scripts.keys() - reached


def test_each_script_runs_in_a_step_of_the_gate() -> None:
    assert not_called({file.name: file.read_text() for file in (ROOT / ".ci").iterdir()}) == set()


def test_a_script_that_no_step_runs_is_noticed() -> None:
    scripts = {"run": ".ci/a x", "a": "nice .ci/b", "b": "#", "c": "# Usage: .ci/c; see .ci/run", "d": ".ci/c"}
    assert not_called(scripts) == {"c", "d"}


def test_each_slow_test_runs_in_a_step_of_the_gate() -> None:
    called = ("run", "api", "fuzz", "saas")
    scripts = [(ROOT / ".ci" / name).read_text() for name in called]
    assert all(f".ci/{name} " in scripts[0] for name in called[1:])
    assert left_out(step_paths(scripts)) == set()


def test_a_slow_test_that_no_step_runs_is_noticed() -> None:
    missing = left_out(
        step_paths(["pytest -q -m slow tests/unit tests/integration tests/acceptance --ignore tests/api"])
    )
    assert {"tests/test_style.py", "tests/test_threat_model.py", "tests/api/test_schemathesis.py"} <= missing
    assert not any(one.startswith("tests/acceptance") for one in missing)


def test_the_gate_waits_for_each_step_that_goes_on_beside_others() -> None:
    script = (ROOT / ".ci" / "run").read_text()
    assert {"containers", "python313", "slow"} <= set(BESIDE.findall(script))
    assert not_awaited(script) == set()


@pytest.mark.parametrize("script", ["A=1 beside one x\n", "await one\nbeside one x\n", "beside one x\nawait two\n"])
def test_a_step_that_the_gate_does_not_wait_for_is_noticed(script: str) -> None:
    assert not_awaited(script) == {"one"}
