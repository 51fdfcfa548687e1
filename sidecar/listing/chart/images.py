"""Check that a chart's images are in its values, in the registry of AWS Marketplace, with a tag that stays.

Invariants:
- Each fault of an image is found once: among the values, or where no value has it, among what is rendered.

Sources: AWS Marketplace seller guide, "Helm chart structure requirements".
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from sidecar.listing.chart.chart import Template
from sidecar.listing.chart.lines import Line, lines
from sidecar.listing.chart.references import REPOSITORY, ImageValue, in_values
from sidecar.listing.chart.sources import ADD_ON, CATALOG, STRUCTURE
from sidecar.listing.chart.subject import Subject
from sidecar.listing.chart.template_uses import UseKind
from sidecar.listing.finding import Finding
from sidecar.listing.registry import MARKETPLACE, Reference
from sidecar.listing.rule import Rule, Severity

IN_VALUES: Final = Rule(
    id="chart-image-in-values",
    severity=Severity.ERROR,
    title="Images are named in values.yaml and nowhere else",
    aws="AWS Marketplace copies a product to other regions by replacing the images in values.yaml. One in a template, "
    "a helper or another file keeps its first region; AWS rejects it.",
    source=STRUCTURE,
    fix='Move it into values.yaml and write image: "{{ .Values.image.registry }}/{{ .Values.image.repository }}:'
    '{{ .Values.image.tag }}".',
)
REGISTRY: Final = Rule(
    id="chart-image-registry",
    severity=Severity.ERROR,
    title="Every image is in a repository of AWS Marketplace",
    aws="Images, open-source ones included, are pulled from the product's own repositories at AWS Marketplace. AWS "
    "answers INVALID_HELM_CHART_IMAGES to others.",
    source=CATALOG,
    fix=f"Add a repository to the product, push the image there and name it {MARKETPLACE}/SELLER/REPOSITORY.",
)
ONE_LEVEL: Final = Rule(
    id="chart-image-one-level",
    severity=Severity.ERROR,
    title="Registry, repository and tag of an image stand side by side in values.yaml",
    aws="AWS replaces images by values.yaml alone and knows registry and tag on the same level as the repository.",
    source=STRUCTURE,
    fix="Write registry, repository and tag into one mapping for each image.",
)
TAG: Final = Rule(
    id="chart-image-tag",
    severity=Severity.ERROR,
    title="Every image has a tag of its own, and it is not latest",
    aws="A version of a product is a fixed set of images: AWS scans what the tag names when the version is added. A "
    "tag that moves, or that only Chart.yaml says, names nothing that was scanned.",
    source=ADD_ON,
    fix="Write the tag of this release next to the repository, in quotes, or a digest.",
)
RULES: Final = (IN_VALUES, REGISTRY, ONE_LEVEL, TAG)

_IMAGE_LINE: Final = re.compile(r"\s*(?:- +)?[\"']?image[\"']?:(?P<value>(?:[ \t].*)?)")
_LETTERS: Final = re.compile(r"[A-Za-z0-9]")
_HOSTS: Final = re.compile(
    r"\.dkr\.ecr\.[\w-]+\.amazonaws\.com|\b(?:docker|quay|ghcr|gcr)\.io/|\bregistry\.k8s\.io/|\bpublic\.ecr\.aws/"
    r"|\bmcr\.microsoft\.com/|-docker\.pkg\.dev/"
)
_FALLBACKS: Final = frozenset({"default", "coalesce", "ternary"})


def check(subject: Subject) -> Iterator[Finding]:
    """Yield what values and templates break, without rendering them."""
    for image in in_values(subject.values):
        yield from _value(subject, image)
    for chart in subject.charts:
        for template in chart.templates:
            yield from _template(subject, template)


def fault_of_registry(one: Reference) -> str:
    """Return what is wrong with where an image is, empty where nothing is."""
    if one.host != MARKETPLACE:
        return f"is in {one.host or 'Docker Hub, since no registry is named,'} and not in {MARKETPLACE}"
    if not REPOSITORY.fullmatch(one.path):
        return f"has the repository {one.path!r}, which is not of the form SELLER/REPOSITORY"
    return ""


def fault_of_tag(one: Reference) -> str:
    """Return what is wrong with the tag of an image, empty where nothing is."""
    if one.digest:
        return ""
    if not one.tag:
        return "has no tag"
    return "has the tag latest, which moves" if one.tag == "latest" else ""


def _value(subject: Subject, image: ImageValue) -> Iterator[Finding]:
    name = ".".join(map(str, image.path))
    elsewhere = None if image.beside else _registry_elsewhere(subject)
    if elsewhere:
        message = f"{name} has its repository here, and its registry in {elsewhere}."
        yield _found(subject, ONE_LEVEL, image, "repository", message)
    elif fault := fault_of_registry(image.reference):
        yield _found(subject, REGISTRY, image, "registry", f"{image.text} {fault}.")
    if fault := fault_of_tag(image.reference):
        yield _found(subject, TAG, image, "tag", f"{image.text or name} {fault}.")


def _found(subject: Subject, rule: Rule, image: ImageValue, key: str, message: str) -> Finding:
    file, line = subject.values.place((*image.path, key))
    return subject.finding(rule, file, message, line=line, place=".".join(map(str, image.path)), seen=image.text)


def _registry_elsewhere(subject: Subject) -> str:
    """Return the path of a registry that stands in no image, empty where there is none."""
    for path, value in subject.values.leaves():
        key = str(path[-1]) if path else ""
        above = subject.values.get(path[:-1])
        in_image = isinstance(above, dict) and "repository" in above
        if key.lower().endswith("registry") and isinstance(value, str) and value and not in_image:
            return ".".join(map(str, path))
    return ""


def _template(subject: Subject, template: Template) -> Iterator[Finding]:
    """Yield the lines of a template that hold an image, or a part of one."""
    found = {one.number: one.text for one in lines(template.parts) if _is_fixed(one)}
    for use in template.uses:
        if use.kind is UseKind.STRING and _HOSTS.search(use.name):
            found.setdefault(use.line, use.name)
    for number, text in sorted(found.items()):
        message = f"{text.strip()!r} holds an image, or a part of one."
        yield subject.finding(IN_VALUES, template.path, message, line=number, seen=text.strip())


def _is_fixed(line: Line) -> bool:
    """Return whether a line that is no comment names a registry, or an image outside of every action."""
    if line.text.lstrip().startswith("#"):
        return False
    if _HOSTS.search(line.text):
        return True
    found = _IMAGE_LINE.fullmatch(line.text)
    if not found:
        return False
    literal = found["value"].split(" #")[0].replace("@sha256:", "")
    return bool(_LETTERS.search(literal)) or any(_LETTERS.search(one) for one in line.strings_of(_FALLBACKS))
