"""Check a chart's own description, what it depends on, its size and its texts.

Sources: AWS Marketplace seller guide, "Requirements for Amazon EKS add-on products" and "Helm chart usage
instructions"; Helm, "Charts" and "Chart Dependencies".
"""

from __future__ import annotations

import base64
import posixpath
import re
import zlib
from collections.abc import Iterator, Mapping
from typing import Final

from sidecar.listing.chart.chart import METADATA, NOTES, VALUES, Chart
from sidecar.listing.chart.files import ARCHIVE
from sidecar.listing.chart.sources import ADD_ON, CATALOG, HELM_CHARTS, OBJECT_SIZE, USAGE
from sidecar.listing.chart.subject import Subject
from sidecar.listing.finding import Finding
from sidecar.listing.rule import Rule, Severity

DESCRIBED: Final = Rule(
    id="chart-metadata",
    severity=Severity.ERROR,
    title="Chart.yaml describes an application with a semantic version",
    aws="The chart is pushed under its version; AWS answers INVALID_HELM_CHART_URI where that is no SemVer 2. A "
    "library cannot be installed. apiVersion v1, of Helm 2, has its dependencies where this command does not look.",
    source=CATALOG,
    fix="Write apiVersion: v2, name, version: MAJOR.MINOR.PATCH and type: application.",
)
KUBE_VERSION: Final = Rule(
    id="chart-kube-version",
    severity=Severity.ERROR,
    title="kubeVersion admits the versions of EKS",
    aws="A rule of Helm: EKS writes its versions as v1.33.4-eks-99bf92d, which is a pre-release by SemVer: >=1.29 does "
    "not admit it. helm template does not show it; the customer's helm install fails.",
    source=HELM_CHARTS,
    fix='Write kubeVersion: ">=1.29.0-0".',
)
INSIDE: Final = Rule(
    id="chart-dependency-inside",
    severity=Severity.ERROR,
    title="Every dependency comes from a directory inside the chart",
    aws="Dependent charts are located in the main chart, with repository: file://…; AWS answers "
    "INVALID_DEPENDENT_HELM_CHARTS to others, even where charts/ has them packed.",
    source=CATALOG,
    fix="Put the chart into charts/NAME and write repository: file://charts/NAME.",
)
VENDORED: Final = Rule(
    id="chart-dependency-vendored",
    severity=Severity.ERROR,
    title="charts/ has what Chart.yaml names, and nothing else",
    aws="The chart is self-contained. helm lint fails for a chart that is named and missing, or there and not named.",
    source=ADD_ON,
    fix="Run helm dependency build, commit charts/, and name each chart in it under dependencies.",
)
CONDITION: Final = Rule(
    id="chart-dependency-condition",
    severity=Severity.WARNING,
    title="The condition of a dependency names a value that is there",
    aws="A rule of Helm: a condition whose path is missing has no effect, so that the chart stays switched on.",
    source=HELM_CHARTS,
    fix="Write the value into values.yaml, or take the condition away.",
)
SIZE: Final = Rule(
    id="chart-size",
    severity=Severity.WARNING,
    title="An installed release fits into a Secret",
    aws="A rule of Helm: `helm install`, and with it AWS's Quick Launch, keeps the chart in one Secret, which "
    "Kubernetes limits to 1 MiB. The size is estimated.",
    source=OBJECT_SIZE,
    fix="List what is not needed at the customer's in .helmignore.",
)
SET: Final = Rule(
    id="chart-set-in-text",
    severity=Severity.ERROR,
    title="No text tells the customer to use --set",
    aws="Usage instructions may not tell buyers to use --set, nor to change files other than values.yaml.",
    source=USAGE,
    fix="Show the same as a values file and `helm install --values FILE`.",
)
RULES: Final = (DESCRIBED, KUBE_VERSION, INSIDE, VENDORED, CONDITION, SIZE, SET)

RELEASE_BYTES_MAX: Final = 1 << 20
"""Of a Secret's data."""
_SEMVER: Final = re.compile(r"\d+\.\d+\.\d+(?:-[0-9A-Za-z.-]+)?(?:\+[0-9A-Za-z.-]+)?")
_SET: Final = re.compile(r"(?<![\w-])--set(?:-string|-file|-json|-literal)?(?![\w-])")
_COMPARISON: Final = re.compile(r"[=!<>~^]*\s*v?[\dxX*][^\s,]*")
_README: Final = re.compile(r"readme(?:\.\w+)?", re.IGNORECASE)
_FILE: Final = "file://"


def check(subject: Subject) -> Iterator[Finding]:
    """Yield what Chart.yaml, the packed size and the texts break."""
    for chart in subject.charts:
        yield from _described(subject, chart)
        yield from _kube_version(subject, chart)
        yield from _dependencies(subject, chart)
    yield from _size(subject)
    yield from _texts(subject)


