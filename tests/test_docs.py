"""README says what the code does: tables are made from it, names are looked up in it."""

from __future__ import annotations

import ast
import re

import pytest

from sidecar.__main__ import build_parser
from sidecar.errors import Exit
from sidecar.metering.events import REASONS
from tests.readme_tables import README, TABLES, block, rewritten

ROOT = README.parent
TEXT = README.read_text()
EVENT = re.compile(
    r"[a-z_]+\.([a-z_]+ed|said|weak|shut|ending|not_kept|left_behind|leapt|overdue|passed_over|set_aside)"
)


@pytest.mark.parametrize("name", TABLES)
def test_a_table_of_readme_is_the_codes_own(name: str) -> None:
    found = block(name).search(TEXT)
    assert found is not None
    assert found[0] == TABLES[name](), "run: python -m tests.readme_tables --write"


def test_a_table_that_differs_is_noticed() -> None:
    spoilt = TEXT.replace("`SIDECAR_REASK_SECONDS`", "`SIDECAR_REASK_HOURS`")
    assert spoilt != TEXT
    assert rewritten(spoilt) != spoilt


def events() -> set[str]:
    """Every event name the code logs: the first argument of what speaks to the log."""
    found = set()
    for path in (ROOT / "sidecar" / "agent").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and EVENT.fullmatch(node.value):
                found.add(node.value)
    return found


def test_every_metric_readme_alerts_on_is_one_there_is() -> None:
    section = TEXT.split("### What to alert on")[1].split("### Log events")[0]
    named = set(re.findall(r"^\| `([a-z_]+)", section, re.M))
    code = "".join((ROOT / "sidecar" / "agent" / name).read_text() for name in ("meter.py", "picture.py"))
    assert len(named) >= 6, "the search still finds them"
    assert named <= set(re.findall(r'"([a-z_]+)"', code))


def test_every_log_event_stands_in_readme() -> None:
    assert {"gate.shut", "registration.accepted", "answer.not_kept"} <= events(), "the search still finds them"
    missing = {name for name in events() if f"`{name}`" not in TEXT}
    assert missing == set()


def test_every_event_readme_names_is_logged() -> None:
    section = TEXT.split("### Log events")[1].split("## What it stores")[0]
    named = set(re.findall(r"`([a-z_]+\.[a-z_]+)`", section))
    code = "\n".join(path.read_text() for path in (ROOT / "sidecar").rglob("*.py"))
    assert {name for name in named if f'"{name}"' not in code} == set()


def test_every_reason_named_in_code_stands_in_readme() -> None:
    reasons: set[str] = set()
    for path in (ROOT / "sidecar").rglob("*.py"):
        if "emulator" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                at = {"TokenRejected": 0, "PlatformError": 0, "refusal": 1}.get(node.func.id)
                if at is not None and len(node.args) > at and isinstance(node.args[at], ast.Constant):
                    reasons.add(str(node.args[at].value))  # type: ignore[attr-defined]
    assert {"kept_other_workload", "asked_just_now", "token_signature"} <= reasons, "the search still finds them"
    assert {reason for reason in reasons if f"`{reason}`" not in TEXT} == set()


def test_every_reason_a_push_is_refused_with_stands_in_readme() -> None:
    assert {reason for reason in REASONS if f"`{reason}`" not in TEXT} == set()


def test_every_command_stands_in_readme_and_no_other() -> None:
    parser = build_parser()
    actions = next(action for action in parser._actions if action.dest == "command")
    assert actions.choices is not None
    table = TEXT.split("| Command | Does | Exit |")[1].split("\n\n")[0]
    named = {row.split("`")[1].split()[0] for row in table.splitlines() if row.startswith("| `")}
    assert named == set(actions.choices)


def test_exit_codes_are_those_of_the_contract() -> None:
    assert (Exit.OK, Exit.FAILED, Exit.UNAVAILABLE, Exit.DENIED, Exit.CONFIG) == (0, 1, 69, 77, 78)
    assert Exit.REFUSED == 65


def test_links_of_readme_lead_somewhere() -> None:
    targets = re.findall(r"\]\(([^)#]+)\)", TEXT)
    assert targets
    for target in targets:
        assert (ROOT / target).exists(), target


@pytest.mark.parametrize("name", ["README.md", "CHANGELOG.md", "docs/reference/emulator.md"])
def test_no_document_names_a_path_of_somebodys_machine(name: str) -> None:
    assert not re.search(r"(?<![\w.])/(home|root|work|Users)/", (ROOT / name).read_text())


def test_readme_has_the_measured_ratios_and_the_command_that_makes_them() -> None:
    measured = block("bench").search(TEXT)
    assert measured is not None
    for measure in ("C1", "C2", "C3", "C4", "M1", "M3", "D1"):
        assert re.search(rf"^\| {measure} \|.*[0-9]x", measured[0], re.M), measure
    assert "`bench/run`" in TEXT
