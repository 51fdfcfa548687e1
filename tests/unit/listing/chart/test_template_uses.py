"""What a template uses is found by Go's grammar, and what only looks like it is not."""

from __future__ import annotations

import pytest

from sidecar.listing.chart.template_tokens import TemplateFault, split
from sidecar.listing.chart.template_uses import Use, UseKind, uses

FIELD, WHOLE = UseKind.RELEASE_FIELD, UseKind.RELEASE_WHOLE


def of(text: str) -> list[tuple[UseKind, str, int]]:
    """Return what a template uses of the release and of the cluster's APIs."""
    kinds = (FIELD, WHOLE, UseKind.API, UseKind.API_ANY)
    return [(one.kind, one.name, one.line) for one in uses(split(text)) if one.kind in kinds]


@pytest.mark.parametrize(
    ("text", "name", "line"),
    [
        ("{{.Release.Service}}", "Service", 1),
        ("{{- .Release.Service -}}", "Service", 1),
        ("a\n{{\n.Release.Service }}", "Service", 3),
        ("{{/* a\nb */}}{{ .Release.Service }}", "Service", 2),
        ("{{ (.Release).Service }}", "Service", 1),
        ("{{ printf `%s\n%s` .a .Release.Service }}", "Service", 2),
        ('{{ "}}" }}{{ .Release.Service }}', "Service", 1),
        ("{{ .Release.Service | quote }}", "Service", 1),
        ("{{ if and .a (eq .Release.Service `x`) }}{{ end }}", "Service", 1),
        ("{{ if .a }}{{ else if .Release.IsUpgrade }}{{ end }}", "IsUpgrade", 1),
        ("{{ range .a }}{{ $.Release.Service }}{{ end }}", "Service", 1),
        ("{{ with .Release }}{{ .Name }}{{ else }}{{ end }}{{ .Release.Service }}", "Service", 1),
        ("{{ with $r := .Release }}{{ $r.Service }}{{ end }}", "Service", 1),
        ("{{ with .Release }}{{ with .Name }}{{ . }}{{ end }}{{ .Service }}{{ end }}", "Service", 1),
        ("{{ $c := . }}{{ range .a }}{{ $c.Release.Service }}{{ end }}", "Service", 1),
        ('{{ index . "Release" "Service" }}', "Service", 1),
        ('{{ index $ "Release" | toYaml }}{{ get .Release "Service" }}', "Service", 1),
        ('{{ if hasKey .Release "Service" }}{{ end }}', "Service", 1),
        ('{{ (get $ "Release").Service }}', "Service", 1),
        ('{{ (dict "a" .).a.Release.Service }}', "Service", 1),
        ("{{ (index .list 0).Release.Service }}", "Service", 1),
        ("{{ .Subcharts.a.Release.Service }}", "Service", 1),
        ('{{ template "x" .Release.Service }}', "Service", 1),
        ('{{ block "x" .Release }}{{ .Service }}{{ end }}', "Service", 1),
        ('{{ define "x" }}{{ .Release.Service }}{{ end }}', "Service", 1),
        ("{{ tpl `{{ .Release.Service }}` . }}", "Service", 1),
    ],
)
def test_a_field_of_the_release_is_found(text: str, name: str, line: int) -> None:
    assert (FIELD, name, line) in of(text)


@pytest.mark.parametrize(
    "text",
    [
        ".Release.Service",
        "{ {.Release.Service}}",
        "{{/* .Release.Service */}}",
        "{{- /* {{ .Release.Service }} */ -}}",
        '{{ ".Release.Service" }}',
        "{{ `.Release.Service` }}",
        "{{ .Release.Name }}{{ $.Release.Namespace }}",
        "{{ .Values.Release.Service }}{{ .Values.a.Release.Service }}",
        "{{ with .Values.a }}{{ .Release.Service }}{{ end }}",
        "{{ range .Values.a }}{{ .Release.Service }}{{ end }}",
        "{{ $v := .Values }}{{ $v.Release.Service }}",
        "{{ .Released.Service }}{{ .MyRelease.Service }}",
        '{{ index .Values "Release" "Service" }}',
        '{{ index .Release "Name" }}',
        "{{ with .Release }}{{ .Namespace }}{{ end }}",
        '{{ include "x" (dict "Release" .Release "Values" .Values) }}',
        "{{ $r := .Release }}{{ $r.Name }}",
        "{{ .Chart.Release.Service }}{{ .Files.Release.Service }}",
    ],
)
def test_what_looks_like_a_field_of_the_release_is_none(text: str) -> None:
    assert of(text) == []


@pytest.mark.parametrize(
    "text",
    [
        "{{ .Release }}",
        "{{ toYaml .Release }}",
        "{{ .Release | toJson }}",
        '{{ include "x" .Release }}',
        '{{ template "x" .Release }}',
        '{{ include "x" (dict "r" .Release) }}',
        '{{ include "x" (list .Release) }}',
        "{{ index .Release .Values.key }}",
        '{{ "Service" | get .Release }}',
        "{{ range $k, $v := .Release }}{{ end }}",
        '{{ pluck "Service" .Release }}',
    ],
)
def test_a_release_that_cannot_be_followed_counts_as_a_whole(text: str) -> None:
    assert [kind for kind, _, _ in of(text)] == [WHOLE]


def test_apis_are_named_where_they_are_text() -> None:
    text = (
        '{{ .Capabilities.APIVersions.Has "a/v1" }}\n{{ with .Capabilities }}{{ .APIVersions.Has .Values.x }}{{ end }}'
    )
    assert of(text) == [(UseKind.API, "a/v1", 1), (UseKind.API_ANY, "Has", 2)]
    assert of("{{ .Capabilities.KubeVersion.Version }}{{ .Capabilities.HelmVersion }}") == []


def test_functions_are_named_wherever_they_stand() -> None:
    text = '{{ a (b 1) | c .d }}{{ if e }}{{ f "g" }}{{ end }}{{ h.i }}'
    found = [one.name for one in uses(split(text)) if one.kind is UseKind.FUNCTION]
    assert found == ["a", "b", "c", "e", "f", "h"]
    assert Use(UseKind.STRING, "g", 1) in uses(split(text))


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("a\n{{ .b", 2, "does not end"),
        ('\n{{ "b }}', 2, "string"),
        ("{{ `b }}", 1, "string"),
        ("{{/* b", 1, "comment"),
        ("{{/* b */ }}", 1, "comment"),
        ("{{}}", 1, "empty"),
        ("{{ .a | }}", 1, "empty"),
        ("{{ (.a }}", 1, "parenthesis"),
        ("{{ .a ) }}", 1, "unexpected"),
        ("{{ .a ; }}", 1, "';'"),
        ("{{ if .a }}", 1, "no {{ end }}"),
        ("{{ end }}", 1, "ends nothing"),
        ("{{ else }}", 1, "outside"),
        ('{{ define "x" }}{{ else }}{{ end }}', 1, "outside"),
        ("{{ if .a }}{{ else range .b }}{{ end }}", 1, "no form"),
        ("{{ define x }}{{ end }}", 1, "no name"),
        ("{{ template .x }}", 1, "no name"),
    ],
)
def test_what_go_does_not_parse_is_named_with_its_line(text: str, line: int, words: str) -> None:
    with pytest.raises(TemplateFault) as caught:
        uses(split(text))
    assert caught.value.line == line
    assert words in caught.value.fault
