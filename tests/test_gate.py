"""Each slow test runs in some step of the gate, `.ci/run`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parent.parent
TESTS: Final = ROOT / "tests"
SLOW: Final = re.compile(r"mark\.slow\b")
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


def test_each_slow_test_runs_in_a_step_of_the_gate() -> None:
    called = ("run", "api", "saas")
    scripts = [(ROOT / ".ci" / name).read_text() for name in called]
    assert all(f".ci/{name} " in scripts[0] for name in called[1:])
    assert left_out(step_paths(scripts)) == set()


def test_a_slow_test_that_no_step_runs_is_noticed() -> None:
    missing = left_out(
        step_paths(["pytest -q -m slow tests/unit tests/integration tests/acceptance --ignore tests/api"])
    )
    assert {"tests/test_style.py", "tests/test_threat_model.py", "tests/api/test_schemathesis.py"} <= missing
    assert not any(one.startswith("tests/acceptance") for one in missing)
