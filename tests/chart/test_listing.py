"""`listing check` of charts with helm: what it renders, our own charts, a fresh one, and hostile ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from sidecar.listing.chart import rules
from sidecar.listing.chart.check import check
from tests.chart.support import tool
from tests.unit.listing.chart.breaks import WITH_HELM, WITHOUT_HELM, Break
from tests.unit.listing.chart.good import write

Found = list[tuple[str, str, int | None]]


@pytest.fixture(autouse=True)
def _with_helm() -> None:
    tool("helm")


def found(chart: Path) -> Found:
    """Return rule, path inside the chart and line of each finding."""
    checked = check(str(chart))
    assert [one.rule.id for one in checked.not_checked if checked.findings == ()] == []
    return sorted((one.rule.id, one.file.removeprefix(f"{chart}/"), one.line) for one in checked.findings)


def rule_ids(chart: Path) -> set[str]:
    return {one.rule.id for one in check(str(chart)).findings}


def test_the_good_chart_breaks_nothing(tmp_path: Path) -> None:
    checked = check(str(write(tmp_path)))
    assert [(one.rule.id, one.message) for one in checked.findings] == []
    assert list(checked.not_checked) == []


@pytest.mark.parametrize("broken", WITH_HELM, ids=lambda one: f"{one.rule}-{one.name}".replace(" ", "-"))
def test_one_change_is_found_in_its_place(tmp_path: Path, broken: Break) -> None:
    assert set(found(write(tmp_path, broken.files))) == {(broken.rule, broken.path, broken.line)}


def test_each_rule_is_broken_by_a_test() -> None:
    assert {one.rule for one in (*WITHOUT_HELM, *WITH_HELM)} == {one.id for one in rules.RULES}
