"""Each value of the sidecar's chart works for injected pods, or is refused with the remedy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.chart import values_file
from tests.chart.support import CHART, INJECTOR, in_parent, refusal, render

REFUSED: dict[str, tuple[Any, str]] = {
    "config": ({"reask_seconds": 60}, "Set extraEnv"),
    "serviceAccount.create": (True, "annotate that account with eks.amazonaws.com/role-arn"),
    "counts.nodes": (True, "Use the sidecar's chart in the product's"),
    "counts.pods": ("cluster", "Use the sidecar's chart in the product's"),
    "rbac.create": (True, "renders a ClusterRole to bind"),
    "appGraceSeconds": (60, "Set terminationGracePeriodSeconds in the pod"),
    "gateOnly.timeoutSeconds": (5, "every injected pod is metered"),
    "podMonitor.enabled": (True, "render it in the pods' namespaces"),
    "prometheusRule.enabled": (True, "render it in the pods' namespaces"),
}
"""Value → one that needs what an injected pod has not, and the remedy."""
IN_PODS = {
    "caBundle": "a ConfigMap of that name in each namespace",
    "licenseSecret": "a Secret of that name in each namespace",
    "imagePullSecrets": "Secrets of these names in each namespace, and in the injector's",
    "state": "with existingVolume, a volume of that name in each pod",
    "kubernetesApi": "the ClusterRole, bound in each namespace",
    "gateMode": "the same, where it is readinessGate",
    "extraEnv": "what it refers to, in each namespace",
    "extraEnvFrom": "the same",
    "extraVolumes": "the same",
}
"""Value that works → what it needs in the pods' namespaces; the how-to says so."""
WORK = {
    *("enabled", "namePrefix", "nameOverride", "commonLabels", "commonAnnotations", "extraLabels", "k8version"),
    *("containerMode", "image", "productCode", "dimensions", "onDenied", "onMeteringOverdue", "flushSeconds"),
    *("logLevel", "probePort", "apiPort", "freePorts", "apiSocket", "probes", "mesh", "resources"),
    *("meshSkipOutboundPorts", "runAsUser"),
    *("runAsGroup", "securityContext", "podLabels", "podAnnotations", "extraVolumeMounts", "proxy", "aws"),
    *("safeToEvictLocalVolumes", "waitCommand", "preStopCommand", "dashboard"),
}
"""Values that need nothing there: what they change is in the pod, or in the cluster's monitoring."""


@pytest.fixture(scope="module")
def chart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return in_parent(tmp_path_factory.mktemp("injector"), INJECTOR)


def nested(path: str, value: object) -> dict[str, Any]:
    for name in reversed(path.split(".")):
        value = {name: value}
    return dict(value)  # type: ignore[call-overload]


def test_each_value_of_the_sidecar_is_thought_through() -> None:
    known = {*(path.split(".")[0] for path in REFUSED), *IN_PODS, *WORK}
    there = {one.path for one in values_file.read(CHART).inner}
    assert there - known == set(), "new: does it work for pods of other namespaces? Add it here, or refuse it"
    assert known - there == set(), "gone"


@pytest.mark.parametrize("path", REFUSED)
def test_what_an_injected_pod_cannot_have_is_refused(path: str, chart: Path) -> None:
    value, remedy = REFUSED[path]
    more = {"rbac": {"create": True, "subjects": ["x"]}} if path == "rbac.create" else nested(path, value)
    words = refusal(chart, {"entitlement": more})
    assert f"entitlement.{path}" in words
    assert remedy in words


def test_the_others_are_not(chart: Path) -> None:
    assert render(chart, {"entitlement": {"kubernetesApi": {"enabled": True}, "dashboard": {"enabled": True}}})
