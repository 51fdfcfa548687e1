"""A newcomer's way: the guide's commands, one after the other; only the cluster and the images are others."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.chart.support import HELM, NAME, ROOT
from tests.docs_snippets import blocks
from tests.e2e.cluster import EMULATOR_IMAGE, Namespace, image_parts

GUIDE = blocks((ROOT / "docs" / "howto" / "local-cluster.md").read_text(), "sh")
OF_THE_MACHINE = re.compile(r"^(docker|kind) .*\n", re.MULTILINE)
"""What makes the cluster and its images: they are here."""


def checkout(space: Namespace, directory: Path) -> Path:
    """Make what the guide needs of the repository, and a kubeconfig of its own."""
    examples = directory / "docs" / "examples" / "local-cluster"
    shutil.copytree(ROOT / "docs" / "examples" / "local-cluster", examples)
    (directory / "helm").symlink_to(HELM)
    file = examples / "marketplace.yaml"
    file.write_text(file.read_text().replace(EMULATOR_IMAGE, space.emulator_image))
    shutil.copyfile(os.environ["KUBECONFIG"], directory / "kubeconfig")
    return directory


def here(space: Namespace, text: str) -> str:
    registry, repository, tag = image_parts(space.sidecar_image)
    image = f"--registry {registry or 'docker.io'} --repository {repository} --tag {tag}"
    text = OF_THE_MACHINE.sub("", text)
    text = text.replace("--registry docker.io --repository library/entitlement-sidecar --tag 0.1.0", image)
    text = text.replace("kubectl create namespace shop\n", "")
    return text.replace("--namespace shop", f"--namespace {space.name}").replace(
        "/namespaces/shop/", f"/namespaces/{space.name}/"
    )


def ran(space: Namespace, text: str, directory: Path) -> str:
    environment = {**os.environ, "KUBECONFIG": str(directory / "kubeconfig")}
    done = subprocess.run(
        ["bash", "-euc", here(space, text)],
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, f"{text}\n{done.stdout}{done.stderr}"
    return done.stdout


def another_product(space: Namespace, chart: Path) -> None:
    """nginx of `helm create` cannot be pulled everywhere: put another server into its place."""
    registry, repository, tag = image_parts(space.emulator_image)
    values = chart / "values.yaml"
    image = f"repository: {registry + '/' if registry else ''}{repository}"
    text = values.read_text().replace("repository: nginx", image).replace('tag: ""', f"tag: {tag}", 1)
    values.write_text(text.replace("path: /", "path: /_emulator/clock").replace("port: 80\n", "port: 8080\n"))
    template = chart / "templates" / "deployment.yaml"
    args = 'args: [emulator, --host, "0.0.0.0", --port, "8080"]'
    template.write_text(template.read_text().replace("          ports:\n", f"          {args}\n          ports:\n", 1))


def lines(chart: Path) -> dict[str, list[str]]:
    return {
        str(path.relative_to(chart)): path.read_text().splitlines()
        for path in chart.rglob("*")
        if path.is_file() and "charts" not in path.relative_to(chart).parts
    }


@pytest.fixture
def space(new_namespace: Callable[..., Namespace]) -> Namespace:
    return new_namespace("baseline", marketplace=False)


def test_the_guide_leads_from_helm_create_to_a_bill(space: Namespace, tmp_path: Path) -> None:
    directory, said, before = checkout(space, tmp_path), "", {}
    for block in GUIDE:
        said += ran(space, block, directory)
        if block == "helm create shop\n":
            another_product(space, directory / "shop")
            before = lines(directory / "shop")
        if "helm/vendor" in block:
            after = lines(directory / "shop")
            added = {name: len(text) - len(before[name]) for name, text in after.items() if text != before[name]}
            assert added == {"Chart.yaml": 5, "templates/deployment.yaml": 3}
        if "_emulator/subscribe" in block:
            assert seconds_to_the_product(space) < 30
    assert "denied (customer_not_entitled)" in said
    assert re.search(r"requests\s+open\s+3\b", said), said
    assert re.search(r'"product":"demo-product","total":"3"', said), said


def seconds_to_the_product(space: Namespace) -> float:
    """Return how long the product took to start after its gate had opened, as the kubelet says."""
    selector = "app.kubernetes.io/name=shop"
    status: dict[str, Any] = space.status(selector, "shop")
    log = space.kubectl("logs", "--selector", selector, "--container", NAME)
    (opened,) = re.findall(r'"at": "([^"]+)"[^\n]*"event": "gate.opened"', log)
    started = datetime.fromisoformat(status["state"]["running"]["startedAt"])
    seconds = (started - datetime.fromisoformat(opened)).total_seconds()
    print(f"{seconds:.0f} s from the open gate to the product")
    return seconds
