"""Does a real API server take what the chart renders, in a namespace that enforces the restricted profile?"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.chart.support import CASES, NAME, render
from tests.chart.test_rendered import gate_only
from tests.e2e.cluster import Namespace

WITHOUT_DEFINITION = ("PodMonitor", "PrometheusRule")
"""Kinds that a plain cluster does not have."""


def applied(space: Namespace, manifests: list[dict[str, Any]]) -> subprocess.CompletedProcess[str]:
    """As the API server would take it, warnings included, without keeping it."""
    known = [one for one in manifests if one["kind"] not in WITHOUT_DEFINITION]
    for one in known:
        one["metadata"]["namespace"] = space.name
        for subject in one.get("subjects", []):
            subject["namespace"] = space.name
    command = ["kubectl", "apply", "--dry-run=server", "--filename", "-"]
    text = yaml.safe_dump_all(known)
    return subprocess.run(command, input=text, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name.removesuffix("-values.yaml"))
def test_each_case_is_admitted_whole_and_as_a_bare_pod(
    case: Path, new_namespace: Callable[..., Namespace], parent: Path
) -> None:
    space = new_namespace(marketplace=False)
    values: dict[str, Any] = {NAME: yaml.safe_load(case.read_text()) or {}, "gateOnly": gate_only(case)}
    done = applied(space, render(parent, values))
    assert (done.returncode, done.stderr) == (0, "")
    pods = [one for one in render(parent, {**values, "kind": "Pod"}) if one["kind"] == "Pod"]
    for pod in pods:  # an account that is only made in the dry run is not there
        pod["spec"]["serviceAccountName"] = "default"
    done = applied(space, pods)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_example_is_admitted(new_namespace: Callable[..., Namespace], example: Path) -> None:
    done = applied(new_namespace(marketplace=False), render(example))
    assert (done.returncode, done.stderr) == (0, "")


def test_a_pod_that_breaks_the_profile_is_not(new_namespace: Callable[..., Namespace], parent: Path) -> None:
    pods = [one for one in render(parent, {"kind": "Pod"}) if one["kind"] == "Pod"]
    for pod in pods:
        pod["spec"]["serviceAccountName"] = "default"
        pod["spec"]["initContainers"][0]["securityContext"]["allowPrivilegeEscalation"] = True
    assert "violates PodSecurity" in applied(new_namespace(marketplace=False), pods).stderr
