"""A name that is misspelt does not leave a release without a gate, unnoticed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.chart.support import NAME, refusal, render
from tests.chart.whole_pods import CALL, CHART_YAML, POD, shop

ALIAS = "entitlement"
DEPENDENCY = f"dependencies:\n  - {{name: {NAME}, version: 0.1.0, repository: 'file://charts/{NAME}', alias: %s}}\n"
NOTES = '{{ include "entitlement-sidecar.notes" (dict "context" .Subcharts.entitlement "parent" .) }}\n'


def chart(directory: Path, under: str = ALIAS, around: tuple[str, str] = ("", ""), alias: str = ALIAS) -> Path:
    """Return a chart that gates by `.Subcharts.<under>`, inside what is `around` it."""
    made = shop(directory, POD)
    (made / "Chart.yaml").write_text(CHART_YAML + DEPENDENCY % alias)
    template = made / "templates" / "shop.yaml"
    text = template.read_text()
    call = f'{{{{- include "entitlement-sidecar.pod" {CALL.format("")} | nindent 4 }}}}'
    assert call in text
    own = call.replace(f'(index .Subcharts "{NAME}")', f"$.Subcharts.{under}").replace('"shop.pod" .', '"shop.pod" $')
    before, after = around
    plain = '{{- include "shop.pod" . | nindent 4 }}'
    template.write_text(text.replace(call, f"{before}{own}{after}" if before else own).replace("PLAIN", plain))
    (made / "templates" / "NOTES.txt").write_text(NOTES)
    return made


SILENT = {
    "with": ("entitlment", ("{{- with .Subcharts.entitlment }}", "{{- else }}PLAIN{{- end }}")),
    "if": ("entitlment", ("{{- if .Subcharts.entitlment }}", "{{- else }}PLAIN{{- end }}")),
    "a value": ("entitlement", ("{{- if .Values.gated }}", "{{- else }}PLAIN{{- end }}")),
}


@pytest.mark.parametrize("way", SILENT)
def test_a_release_whose_pods_have_no_sidecar_is_refused(way: str, tmp_path: Path) -> None:
    words = refusal(chart(tmp_path, *SILENT[way]), {})
    assert "no pod has the sidecar of the dependency entitlement, so that nothing is gated" in words
    assert "set entitlement.enabled to false" in words


@pytest.mark.parametrize("way", SILENT)
def test_switched_off_it_may_be_in_no_pod(way: str, tmp_path: Path) -> None:
    assert render(chart(tmp_path, *SILENT[way]), {ALIAS: {"enabled": False}})


def test_a_name_that_no_dependency_has_is_refused_where_nothing_hides_it(tmp_path: Path) -> None:
    assert "context is missing. Pass .Subcharts" in refusal(chart(tmp_path, "entitlment"), {})


def test_an_alias_that_chart_yaml_misspells_is_refused(tmp_path: Path) -> None:
    assert "context is missing. Pass .Subcharts" in refusal(chart(tmp_path, alias="entitlment"), {})


@pytest.mark.parametrize("values", [{"gateMode": "readiness"}, {"productCode": "x"}, {"onDenied": "exit", "x": 1}])
def test_values_of_ours_under_a_name_that_no_dependency_has_are_refused(values: dict[str, Any], tmp_path: Path) -> None:
    words = refusal(chart(tmp_path), {"entitlment": values})
    assert f"the values have entitlment.{next(iter(values))}, but no dependency of that name is loaded" in words
    assert "The sidecar's names are: entitlement." in words


@pytest.mark.parametrize("values", [{}, {"shop": {"enabled": True, "image": "x"}}, {"text": "gateMode"}])
def test_a_release_that_is_gated_may_have_values_of_its_own(values: dict[str, Any], tmp_path: Path) -> None:
    assert render(chart(tmp_path), values)


def test_a_pod_that_waits_for_another_is_gated_too(tmp_path: Path) -> None:
    made = chart(tmp_path)
    template = made / "templates" / "shop.yaml"
    template.write_text(template.read_text().replace(' "pod" ', ' "service" "other" "pod" '))
    assert render(made)
