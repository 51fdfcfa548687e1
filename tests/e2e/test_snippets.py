"""A cluster takes every YAML block of the documentation, in a namespace that enforces the restricted profile."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.chart.support import INJECTOR, NAME, ROOT, SAAS, in_parent, render
from tests.docs_snippets import Kind, Snippet, kind_of, known, pods_of
from tests.e2e.cluster import Namespace, eventually
from tests.e2e.test_admission import applied
from tests.test_docs_pages import blocks

ELSEWHERE = (Kind.MARKED, Kind.TEMPLATE, Kind.CHART_FILE, Kind.KUSTOMIZATION)
"""What test_kustomize.py applies, tests/chart renders, or no cluster is asked about."""
ALL = [one for one in known() if kind_of(one) not in ELSEWHERE]
FILES = sorted(
    path
    for path in (ROOT / "docs" / "examples").rglob("*.yaml")
    if re.search(r"^kind: ", path.read_text(), re.MULTILINE) and path.parent.name != "kustomize"
)
"""Whole objects; those of kustomize are patches."""
GUIDE = "docs/howto/eks.md"
SERVER = ["entitlement-sidecar", "emulator", "--host", "0.0.0.0", "--port", "8080"]
"""Something that serves until it is stopped, from the one image that every cluster here has."""


def of_kind(*kinds: Kind) -> list[Snippet]:
    return [one for one in ALL if kind_of(one) in kinds]


def is_pod(snippet: Snippet) -> bool:
    return kind_of(snippet) is Kind.OBJECTS and [one["kind"] for one in snippet.documents] == ["Pod"]


def guide_pod() -> dict[str, Any]:
    """Return the pod of the guide, into which parts of a pod are put."""
    return deepcopy(next(one for one in ALL if one.page == GUIDE and is_pod(one)).documents[0])


def with_part(pod: dict[str, Any], part: dict[str, Any]) -> dict[str, Any]:
    """Return the pod with a part in it. An entry of a name that the pod has is changed; others go before the pod's."""
    for field, value in part.get("spec", part).items():
        if isinstance(value, list):
            own = {one["name"]: one for one in pod["spec"].get(field, [])}
            value = [*(own.pop(one["name"], {}) | one for one in value), *own.values()]
        elif isinstance(value, dict):
            value = pod["spec"].get(field, {}) | value
        pod["spec"][field] = value
    return pod


def objects(snippet: Snippet, directory: Path) -> list[dict[str, Any]]:
    """Return what a reader ends up applying."""
    kind, (first, *_) = kind_of(snippet), snippet.documents
    if kind is Kind.OBJECTS:
        return snippet.documents
    if kind is Kind.POD:
        return [with_part(guide_pod(), first)]
    if kind is Kind.METADATA:
        return [
            {
                "apiVersion": "v1",
                "kind": "ServiceAccount",
                "metadata": {"name": "snippet", **first.get("metadata", first)},
            }
        ]
    if kind is Kind.INJECTOR:
        return render(in_parent(directory, INJECTOR), first)
    if kind is Kind.SAAS:
        return render(SAAS, first)
    values = first if kind is Kind.VALUES else next(iter(first.values()))
    return render(in_parent(directory), {NAME: values})


def admitted(space: Namespace, manifests: list[dict[str, Any]]) -> subprocess.CompletedProcess[str]:
    for one in manifests:
        pod = pods_of(one) or {}
        pod.get("spec", {}).pop("serviceAccountName", None)  # it is not there in a dry run
    return applied(space, [one for one in manifests if one["kind"] != "Namespace"])


@pytest.mark.parametrize("snippet", ALL, ids=lambda snippet: snippet.id)
def test_a_block_of_the_documentation_is_admitted_without_a_warning(
    snippet: Snippet, new_namespace: Callable[..., Namespace], tmp_path: Path
) -> None:
    manifests = objects(snippet, tmp_path)
    shares_its_node = any((pods_of(one) or {}).get("spec", {}).get("hostNetwork") for one in manifests)
    profile = "privileged" if shares_its_node else "restricted"  # the latter refuses every pod with hostNetwork
    done = admitted(new_namespace(profile, marketplace=False), manifests)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_file_of_the_examples_is_admitted_without_a_warning(
    path: Path, new_namespace: Callable[..., Namespace]
) -> None:
    manifests = [one for one in yaml.safe_load_all(path.read_text()) if one]
    done = admitted(new_namespace(marketplace=False), manifests)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_pod_without_its_security_context_is_refused(new_namespace: Callable[..., Namespace]) -> None:
    pod = guide_pod()
    del pod["spec"]["initContainers"][0]["securityContext"]
    assert "violates PodSecurity" in applied(new_namespace(marketplace=False), [pod]).stderr


