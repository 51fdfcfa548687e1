"""Values that charts of the field have: labels, annotations, further entries of our container, profiles."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.chart import test_static
from tests.chart.support import CHART, NAME, Manifest, container, in_parent, of_kind, pod_of, refusal, render

EVERYTHING: dict[str, Any] = {
    "config": {"reask_seconds": 1},
    "kubernetesApi": {"enabled": True},
    "counts": {"nodes": True},
    "serviceAccount": {"create": True},
    "podMonitor": {"enabled": True},
    "prometheusRule": {"enabled": True},
    "dashboard": {"enabled": True},
}
"""Values with which the chart renders each of its objects."""


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return in_parent(tmp_path_factory.mktemp("parent"))


ROLE = "arn:aws:iam::123456789012:role/x"


def objects(**values: object) -> dict[str, Manifest]:
    """Return what the chart renders alone, by kind and end of name."""
    return {
        f"{one['kind']} {one['metadata']['name'].removeprefix(f'rel-{NAME}')}".strip(): one["metadata"]
        for one in render(CHART, {**EVERYTHING, **values})
    }


def pod(parent: Path, **values: object) -> Manifest:
    return pod_of(of_kind(render(parent, {NAME: values, "serviceAccountName": ""}), "Deployment"))


def test_every_template_of_an_object_is_in_these_tests() -> None:
    kinds = {re.findall(r"^kind: (\w+)", path.read_text(), re.MULTILINE)[0] for path in CHART.glob("templates/*.yaml")}
    assert {name.split()[0] for name in objects()} == kinds
    assert len(objects()) == len(list(CHART.glob("templates/*.yaml")))


@pytest.mark.parametrize("value", ["commonLabels", "extraLabels"])
def test_common_labels_are_on_every_object(value: str) -> None:
    found = objects(**{value: {"team": "billing"}})
    assert {name for name, one in found.items() if one["labels"]["team"] != "billing"} == set()


def test_common_annotations_are_on_every_object() -> None:
    found = objects(commonAnnotations={"owner": "billing"})
    assert {name for name, one in found.items() if one["annotations"]["owner"] != "billing"} == set()
    assert [name for name, one in objects().items() if "annotations" in one] == []


def test_what_one_object_has_takes_precedence_over_what_all_have() -> None:
    found = objects(
        commonLabels={"team": "all"},
        extraLabels={"team": "old"},
        commonAnnotations={"folder": "all"},
        dashboard={"enabled": True, "annotations": {"folder": "own"}},
        podMonitor={"enabled": True, "labels": {"team": "own"}},
        serviceAccount={
            "create": True,
            "annotations": {"folder": "own"},
            "roleArn": ROLE,
        },
    )
    assert found["ConfigMap -dashboard"]["annotations"] == {"folder": "own"}
    assert found["ConfigMap"]["annotations"] == {"folder": "all"}
    assert found["PodMonitor"]["labels"]["team"] == "own"
    assert found["Role"]["labels"]["team"] == "all"
    account = found["ServiceAccount"]["annotations"]
    assert account == {"folder": "own", "eks.amazonaws.com/role-arn": ROLE}


def test_labels_and_annotations_of_the_metered_pod_are_added_to_ours(parent: Path) -> None:
    more = {"team": "billing", "number": "42"}
    plain, marked = pod(parent)["metadata"], pod(parent, podLabels=more, podAnnotations=more)["metadata"]
    for field in ("labels", "annotations"):
        assert marked[field] == {**plain[field], **more}


def test_every_annotation_that_the_chart_sets_is_none_that_values_may_set() -> None:
    text = (CHART / "templates" / "_pod.tpl").read_text().split('define "entitlement-sidecar.podAnnotations"')[1]
    text = text.replace('{{ include "entitlement-sidecar.suffix" $.context }}:', ":")
    ours = set(re.findall(r"^([a-z0-9.-]+/[A-Za-z-]+):", text.split("{{- end -}}\n{{- end -}}")[0], re.MULTILINE))
    assert len(ours) == 7
    assert ours == set(test_static.SCHEMA["definitions"]["ownPodAnnotation"]["enum"])


def test_variables_of_maps_and_secrets_reach_our_container_alone(parent: Path) -> None:
    given = [{"configMapRef": {"name": "one"}}, {"prefix": "X_", "secretRef": {"name": "two", "optional": True}}]
    made = pod(parent, extraEnvFrom=given)
    assert container(made, NAME)["envFrom"] == given
    assert "envFrom" not in container(made, "product", "containers")


def test_a_profile_replaces_the_runtimes_and_the_rest_stays(parent: Path) -> None:
    plain = container(pod(parent), NAME)["securityContext"]
    given = {"seccompProfile": {"type": "Localhost", "localhostProfile": "x.json"}, "seLinuxOptions": {"level": "s0"}}
    found = container(pod(parent, securityContext=given), NAME)["securityContext"]
    assert found == {**plain, **given}
    assert plain["seccompProfile"] == {"type": "RuntimeDefault"}


@pytest.mark.parametrize("none", [None, ""])
def test_user_and_group_can_be_left_to_the_cluster(none: object, parent: Path) -> None:
    plain = container(pod(parent), NAME)["securityContext"]
    found = container(pod(parent, runAsUser=none, runAsGroup=none), NAME)["securityContext"]
    assert plain == {**found, "runAsUser": 65532, "runAsGroup": 65532}
    assert {"runAsUser", "runAsGroup"}.isdisjoint(found)


def test_a_value_of_the_pod_is_refused_by_its_name(parent: Path) -> None:
    words = refusal(parent, {NAME: {"priorityClassName": "high", "nodeSelector": {"a": "b"}}})
    assert "priorityClassName" in words
    assert "nodeSelector" in words


def test_readme_names_every_value_of_the_pod_that_is_refused() -> None:
    section = test_static.values_table.BLOCK.sub("", (CHART / "README.md").read_text())
    section = section.split("**What belongs to the pod**")[1].split("\n\n")[0]
    assert set(re.findall(r"`(\w+)`", section)) >= set(test_static.OF_THE_POD)


def test_a_monitor_has_the_rules_that_are_given() -> None:
    rules: list[dict[str, Any]] = [{"action": "labeldrop", "regex": "x"}]
    monitor = {"enabled": True, "scrapeTimeout": "5s", "relabelings": rules, "metricRelabelings": rules}
    (endpoint,) = of_kind(render(CHART, {"podMonitor": monitor}), "PodMonitor")["spec"]["podMetricsEndpoints"]
    assert (endpoint["scrapeTimeout"], endpoint["relabelings"], endpoint["metricRelabelings"]) == ("5s", rules, rules)
    (endpoint,) = of_kind(render(CHART, {"podMonitor": {"enabled": True}}), "PodMonitor")["spec"]["podMetricsEndpoints"]
    assert set(endpoint) == {"port", "path", "interval"}


def test_the_cases_that_schemas_check_have_these_values() -> None:
    names = {key for path in (CHART / "ci").iterdir() for key in yaml.safe_load(path.read_text()) or {}}
    assert {"commonLabels", "commonAnnotations", "podLabels", "podAnnotations"} <= names
    assert {"extraEnv", "extraEnvFrom", "securityContext"} <= names
