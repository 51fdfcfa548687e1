"""`listing check` of charts with helm: what it renders, our own charts, a fresh one, and hostile ones."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import pytest

from sidecar.listing.chart import rules
from sidecar.listing.chart.check import check
from tests.chart.support import EXAMPLES, PARENT, ROOT, ran, tool
from tests.unit.listing.chart.breaks import ADMITTED_WITH_HELM, WITH_HELM, WITHOUT_HELM, Break
from tests.unit.listing.chart.good import REGISTRY, write


@pytest.fixture(autouse=True)
def _with_helm() -> None:
    tool("helm")


def found(chart: Path) -> list[tuple[str, str, int | None]]:
    """Return rule, path inside the chart and line of each finding."""
    return sorted((one.rule.id, one.file.removeprefix(f"{chart}/"), one.line) for one in check(str(chart)).findings)


def rule_ids(chart: Path) -> set[str]:
    return {one.rule.id for one in check(str(chart)).findings}


def test_the_good_chart_breaks_nothing(tmp_path: Path) -> None:
    checked = check(str(write(tmp_path)))
    assert [(one.rule.id, one.message) for one in checked.findings] == []
    assert list(checked.not_checked) == []


@pytest.mark.parametrize("broken", WITH_HELM, ids=lambda one: f"{one.rule}-{one.name}".replace(" ", "-"))
def test_one_change_is_found_in_its_place(tmp_path: Path, broken: Break) -> None:
    assert set(found(write(tmp_path, broken.files))) == {(broken.rule, broken.path, broken.line)}


@pytest.mark.parametrize("name", ADMITTED_WITH_HELM)
def test_what_stands_next_to_a_rule_breaks_nothing(tmp_path: Path, name: str) -> None:
    assert found(write(tmp_path, ADMITTED_WITH_HELM[name])) == []


def test_each_rule_is_broken_by_a_test() -> None:
    assert {one.rule for one in (*WITHOUT_HELM, *WITH_HELM)} == {one.id for one in rules.RULES}


def vendored(directory: Path, source: Path) -> Path:
    """Return a copy of a seller's chart with ours put into it as the docs say."""
    chart = directory / source.name
    shutil.copytree(source, chart, ignore=shutil.ignore_patterns("charts", "tests"))
    where = ("--registry", REGISTRY, "--repository", "acme/bookshop-entitlement", "--tag", "1.4.0")
    done = ran("python3", ROOT / "helm" / "vendor", chart, *where)
    assert "entitlement-sidecar" in done.stdout, done.stderr
    return chart


PLACEHOLDERS = "registry.example.com stands for the seller's own repositories at AWS Marketplace"
SELLERS = "what a buyer may set is the seller's to say; helm/entitlement-sidecar has the part that is ours"
OURS: dict[str, tuple[Path, dict[str, str]]] = {
    "the example": (EXAMPLES / "after", {"chart-image-registry": PLACEHOLDERS, "chart-schema-missing": SELLERS}),
    "the injector": (ROOT / "helm" / "entitlement-sidecar-injector", {}),
    "the parent of the tests": (
        PARENT,
        {
            "chart-image-registry": PLACEHOLDERS,
            "chart-schema-missing": SELLERS,
            "chart-service-account": "it has no account of its own: tests of the chart give it one",
        },
    ),
}
"""Chart → its directory, and each rule that it breaks with the reason why that stays."""


@pytest.mark.parametrize("name", OURS)
def test_our_charts_break_what_is_named_here_and_nothing_else(tmp_path: Path, name: str) -> None:
    source, reasons = OURS[name]
    chart = vendored(tmp_path, source)
    checked = check(str(chart))
    assert {one.rule.id for one in checked.findings} == set(reasons)
    ours = [one for one in checked.findings if "charts/" in one.file]
    assert ours == [], "the chart that is sold to sellers breaks nothing"
    assert list(checked.not_checked) == []


FRESH = {
    "chart-hook": "the test that helm create ships is a hook",
    "chart-image-in-values": "that test names busybox itself",
    "chart-image-registry": "nginx and busybox come from Docker Hub",
    "chart-image-tag": "the tag of nginx is empty, busybox has none",
    "chart-namespace-said": "no object says its namespace",
    "chart-release-field": "the label managed-by is .Release.Service",
    "chart-schema-missing": "neither schema is there",
}
"""What `helm create` writes, as docs/howto/check-the-listing.md has it."""


def test_a_fresh_chart_breaks_what_the_docs_name(tmp_path: Path) -> None:
    assert ran("helm", "create", tmp_path / "shop").returncode == 0
    assert rule_ids(tmp_path / "shop") == set(FRESH)
    text = (ROOT / "docs" / "howto" / "check-the-listing.md").read_text()
    fresh = text.partition("\n## A chart of `helm create`\n")[2].partition("\n## ")[0]
    assert set(re.findall(r"`(chart-[a-z0-9-]+)`", fresh)) == set(FRESH)


def test_a_chart_that_does_not_render_leaves_the_rest_unchecked(tmp_path: Path) -> None:
    broken = next(one for one in WITH_HELM if one.rule == "chart-helm-template")
    checked = check(str(write(tmp_path, broken.files)))
    unchecked = {one.rule.id for one in checked.not_checked}
    assert {"chart-workload", "chart-image-region", "chart-hook"} <= unchecked
    assert not {"chart-helm-lint", "chart-helm-template"} & unchecked


def test_a_template_that_writes_without_end_is_stopped(tmp_path: Path) -> None:
    endless = '{{ range until 100000 }}x: {{ repeat 100 "x" }}\n{{ end }}'
    found = rule_ids(write(tmp_path, {"templates/more.yaml": endless}))
    assert "chart-helm-template" in found


def test_a_command_line_checks_a_chart_with_helm(tmp_path: Path) -> None:
    chart = write(tmp_path)
    done = ran(sys.executable, "-m", "sidecar", "listing", "check", "--chart", chart, cwd=ROOT)
    assert done.returncode == 0, done.stdout
    assert f"{len(rules.RULES)} rules checked, 0 not checked" in done.stdout
