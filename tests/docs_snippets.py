"""Find the YAML of the documentation and say what a cluster can do with it.

Invariants:
- Every block belongs to one kind, told by its content alone; a new block is found by itself.
- What is not for a cluster says so in its first line, with the reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml

from sidecar.quick_dataclasses import dataclass
from tests.test_docs_pages import ROOT, blocks, markdown, name

MARK: Final = "# Not applied: "
CHARTS: Final = tuple(
    ROOT / "helm" / chart
    for chart in ("entitlement-sidecar", "entitlement-sidecar-injector", "entitlement-sidecar-saas")
)
POD_FIELDS: Final = {"initContainers", "containers", "volumes", "securityContext", "hostNetwork", "dnsPolicy"}
METADATA_FIELDS: Final = {"annotations", "labels"}
POD_OF: Final = {"Deployment", "StatefulSet", "DaemonSet", "Job", "ReplicaSet"}


class Kind(Enum):
    """What a block is, and so how it is tried."""

    OBJECTS = "Kubernetes objects"
    POD = "part of a pod's spec"
    METADATA = "part of an object's metadata"
    VALUES = "values of the chart"
    ALIASED = "values of a chart that has the chart under an alias"
    INJECTOR = "values of the injector's chart"
    SAAS = "values of the SaaS service's chart"
    CHART_FILE = "part of Chart.yaml"
    KUSTOMIZATION = "a kustomization"
    TEMPLATE = "a template of a chart"
    MARKED = "marked as not applied"


class Unknown(ValueError):
    """A block that is none of these; the message says how to mark it."""


@dataclass(frozen=True, kw_only=True)
class Snippet:
    """One block of YAML: the page's path in the checkout, its number on the page from 1, its text."""

    page: str
    number: int
    text: str

    @property
    def id(self) -> str:
        return f"{self.page}-{self.number}"

    @property
    def documents(self) -> list[Any]:
        return [one for one in yaml.safe_load_all(self.text) if one]

    @property
    def reason(self) -> str:
        """Return why it is not applied; empty where it is."""
        first = self.text.lstrip().partition("\n")[0]
        return first.removeprefix(MARK) if first.startswith(MARK) else ""


def snippets() -> list[Snippet]:
    """Return every YAML block of README, docs/ and the charts' READMEs. ECS has none for a cluster."""
    pages = [path for path in markdown() if path == ROOT / "README.md" or name(path).startswith(("docs/", "helm/"))]
    return [
        Snippet(page=name(path), number=at, text=text)
        for path in pages
        for at, text in enumerate(blocks(path.read_text(), "yaml"), 1)
    ]


def kind_of(snippet: Snippet) -> Kind:
    """Tell the kind of a block.

    Raises:
        Unknown: nothing here applies it, and it does not say why.

    """
    if snippet.reason:
        return Kind.MARKED
    if "{{" in snippet.text:
        return Kind.TEMPLATE
    documents = snippet.documents
    if documents and all(isinstance(one, dict) for one in documents):
        if all({"apiVersion", "kind"} <= one.keys() for one in documents):
            return Kind.KUSTOMIZATION if documents[0]["kind"] == "Kustomization" else Kind.OBJECTS
        if len(documents) == 1:
            found = _part(documents[0])
            if found:
                return found
    raise Unknown(
        f"{snippet.id}: this is no Kubernetes object, no part of a pod and no values of a chart. "
        f"Complete it, or say on its first line what it is for: {MARK}REASON"
    )


def known() -> list[Snippet]:
    """Return the blocks that have a kind; tests/test_docs_snippets.py fails for the others."""
    return [one for one in snippets() if _is_known(one)]


def _is_known(snippet: Snippet) -> bool:
    try:
        kind_of(snippet)
    except Unknown:
        return False
    return True


def _part(document: Mapping[str, Any]) -> Kind | None:
    keys = document.keys()
    ours, injector, saas = (_values(chart) for chart in CHARTS)
    for kind, known in ((Kind.POD, POD_FIELDS), (Kind.METADATA, METADATA_FIELDS), (Kind.VALUES, ours)):
        if keys <= known:
            return kind
    if keys == {"spec"} and document["spec"].keys() <= POD_FIELDS:
        return Kind.POD
    if keys == {"metadata"} and document["metadata"].keys() <= METADATA_FIELDS:
        return Kind.METADATA
    if keys == {"dependencies"}:
        return Kind.CHART_FILE
    if len(keys) == 1 and all(isinstance(one, dict) and one.keys() <= ours for one in document.values()):
        return Kind.ALIASED
    if keys <= injector:
        return Kind.INJECTOR
    return Kind.SAAS if keys <= saas else None


@cache
def _values(chart: Path) -> set[str]:
    return set(yaml.safe_load((chart / "values.yaml").read_text()))


def pods_of(manifest: dict[str, Any]) -> dict[str, Any] | None:
    """Return the pod in an object: a Pod itself, or the template of a workload."""
    if manifest["kind"] == "Pod":
        return manifest
    if manifest["kind"] == "CronJob":
        return dict(manifest["spec"]["jobTemplate"]["spec"]["template"])
    return dict(manifest["spec"]["template"]) if manifest["kind"] in POD_OF else None
