"""Check what a chart's templates use: the release, hooks, lookup, APIs, functions, namespaces.

Invariants:
- What a template uses is read by Go's grammar: comments and plain text count for nothing, but for what AWS's public
  checker searches as text, which is a rule of its own.

Sources: AWS Marketplace seller guide, "Requirements for Amazon EKS add-on products"; Helm 3.8.1, pkg/engine/funcs.go
(its functions) and Sprig 3.2.2 (the rest of them).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from sidecar.listing.chart.chart import PARSED, TEMPLATES, Chart, Template
from sidecar.listing.chart.lines import lines
from sidecar.listing.chart.sources import ADD_ON, CATALOG, HELM_FUNCTIONS, TRANSFORMER, VERSION
from sidecar.listing.chart.subject import Subject
from sidecar.listing.chart.template_tokens import OPEN, TemplateFault, split
from sidecar.listing.chart.template_uses import Use, UseKind, uses
from sidecar.listing.finding import Finding
from sidecar.listing.rule import Rule, Severity

RELEASE: Final = Rule(
    id="chart-release-field",
    severity=Severity.ERROR,
    title="Of the release, templates use Name and Namespace alone",
    aws="An add-on becomes plain manifests, so that nothing else of the release exists. AWS answers "
    "INCOMPATIBLE_HELM_OBJECTS. `.Release.Service` in the label app.kubernetes.io/managed-by is what `helm create` "
    "writes.",
    source=CATALOG,
    fix="Leave the field out; write the label app.kubernetes.io/managed-by with a fixed value, or not at all.",
)
RELEASE_WHOLE: Final = Rule(
    id="chart-release-whole",
    severity=Severity.WARNING,
    title="The release is not handed on as a whole",
    aws="What is done with it there cannot be seen here, and may use more than Name and Namespace.",
    source=ADD_ON,
    fix='Hand on `.Release.Name` and `.Release.Namespace`, or the context, or `dict "Release" .Release`.',
)
LOOKUP: Final = Rule(
    id="chart-lookup",
    severity=Severity.ERROR,
    title="No template calls lookup",
    aws="An add-on is rendered without a cluster, where lookup finds nothing. AWS answers INCOMPATIBLE_HELM_OBJECTS.",
    source=CATALOG,
    fix="Take the name of what is there as a value.",
)
HOOK: Final = Rule(
    id="chart-hook",
    severity=Severity.ERROR,
    title="No object is a hook, tests included",
    aws="The add-on framework applies plain manifests and runs no hook. AWS answers INCOMPATIBLE_HELM_OBJECTS. `helm "
    "create` ships a test, which is a hook, in templates/tests.",
    source=CATALOG,
    fix="Delete the object, or make it an ordinary Job or an init container. Say in the docs how to test by kubectl.",
)
TEXT: Final = Rule(
    id="chart-text-refused",
    severity=Severity.WARNING,
    title="No comment and no text has what AWS's public checker searches for",
    aws="It searches every file as text, README and comments included, for the annotation of hooks and for lookup; a "
    "chart that only names them fails.",
    source=TRANSFORMER,
    fix="Say it in other words.",
)
API_VERSIONS: Final = Rule(
    id="chart-api-versions",
    severity=Severity.ERROR,
    title="Templates ask .Capabilities.APIVersions for built-in APIs alone",
    aws="An add-on is rendered without a cluster: an API that a custom resource definition brings is never there.",
    source=ADD_ON,
    fix="Switch the object by a value. Write the API as text, so that it can be checked.",
)
FUNCTION: Final = Rule(
    id="chart-helm-function",
    severity=Severity.ERROR,
    title="Templates use nothing newer than Helm 3.8.1",
    aws="AWS's requirements for add-ons name Helm 3.8.1 for every command: what is newer does not parse there.",
    source=HELM_FUNCTIONS,
    fix="Write it with what Helm 3.8.1 has.",
)
NAMESPACE: Final = Rule(
    id="chart-namespace",
    severity=Severity.ERROR,
    title="Every namespace is that of the release",
    aws="The customer or the listing chooses the namespace; add-ons may not be in default, kube-system or kube-public. "
    "An object in a fixed namespace lands elsewhere.",
    source=VERSION,
    fix="Write namespace: {{ .Release.Namespace | quote }}.",
)
RULES: Final = (RELEASE, RELEASE_WHOLE, LOOKUP, HOOK, TEXT, API_VERSIONS, FUNCTION, NAMESPACE)

_OF_HELM_4: Final = (
    *("mustToToml", "mustToYaml", "mustToDuration", "durationRoundTo", "durationTruncateTo"),
    *(f"duration{unit}" for unit in ("Nanoseconds", "Microseconds", "Milliseconds", "Seconds", "Minutes", "Hours")),
    *("durationDays", "durationWeeks"),
)
NEWER: Final[Mapping[str, str]] = {
    **dict.fromkeys(_OF_HELM_4, "came with Helm 4"),
    "fromToml": "came with a later Helm 3",
    "toYamlPretty": "came with a later Helm 3",
    "sha512sum": "came with Helm 3.16 (Sprig 3.3)",
    "break": "came with Go 1.18; Helm 3.8.1 was built with an older one",
    "continue": "came with Go 1.18; Helm 3.8.1 was built with an older one",
    "else with": "came with Go 1.23; Helm 3.8.1 was built with an older one",
}
"""Function or keyword → since when."""
ANNOTATION: Final = "helm.sh/hook"
BUILT_IN: Final = re.compile(
    r"v1|(?:apps|batch|autoscaling|policy|extensions)/.+"
    r"|(?:admissionregistration|apiextensions|apiregistration|authentication|authorization|certificates|coordination"
    r"|discovery|events|flowcontrol\.apiserver|internal\.apiserver|networking|node|rbac\.authorization|resource|scheduling"
    r"|storage|storagemigration)\.k8s\.io/.+"
)
"""Groups of Kubernetes itself; the others of k8s.io come with a custom resource definition or an aggregated API."""
_NAMESPACE_LINE: Final = re.compile(
    r"\s*(?:- +)?namespace:[ \t]+[\"']?(?P<name>[A-Za-z0-9][\w.-]*)[\"']?[ \t]*(?:#.*)?"
)
_SEARCHED: Final = re.compile(r"lookup\s", re.IGNORECASE)
"""What AWS's checker takes for a call of lookup, after `{{-` in one line."""


