"""What AWS's public checker finds by searching text is found here too, as an error or as a warning."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sidecar.listing.chart.check import check
from tests.unit.listing.chart.breaks import ADMITTED, WITHOUT_HELM, Files
from tests.unit.listing.chart.good import write

SEARCHES = {
    "hook": (re.compile(r"helm.sh/hook", re.IGNORECASE), {"chart-hook", "chart-text-refused"}),
    "lookup": (re.compile(r"\{\{-.*lookup\s", re.IGNORECASE), {"chart-lookup", "chart-text-refused"}),
}
"""What it searches each line of each file for → the rules that may name the line."""
LINES: dict[str, Files] = {
    "hook in a template": {"templates/more.yaml": 'metadata:\n  annotations:\n    "helm.sh/hook": test\n'},
    "hooks in lines that follow": {"templates/x.yaml": "a:\n  helm.sh/hook: x\n  helm.sh/hook-weight: '1'\n"},
    "hook in another case": {"README.md": "# HELM.SH/HOOK\n"},
    "hook in a chart inside": {"charts/cache/README.md": "no helm.sh/hook here\n"},
    "lookup called": {"templates/more.yaml": '{{- $x := lookup "v1" "Secret" "a" "b" }}\n'},
    "lookup in another case": {"templates/more.yaml": "{{- /* Lookup of nothing */ -}}\n"},
    "lookup as a value": {"templates/more.yaml": "{{- .Values.lookup }}\n"},
    "lookup after an action": {"templates/more.yaml": "{{- .Values.x }} is to lookup nothing\n"},
}
CHARTS = {
    **LINES,
    **ADMITTED,
    **{f"{one.rule} {one.name}": one.files for one in WITHOUT_HELM if one.rule != "chart-size"},
}


@pytest.fixture(autouse=True)
def _no_helm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))


def searched(files: Files) -> list[tuple[str, int, set[str]]]:
    """Return path and line of what a search of text finds, and the rules that may name it."""
    return [
        (path, line, rules)
        for path, text in files.items()
        if isinstance(text, str) and not path.endswith(".bak")
        for line, words in enumerate(text.split("\n"), 1)
        for search, rules in SEARCHES.values()
        if search.search(words)
    ]


@pytest.mark.parametrize("name", [name for name, files in CHARTS.items() if searched(files)])
def test_what_a_search_of_text_finds_is_found_here(tmp_path: Path, name: str) -> None:
    chart = write(tmp_path, CHARTS[name])
    found = {(one.file.removeprefix(f"{chart}/"), one.line, one.rule.id) for one in check(str(chart)).findings}
    for path, line, rules in searched(CHARTS[name]):
        near = {line, line - 1} if "chart-hook" in rules else {line}
        assert any((path, at, rule) in found for at in near for rule in rules), (path, line)


def test_lines_are_searched_for_at_all() -> None:
    assert all(searched(files) for files in LINES.values())