def _described(subject: Subject, chart: Chart) -> Iterator[Finding]:
    fields, path = chart.fields, f"{chart.directory}{METADATA}"
    wrong = {
        "apiVersion": fields.get("apiVersion") != "v2",
        "name": not isinstance(fields.get("name"), str) or not fields.get("name"),
        "version": not _SEMVER.fullmatch(str(fields.get("version", "")).removeprefix("v")),
        "type": fields.get("type", "application") != "application" and not chart.directory,
    }
    for name in [name for name, is_wrong in wrong.items() if is_wrong]:
        value = fields.get(name)
        message = f"{name} is missing." if value is None else f"{name} is {value!r}."
        yield subject.finding(DESCRIBED, path, message, line=chart.metadata.line((name,)), place=name)


def _kube_version(subject: Subject, chart: Chart) -> Iterator[Finding]:
    """Yield a constraint that admits no pre-release."""
    said = chart.fields.get("kubeVersion")
    if said and not any(_admits_suffix(one) for one in str(said).split("||")):
        line = chart.metadata.line(("kubeVersion",))
        message = f"kubeVersion {said} admits no version with a suffix."
        yield subject.finding(KUBE_VERSION, f"{chart.directory}{METADATA}", message, line=line, seen=str(said))


def _admits_suffix(constraint: str) -> bool:
    """Return whether each comparison names a pre-release: Masterminds/semver, up to 3.2, admits none otherwise."""
    compared = [one for one in _COMPARISON.findall(re.sub(r"\s-\s", " ", constraint)) if not one.startswith("!=")]
    return all("-" in one for one in compared)


def _dependencies(subject: Subject, chart: Chart) -> Iterator[Finding]:
    path = f"{chart.directory}{METADATA}"
    named = {str(one.get("name")) for _, one in chart.dependencies}
    there = {one.name for one in chart.charts}
    for at, one in chart.dependencies:
        line, name = chart.metadata.line(("dependencies", at)), str(one.get("name"))
        if fault := _repository_fault(chart, one):
            where = chart.metadata.line(("dependencies", at, "repository"))
            yield subject.finding(INSIDE, path, f"{name} {fault}.", line=where, place=name)
        if name not in there:
            yield subject.finding(VENDORED, path, f"{name} is named here and not in charts/.", line=line, place=name)
        yield from _condition(subject, chart, at, one)
    for inner in chart.charts:
        if inner.name not in named:
            message = f"{inner.directory.rstrip('/')} is there and not named under dependencies."
            yield subject.finding(
                VENDORED, path, message, line=chart.metadata.line(("dependencies",)), place=inner.name
            )


def _repository_fault(chart: Chart, dependency: Mapping[object, object]) -> str:
    repository = dependency.get("repository")
    if not isinstance(repository, str) or not repository:
        archives = [one for one in chart.charts if one.name == dependency.get("name") and ARCHIVE in one.directory]
        return "names no repository" + (", and is packed" if archives else "")
    if not repository.startswith(_FILE):
        return f"comes from {repository}"
    target = posixpath.normpath(posixpath.join(chart.directory, repository.removeprefix(_FILE)))
    if target.startswith(("/", "..")) or target == ".":
        return f"comes from {repository}, which is not inside the chart"
    return ""


def _condition(subject: Subject, chart: Chart, at: int, one: Mapping[object, object]) -> Iterator[Finding]:
    condition = one.get("condition")
    if chart.directory or not isinstance(condition, str) or VALUES in subject.unread:
        return
    paths = [path.strip() for path in condition.split(",")]
    if not any(isinstance(subject.values.get(tuple(path.split("."))), bool) for path in paths):
        line = chart.metadata.line(("dependencies", at, "condition"))
        message = f"the condition {condition} of {one.get('name')} is no value of the chart."
        yield subject.finding(CONDITION, METADATA, message, line=line, place=str(one.get("name")), seen=condition)


def _size(subject: Subject) -> Iterator[Finding]:
    """Estimate what Helm keeps: each file in base64, all of it packed, that in base64 again."""
    packer, size = zlib.compressobj(9), 0
    for content in subject.contents.values():
        size += len(packer.compress(base64.b64encode(content)))
    size = (size + len(packer.flush())) * 4 // 3
    if size > RELEASE_BYTES_MAX:
        message = f"the chart takes about {size} bytes of a release, of {RELEASE_BYTES_MAX}."
        yield subject.finding(SIZE, METADATA, message)


def _texts(subject: Subject) -> Iterator[Finding]:
    """Yield lines with --set in the README and in what helm install prints."""
    for path, text in subject.chart.texts.items():
        if path == NOTES or _README.fullmatch(path):
            for number, line in enumerate(text.split("\n"), 1):
                if _SET.search(line):
                    shown = re.sub(r"=\S+", "=…", line.strip())
                    message = f"{shown!r} tells to use --set."
                    yield subject.finding(SET, path, message, line=number, seen="--set")
