"""The notes name the next command, in the notes of a parent and under Helm's own rules for them."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from tests.chart.support import CHART, NAME, container, in_parent, of_kind, pod_of, refusal, render

INCLUDED = '{{ include "entitlement-sidecar.notes" (dict "context" (index .Subcharts .Values.under)) }}\n'


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    chart = in_parent(tmp_path_factory.mktemp("parent"))
    (chart / "templates" / "NOTES.txt").write_text(INCLUDED)
    (chart / "templates" / "text.yaml").write_text(f"kind: Text\ntext: |\n  {{{{- {INCLUDED[3:-4]} | nindent 2 }}}}\n")
    return chart


def notes(parent: Path, under: str = NAME, **values: object) -> str:
    """Return the text that the helper renders."""
    return str(of_kind(render(parent, {"under": under, under: values}), "Text")["text"])


def commands(text: str) -> list[list[str]]:
    return [shlex.split(line) for line in re.findall(r"^ +(kubectl .*)$", text, re.MULTILINE)]


@pytest.mark.parametrize("under", [NAME, "second"])
def test_every_command_selects_pods_that_the_parent_has(under: str, parent: Path) -> None:
    values = {"under": under, under: {}}
    labels = pod_of(of_kind(render(parent, values), "Deployment"))["metadata"]["labels"]
    given = re.findall(r"--selector (\S+?)=(\S+)", notes(parent, under))
    assert len(given) == 3
    assert [(key, labels[key]) for key, _ in given] == given


@pytest.mark.parametrize("under", [NAME, "second"])
@pytest.mark.parametrize(("mode", "among"), [("native", "initContainers"), ("classic", "containers")])
def test_doctor_runs_in_the_container_that_the_pod_has(mode: str, among: str, under: str, parent: Path) -> None:
    pod = pod_of(of_kind(render(parent, {"under": under, under: {"containerMode": mode}}), "Deployment"))
    last = commands(notes(parent, under, containerMode=mode))[-1]
    name = last[last.index("--container") + 1]
    assert container(pod, name, among)["args"] == ["run"]
    assert last[-3:] == ["--", "entitlement-sidecar", "doctor"]


def test_doctor_is_sent_to_no_pod_that_has_ended(parent: Path) -> None:
    lines = [line for line in notes(parent).splitlines() if "doctor" in line]
    assert ["--field-selector status.phase!=Succeeded,status.phase!=Failed " in line for line in lines] == [True]


def test_every_command_names_the_namespace(parent: Path) -> None:
    found = commands(notes(parent))
    assert [one[1] for one in found] == ["get", "describe", "exec"]
    assert all(one[one.index("--namespace") + 1] == "ns" for one in found)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, "the product starts once"),
        ({"gateMode": "readiness"}, "pods are Ready once"),
        ({"enabled": False}, "nothing is gated and nothing is metered"),
    ],
)
def test_the_first_line_says_what_waits(values: dict[str, object], words: str, parent: Path) -> None:
    assert words in notes(parent, **values).splitlines()[0]


def test_disabled_there_is_no_command(parent: Path) -> None:
    assert commands(notes(parent, enabled=False)) == []


def test_a_context_of_another_chart_is_refused(tmp_path: Path) -> None:
    chart = in_parent(tmp_path)
    (chart / "templates" / "text.yaml").write_text(
        'kind: {{ include "entitlement-sidecar.notes" (dict "context" .) }}\n'
    )
    assert "context is not this subchart's" in refusal(chart, {})


def test_the_notes_of_a_dependency_are_the_helpers(parent: Path) -> None:
    """What --render-subchart-notes shows; helm-unittest's suites look at those of the chart by itself."""
    text = (CHART / "templates" / "NOTES.txt").read_text()
    own = f'{{{{- define "own" }}}}{text}{{{{ end }}}}\nkind: Own\ntext: {{{{ include "own" . | toJson }}}}\n'
    (parent / "charts" / NAME / "templates" / "text.yaml").write_text(own)
    found = [one["text"].strip() for one in render(parent) if one["kind"] == "Own"]
    assert notes(parent).strip() in found
    assert [one for one in found if "helm/vendor" in one] == []


def test_no_text_of_the_chart_passes_a_value_on_the_command_line() -> None:
    for path in (CHART / "templates").iterdir():
        assert "--" + "set" not in path.read_text(), path
