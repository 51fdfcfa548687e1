"""Quotas and limits of a namespace refuse the defaults with the words in README, and take the values beside them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.chart.support import NAME, render
from tests.e2e.cluster import Namespace, eventually
from tests.e2e.conftest import CHART
from tests.e2e.test_admission import applied

PRODUCT = {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"cpu": "400m", "memory": "64Mi"}}
"""What the parent's own containers ask for; it passes every rule here."""
RULES: dict[str, tuple[str, dict[str, Any], str, dict[str, Any]]] = {
    "a quota of CPU": (
        "ResourceQuota",
        {"hard": {"limits.cpu": "8"}},
        f"must specify limits.cpu for: {NAME}",
        {"limits": {"cpu": 1}},
    ),
    "a minimum": (
        "LimitRange",
        {"limits": [{"type": "Container", "min": {"cpu": "50m", "memory": "64Mi"}}]},
        "minimum cpu usage per Container is 50m, but request is 10m",
        {"requests": {"cpu": "50m", "memory": "64Mi"}},
    ),
    "a ratio": (
        "LimitRange",
        {"limits": [{"type": "Container", "maxLimitRequestRatio": {"cpu": "4"}}]},
        "cpu max limit to request ratio per Container is 4",
        {"limits": {"cpu": 1}, "requests": {"cpu": "250m"}},
    ),
}
"""Kind and spec of a rule; what README quotes of the refusal; `resources` that pass."""


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_refuses_the_defaults_and_takes_the_values_of_readme(
    rule: str, new_namespace: Callable[..., Namespace], parent: Path
) -> None:
    kind, spec, words, resources = RULES[rule]
    space = new_namespace(marketplace=False)
    body = {"apiVersion": "v1", "kind": kind, "metadata": {"name": "rule"}, "spec": spec}
    space.kubectl("apply", "-f", "-", stdin=json.dumps(body))
    eventually(lambda: words in admitted(space, parent, {}).stderr, saying="a refusal by the rule")
    done = admitted(space, parent, resources)
    assert (done.returncode, done.stderr) == (0, "")


def admitted(space: Namespace, parent: Path, resources: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    """Ask the API server about the parent's bare pod, in which every other container passes."""
    manifests = render(parent, {"kind": "Pod", NAME: {"resources": resources}})
    pods = [one for one in manifests if one["kind"] == "Pod"]
    for pod in pods:
        for one in pod["spec"]["containers"]:
            one["resources"] = PRODUCT
    return applied(space, pods)


def test_readme_quotes_each_refusal() -> None:
    readme = (CHART / "README.md").read_text()
    for _, _, words, _ in RULES.values():
        assert words in readme
