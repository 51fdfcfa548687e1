"""Render the chart, alone and inside a parent, with helm. Tests are skipped without it.

Invariants:
- A chart of the same files is rendered once with the same values: most of the time of these tests is helm's.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parent.parent.parent
HELM = ROOT / "helm"
CHART = HELM / "entitlement-sidecar"
INJECTOR = HELM / "entitlement-sidecar-injector"
SAAS = HELM / "entitlement-sidecar-saas"
PARENT = Path(__file__).parent / "parent"
EXAMPLES = HELM / "examples"
CASES = sorted((CHART / "ci").glob("*-values.yaml"))
NAME = "entitlement-sidecar"

CLUSTER = ("--kube-version", "1.31.4")
"""Helm's own guess depends on how it was built, and may be older than what the chart wants."""

Manifest = dict[str, Any]
_RENDERED: dict[tuple[tuple[str, ...], str, str], subprocess.CompletedProcess[str]] = {}
"""Arguments, values, and digest of the chart → what helm said."""


def tool(name: str) -> str:
    """Return the path of a tool; skip the test where there is none."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not on PATH")
    return found


def ran(*command: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, cwd=cwd)


def in_parent(directory: Path, source: Path = PARENT) -> Path:
    """Return a copy of the parent chart with the subchart in it."""
    parent = directory / source.name
    shutil.copytree(source, parent, ignore=shutil.ignore_patterns("charts"))
    shutil.copytree(CHART, parent / "charts" / NAME, ignore=shutil.ignore_patterns("ci", "tests"))
    return parent


def render(
    chart: Path, values: Mapping[str, object] | None = None, flags: Sequence[str] = (), release: str = "rel"
) -> list[Manifest]:
    """Return the manifests of a chart; an error of helm fails the test with its message."""
    done = helm_template(chart, values, flags, release)
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.load_all(done.stdout, yaml.CSafeLoader) if document]


def refusal(chart: Path, values: Mapping[str, object]) -> str:
    """Return helm's message for values that cannot be rendered."""
    done = helm_template(chart, values)
    assert done.returncode != 0, "it rendered"
    return done.stderr


def helm_template(
    chart: Path, values: Mapping[str, object] | None = None, flags: Sequence[str] = (), release: str = "rel"
) -> subprocess.CompletedProcess[str]:
    given = yaml.dump(dict(values or {}), Dumper=yaml.CSafeDumper)
    arguments = (tool("helm"), "template", release, "--namespace", "ns", "--values", "-", *CLUSTER, *flags)
    key = (arguments, given, _digest(chart))
    if key not in _RENDERED:
        command = [*arguments, str(chart)]
        _RENDERED[key] = subprocess.run(command, input=given, capture_output=True, text=True, timeout=60, check=False)
    return _RENDERED[key]


def _digest(chart: Path) -> str:
    """Return what changes when a file of the chart does."""
    found = hashlib.sha256()
    for path in sorted(chart.rglob("*")):
        if path.is_file():
            found.update(f"{path.relative_to(chart)}\0{path.stat().st_size}\0".encode() + path.read_bytes())
    return found.hexdigest()


def of_kind(manifests: Sequence[Manifest], kind: str) -> Manifest:
    found = [one for one in manifests if one["kind"] == kind]
    assert len(found) == 1, [one["kind"] for one in manifests]
    return found[0]


def pod_of(manifest: Manifest) -> Manifest:
    """Return the pod template of a workload, or the pod itself."""
    spec = manifest["spec"]
    if manifest["kind"] == "CronJob":
        spec = spec["jobTemplate"]["spec"]
    return manifest if manifest["kind"] == "Pod" else spec["template"]


def container(pod: Manifest, name: str, among: str = "initContainers") -> Manifest:
    found = [one for one in pod["spec"].get(among) or [] if one["name"] == name]
    assert len(found) == 1, pod["spec"].get(among)
    return found[0]