def check(subject: Subject) -> Iterator[Finding]:
    """Yield what templates break, and what other texts have that AWS's checker searches for."""
    for chart in subject.charts:
        for template in chart.templates:
            yield from _uses(subject, template)
            yield from _hooks(subject, template)
            yield from _namespaces(subject, template)
        yield from _rendered_files(subject, chart)
        templates = {template.path: template for template in chart.templates}
        for path, text in chart.texts.items():
            yield from _text(subject, path, text, templates.get(path))
    if any(_calls_tpl(chart) for chart in subject.charts):
        yield from _rendered_values(subject)


def _calls_tpl(chart: Chart) -> bool:
    used = (use for template in chart.templates for use in template.uses)
    return any(use.kind is UseKind.FUNCTION and use.name == "tpl" for use in used)


def _rendered_values(subject: Subject) -> Iterator[Finding]:
    """Yield what values use that are templates too, where the charts call tpl."""
    for path, value in subject.values.leaves():
        for rule, message, seen in _told_of(value) if isinstance(value, str) else ():
            file, line = subject.values.place(path)
            name = ".".join(map(str, path))
            yield subject.finding(rule, file, message, line=line, place=name, seen=seen)


def _rendered_files(subject: Subject, chart: Chart) -> Iterator[Finding]:
    """Yield what files use that are templates too, where the chart calls tpl and reads files."""
    if not _calls_tpl(chart) or not any(".Files" in chart.texts[one.path] for one in chart.templates):
        return
    for path, text in chart.texts.items():
        inside = path.removeprefix(chart.directory)
        if inside.endswith(".md") or inside.startswith((TEMPLATES, "crds/")) or inside in PARSED:
            continue
        for rule, message, seen in _told_of(text):
            yield subject.finding(rule, path, message, seen=seen)


