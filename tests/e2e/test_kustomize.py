"""The overlay of the documentation on a cluster: its product waits for the customer."""

from __future__ import annotations

import subprocess
from pathlib import Path

import yaml

from tests.chart.support import HELM, NAME, ROOT
from tests.docs_snippets import Kind, kind_of, known
from tests.e2e.cluster import Namespace, eventually
from tests.e2e.test_gate import started
from tests.test_docs_pages import blocks

PAGE = [one for one in known() if one.page == "docs/howto/kustomize.md"]
WEB = "app=your-product"
SERVER = ["entitlement-sidecar", "emulator", "--host", "0.0.0.0", "--port", "8080"]


COMMANDS = next(
    one for one in blocks((ROOT / "docs" / "howto" / "kustomize.md").read_text(), "sh") if "apply -k" in one
)


def overlay(space: Namespace, directory: Path) -> None:
    """Write the page's base and overlay, and the component for this cluster."""
    base, production = directory / "base", directory / "overlays" / "production"
    values = directory / "values.yaml"
    values.write_text(yaml.safe_dump(space.gate_values()))
    command = [HELM / "kustomize", directory / "entitlement-sidecar", "--values", values]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    base.mkdir()
    (workload,) = (one.documents[0] for one in PAGE if kind_of(one) is Kind.OBJECTS)
    workload["spec"]["template"]["spec"]["containers"][0] |= {"image": space.emulator_image, "command": SERVER}
    (base / "shop.yaml").write_text(yaml.safe_dump(workload))
    (base / "kustomization.yaml").write_text("resources: [shop.yaml]\n")
    production.mkdir(parents=True)
    (text,) = (one.text for one in PAGE if kind_of(one) is Kind.KUSTOMIZATION)
    (production / "kustomization.yaml").write_text(text)


def test_two_lines_in_an_overlay_put_the_gate_before_the_product(space: Namespace, tmp_path: Path) -> None:
    overlay(space, tmp_path)
    commands = COMMANDS.replace("kubectl apply", f"kubectl --namespace {space.name} apply")
    done = subprocess.run(
        ["bash", "-euc", commands], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("entitlement-sidecar.io/part-of") == 1
    space.describes(WEB, "denied", "customer_not_entitled")
    assert not started(space, WEB, "your-product")
    space.subscribe()
    eventually(lambda: space.ready(WEB), saying="readiness")
    assert space.status(WEB, NAME)["restartCount"] == 0
    assert len(space.calls()) >= 1