def here(space: Namespace, pod: dict[str, Any]) -> dict[str, Any]:
    """Return a pod of the documentation with the images of this cluster, and the emulator for AWS Marketplace."""
    gate = space.gate_values()
    for one in [*pod["spec"]["initContainers"], *pod["spec"]["containers"]]:
        if "entitlement" in one["image"]:
            one["image"] = space.sidecar_image
            one["env"] = [*one.get("env", []), *gate["extraEnv"]]
            one["volumeMounts"] = [*one.get("volumeMounts", []), *gate["extraVolumeMounts"]]
        else:
            one["image"], one["command"] = space.emulator_image, SERVER
    pod["spec"]["volumes"] = [*pod["spec"].get("volumes", []), *gate["extraVolumes"]]
    return pod


def create(space: Namespace, pod: dict[str, Any]) -> str:
    space.kubectl("create", "--filename", "-", stdin=json.dumps(pod))
    return str(pod["metadata"]["name"])


def waits_for_the_gate(space: Namespace, name: str) -> bool:
    status = space.get("pod", name)["status"]
    ours = [one for one in status.get("initContainerStatuses", []) if one["name"] == NAME]
    return bool(ours and ours[0]["state"].get("running")) and not any(one.get("started") for one in ours)


@pytest.mark.parametrize("snippet", [one for one in ALL if is_pod(one)], ids=lambda snippet: snippet.id)
def test_a_pod_of_the_documentation_waits_for_its_customer_and_runs(snippet: Snippet, space: Namespace) -> None:
    name = create(space, here(space, deepcopy(snippet.documents[0])))
    eventually(lambda: "customer_not_entitled" in space.describe(name), saying="the reason in describe")
    assert waits_for_the_gate(space, name)
    space.subscribe()
    space.kubectl("wait", f"pod/{name}", "--for=condition=Ready", "--timeout=90s")


COMMAND = re.compile(r"^kubectl .*\bPOD\b.*$", re.MULTILINE)
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs" / "howto").glob("*.md"))]
COMMANDS = sorted({line for page in PAGES for line in COMMAND.findall(page.read_text())})
DOCTOR = "entitlement-doctor"
EXPORT = next(one for one in blocks((ROOT / "docs" / "howto" / "reconcile.md").read_text(), "sh") if "kubectl" in one)
"""The export of every pod."""


def test_the_commands_for_a_running_pod_work_in_the_guides_pod(space: Namespace, tmp_path: Path) -> None:
    commands = [one for one in COMMANDS if DOCTOR not in one]
    assert len(commands) >= 3
    space.subscribe()
    pod = here(space, guide_pod())
    pod["metadata"]["labels"] = {"app.kubernetes.io/name": "my-product"}
    name = create(space, pod)
    space.kubectl("wait", f"pod/{name}", "--for=condition=Ready", "--timeout=90s")
    for line in [*commands, EXPORT]:
        line = line.replace("kubectl ", f"kubectl --namespace {space.name} ")
        done = subprocess.run(
            ["sh", "-euc", re.sub(r"\bPOD\b", name, line)], cwd=tmp_path, capture_output=True, text=True, timeout=60
        )
        assert done.returncode in (0, 1 if " doctor" in line else 0), f"{line}\n{done.stdout}{done.stderr}"
        assert done.stdout or list(tmp_path.iterdir()), line


def test_doctor_as_an_init_container_says_what_keeps_a_pod_from_starting(space: Namespace) -> None:
    (snippet,) = (one for one in of_kind(Kind.POD) if DOCTOR in one.text)
    pod = here(space, with_part(guide_pod(), snippet.documents[0]))
    for one in pod["spec"]["initContainers"]:  # as where IRSA's webhook came too late
        one["env"] = [variable for variable in one["env"] if not variable["name"].startswith("AWS_")]
    name = create(space, pod)

    def said() -> bool:
        words = space.kubectl("logs", name, "--container", DOCTOR, check=False)
        return re.search(r"^(region|credentials)\tfail", words, re.MULTILINE) is not None

    eventually(said, saying="doctor's answer in the log")
    assert not space.get("pod", name)["status"]["initContainerStatuses"][1].get("started")