def _told_of(text: str) -> Iterator[tuple[Rule, str, str]]:
    """Yield the rules that a text breaks as a template; one that is none breaks none."""
    try:
        found = uses(split(text)) if OPEN in text else ()
    except TemplateFault:
        return
    yield from filter(None, map(_told, dict.fromkeys(found)))


def _uses(subject: Subject, template: Template) -> Iterator[Finding]:
    for use in dict.fromkeys(template.uses):
        told = _told(use)
        if told:
            rule, message, seen = told
            yield subject.finding(rule, template.path, message, line=use.line, seen=seen)


def _told(use: Use) -> tuple[Rule, str, str] | None:
    """Return the rule that a use breaks, and how."""
    if use.kind is UseKind.RELEASE_FIELD:
        return RELEASE, f".Release.{use.name} is used.", f".Release.{use.name}"
    if use.kind is UseKind.RELEASE_WHOLE:
        return RELEASE_WHOLE, f".Release is handed as a whole to {use.name}.", ".Release"
    if use.kind is UseKind.FUNCTION and use.name == "lookup":
        return LOOKUP, "lookup is called.", "lookup"
    if use.kind is UseKind.FUNCTION and NEWER.get(use.name):
        return FUNCTION, f"{use.name} {NEWER[use.name]}.", use.name
    if use.kind is UseKind.API and not BUILT_IN.fullmatch(use.name):
        return API_VERSIONS, f"{use.name} is no built-in API.", use.name
    if use.kind is UseKind.API_ANY:
        return API_VERSIONS, f"which API is asked for cannot be seen ({use.name}).", ".Capabilities.APIVersions"
    return None


def _hooks(subject: Subject, template: Template) -> Iterator[Finding]:
    """Yield the first line of each run of lines that make a hook."""
    held = set(_hook_lines(template))
    for number in sorted(held):
        if number - 1 not in held:
            yield subject.finding(HOOK, template.path, f"{ANNOTATION} makes a hook.", line=number, seen=ANNOTATION)


def _namespaces(subject: Subject, template: Template) -> Iterator[Finding]:
    for line in lines(template.parts):
        found = None if line.actions else _NAMESPACE_LINE.fullmatch(line.text)
        if found:
            message = f"the namespace {found['name']} is fixed here."
            yield subject.finding(NAMESPACE, template.path, message, line=line.number, seen=found["name"])


def _text(subject: Subject, path: str, text: str, template: Template | None) -> Iterator[Finding]:
    """Yield lines where AWS's checker sees what Helm does not."""
    used = template.uses if template else ()
    hooks = set(_hook_lines(template)) if template else set()
    calls = {one.line for one in used if one.kind is UseKind.FUNCTION and one.name == "lookup"}
    for number, line in enumerate(text.split("\n"), 1):
        if ANNOTATION in line.lower() and number not in hooks:
            message = f"{ANNOTATION} stands here, where it is no hook."
            yield subject.finding(TEXT, path, message, line=number, seen=ANNOTATION)
        trimmed = line.find("{{-")
        if trimmed >= 0 and _SEARCHED.search(line, trimmed) and number not in calls:
            yield subject.finding(TEXT, path, "lookup stands here, where it is not called.", line=number, seen="lookup")


def _hook_lines(template: Template) -> Iterator[int]:
    """Yield the lines that have the annotation of a hook outside of comments."""
    yield from (one.number for one in lines(template.parts) if ANNOTATION in one.text.partition("#")[0])
    yield from (one.line for one in template.uses if one.kind is UseKind.STRING and ANNOTATION in one.name)
