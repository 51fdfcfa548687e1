"""One change of a good chart breaks one rule, in one place; no helm is on PATH here."""

from __future__ import annotations

from pathlib import Path

import pytest

from sidecar.listing.chart import rules
from sidecar.listing.chart.check import check
from sidecar.listing.finding import Checked
from tests.unit.listing.chart.breaks import ADMITTED, CONFIGURATION, VALUES, WITHOUT_HELM, Break
from tests.unit.listing.chart.good import GOOD, write


@pytest.fixture(autouse=True)
def _no_helm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))


def of(chart: Path) -> Checked:
    return check(str(chart))


def test_the_good_chart_breaks_nothing(tmp_path: Path) -> None:
    assert [(one.rule.id, one.file, one.line, one.message) for one in of(write(tmp_path)).findings] == []


@pytest.mark.parametrize("broken", WITHOUT_HELM, ids=lambda one: f"{one.rule}-{one.name}".replace(" ", "-"))
def test_one_change_is_one_finding_in_its_place(tmp_path: Path, broken: Break) -> None:
    chart = write(tmp_path, broken.files)
    found = [(one.rule.id, one.file, one.line) for one in of(chart).findings]
    assert found == [(broken.rule, f"{chart}/{broken.path}", broken.line)]


@pytest.mark.parametrize("name", ADMITTED)
def test_what_stands_next_to_a_rule_breaks_nothing(tmp_path: Path, name: str) -> None:
    found = of(write(tmp_path, ADMITTED[name])).findings
    assert [(one.rule.id, one.file, one.line, one.message) for one in found] == []


def test_without_helm_what_is_rendered_is_not_checked(tmp_path: Path) -> None:
    unchecked = {one.rule.id for one in of(write(tmp_path)).not_checked}
    assert unchecked == {one.id for one in (*rules.NEED_HELM, *rules.MORE_WITH_HELM)}


def test_each_rule_that_needs_no_helm_is_broken_by_a_test() -> None:
    need_helm = {one.id for one in rules.NEED_HELM}
    assert {one.rule for one in WITHOUT_HELM} == {one.id for one in rules.RULES} - need_helm


def test_no_finding_repeats_a_secret(tmp_path: Path) -> None:
    password = '"password": {"type": "string", "description": "x", "default": "a"}, "logLevel"'
    files = {
        VALUES: GOOD[VALUES] + "password: hunter2\nurl: https://a:hunter2@example.com\n",
        CONFIGURATION: GOOD[CONFIGURATION].replace('"logLevel"', password, 1),
        "README.md": "helm install shop . --set password=hunter2\n",
        "notes.txt": "AKIAHUNTER2HUNTER2AB",
    }
    found = of(write(tmp_path, files)).findings
    assert {one.rule.id for one in found} >= {"chart-values-secret", "chart-schema-default", "chart-set-in-text"}
    assert not [one for one in found if "hunter2" in f"{one.message}{one.seen}{one.place}".lower()]
