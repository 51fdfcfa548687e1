"""Check that the threat model promises nothing without a test, and hides nothing that is not stopped."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path
from typing import Final, NamedTuple

import pytest

ROOT: Final = Path(__file__).resolve().parent.parent
PAGE: Final = ROOT / "docs" / "explanation" / "threat-model.md"
TEST: Final = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
EVERY_ACTOR: Final = 6


class Row(NamedTuple):
    """One attack."""

    attack: str
    verdict: str
    why: str
    shown: str
    seller: str


def rows(text: str) -> list[Row]:
    """Return the attacks of every table."""
    cells = [re.split(r" \| ", line[2:-2]) for line in text.splitlines() if line.startswith("| ")]
    return [Row(*one) for one in cells if len(one) == 5 and not one[0].startswith(("What they do", "---"))]


def faults(row: Row) -> list[str]:
    """Return what is wrong with a row: a promise without a test, a gap without a word about it."""
    tests = TEST.findall(row.shown)
    found = [f"{path}::{name} is no test" for path, name in tests if not is_test(path, name)]
    if row.verdict.startswith("stopped") and not tests:
        found.append("stopped, and no test shows it")
    if not row.verdict.startswith("stopped") and (row.verdict != "**not stopped**" or tests):
        found.append("neither stopped nor not stopped")
    return found if row.why != "-" else [*found, "no reason"]


def is_test(path: str, name: str) -> bool:
    """Return whether pytest would collect this function: named as a test, in a file named as one, never skipped."""
    file = ROOT / path
    if not file.exists() or not file.name.startswith("test_") or not name.startswith("test_"):
        return False
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.FunctionDef) and node.name == name:
            return not any("mark.skip" in ast.unparse(one) for one in node.decorator_list)
    return False


ROWS: Final = rows(PAGE.read_text())


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.attack[:60])
def test_what_is_stopped_names_a_test_and_what_is_not_says_so(row: Row) -> None:
    assert faults(row) == []


def test_the_tables_were_found() -> None:
    assert len(ROWS) > 40
    assert PAGE.read_text().count("| What they do |") == EVERY_ACTOR
    assert {row.verdict.partition(" if ")[0] for row in ROWS} >= {"stopped", "**not stopped**"}


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        (Row("a", "stopped", "b", "-", "-"), "no test shows it"),
        (Row("a", "stopped if sealed", "b", "-", "-"), "no test shows it"),
        (Row("a", "stopped", "b", "`tests/test_threat_model.py::test_no_such`", "-"), "is no test"),
        (Row("a", "stopped", "b", "`tests/no_such.py::test_x`", "-"), "is no test"),
        (Row("a", "stopped", "b", "`tests/test_threat_model.py::faults`", "-"), "is no test"),
        (Row("a", "mostly", "b", "-", "-"), "neither"),
        (Row("a", "**not stopped**", "-", "-", "-"), "no reason"),
    ],
)
def test_a_promise_without_a_test_is_noticed(row: Row, fault: str) -> None:
    assert fault in " ".join(faults(row))


@pytest.mark.slow
def test_every_test_that_the_page_names_is_collected() -> None:
    named = sorted({f"{path}::{name}" for row in ROWS for path, name in TEST.findall(row.shown)})
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-n", "0", *named],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:]
    assert {one.partition("[")[0] for one in done.stdout.splitlines() if "::" in one} == set(named)
