"""Every block of YAML in the documentation is for a cluster, or says what it is for."""

from __future__ import annotations

import re

import pytest

from tests.docs_snippets import Kind, Snippet, Unknown, kind_of, snippets
from tests.test_docs_pages import PAGES, ROOT, blocks, name

ALL = snippets()
COMMAND = re.compile(r"^ *(kubectl|helm) |\| *kubectl ", re.MULTILINE)
NOT_APPLIED = {
    "docs/howto/check-the-listing.md": "a workflow of GitHub",
    "docs/howto/contract-pricing.md": "product.yaml, a file of the image",
    "docs/howto/custom-pricing.md": "product.yaml, a file of the image",
    "docs/howto/hold-seats.md": "a settings file",
    "docs/howto/license-token.md": "what the sidecar's container and its pod need",
    "docs/howto/drawdown.md": "product.yaml, a file of the image",
    "docs/howto/seal-your-product.md": "product.yaml, a file of the image",
    "docs/howto/shared-node.md": "a namespace of the profile restricted refuses hostNetwork",
    "docs/reference/emulator.md": "a timeline of the emulator",
}
"""What no cluster is asked about, and what it is for."""
TEMPLATES = {"helm/entitlement-sidecar/README.md": 4}
"""Parts of a chart's templates; tests/chart renders each, and tests/e2e/test_newcomer.py installs the first."""

RUN_BY = {
    "docs/howto/check-the-listing.md": "tests/chart/test_listing.py",
    "docs/howto/inject.md": "tests/e2e/test_injection.py",
    "docs/howto/kustomize.md": "tests/e2e/test_kustomize.py",
    "docs/howto/local-cluster.md": "tests/e2e/test_newcomer.py",
    "docs/howto/reconcile.md": "tests/e2e/test_snippets.py",
    "docs/howto/resolve-records.md": "tests/e2e/test_snippets.py",
    "docs/howto/rollouts.md": "tests/e2e/test_rollouts.py",
    "docs/howto/runbook.md": "tests/e2e/test_snippets.py",
    "docs/howto/troubleshoot.md": "tests/e2e/test_snippets.py",
}
"""Pages with commands for a cluster, and the test that runs them, or does by its own words what they do."""


@pytest.mark.parametrize("snippet", ALL, ids=lambda snippet: snippet.id)
def test_every_block_of_yaml_has_a_kind(snippet: Snippet) -> None:
    assert kind_of(snippet)


def test_the_blocks_that_are_not_applied_are_these() -> None:
    assert {one.page: one.reason for one in ALL if kind_of(one) is Kind.MARKED} == NOT_APPLIED


def test_the_blocks_that_are_templates_are_these() -> None:
    pages = [one.page for one in ALL if kind_of(one) is Kind.TEMPLATE]
    assert {page: pages.count(page) for page in pages} == TEMPLATES


def test_a_page_with_commands_for_a_cluster_has_a_test_that_runs_them() -> None:
    guides = [path for path in PAGES if path.parent.name != "reference"]
    pages = [path for path in guides if any(COMMAND.search(one) for one in blocks(path.read_text(), "sh"))]
    assert {name(path) for path in pages} == set(RUN_BY)
    assert [path for path in RUN_BY.values() if not (ROOT / path).is_file()] == []


def test_readme_and_the_guide_show_a_whole_pod() -> None:
    whole = [one for one in ALL if kind_of(one) is Kind.OBJECTS and one.documents[0]["kind"] == "Pod"]
    assert {"README.md", "docs/howto/eks.md"} <= {one.page for one in whole}


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("apiVersion: v1\nkind: Pod\n---\napiVersion: v1\nkind: Service\n", Kind.OBJECTS),
        ("apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n", Kind.KUSTOMIZATION),
        ("initContainers: []\nvolumes: []\n", Kind.POD),
        ("spec: {hostNetwork: true}\n", Kind.POD),
        ("annotations: {a: b}\n", Kind.METADATA),
        ("metadata: {labels: {a: b}}\n", Kind.METADATA),
        ("probePort: 1\nresources: {}\n", Kind.VALUES),
        ("entitlement: {probePort: 1}\n", Kind.ALIASED),
        ("dependencies: []\n", Kind.CHART_FILE),
        ("a: {{ .Values.b }}\n", Kind.TEMPLATE),
        ("# Not applied: a workflow of GitHub\non: push\n", Kind.MARKED),
    ],
)
def test_a_block_is_what_it_holds(text: str, kind: Kind) -> None:
    assert kind_of(Snippet(page="x.md", number=1, text=text)) is kind


@pytest.mark.parametrize(
    "text",
    [
        "on: push\n",
        "# Not applied:\non: push\n",
        "on: push  # Not applied: a workflow\n",
        "kind: Pod\n",
        "- a list\n",
        "shop: {probePort: 1, other: 2}\n",
    ],
)
def test_a_block_of_another_form_has_to_say_what_it_is_for(text: str) -> None:
    with pytest.raises(Unknown, match="Not applied: REASON"):
        kind_of(Snippet(page="x.md", number=1, text=text))
