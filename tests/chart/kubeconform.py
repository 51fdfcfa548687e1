"""Look at manifests as one version of Kubernetes does: kubeconform with the schemas in KUBERNETES_SCHEMAS."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import yaml

from tests.chart.schemas import LOCATION, VERSIONS
from tests.chart.support import Manifest, ran, tool

CLASSIC, *NATIVE = VERSIONS
WITHOUT_SCHEMA = "Certificate,Issuer,PodMonitor,PrometheusRule"


def refusals(manifests: Mapping[str, Sequence[Manifest]], version: str) -> str:
    """Return what that version refuses of manifests by name; empty where it takes all of them."""
    kubeconform, schemas = tool("kubeconform"), os.environ.get("KUBERNETES_SCHEMAS")
    if not schemas:
        pytest.skip("KUBERNETES_SCHEMAS names no directory of schemas (python -m tests.chart.schemas makes one)")
    if not (Path(schemas) / f"v{version}").is_dir():
        pytest.skip(f"{schemas} has no schemas of Kubernetes {version}")
    flags = ["-strict", "-kubernetes-version", version, "-skip", WITHOUT_SCHEMA, "-schema-location"]
    with tempfile.TemporaryDirectory() as directory:
        for name, some in manifests.items():
            (Path(directory) / f"{name}.yaml").write_text(yaml.dump_all(some, Dumper=yaml.CSafeDumper))
        done = ran(kubeconform, *flags, f"{schemas}/{LOCATION}", directory)
    text = done.stdout + done.stderr
    assert (done.returncode == 0) == (text == ""), text
    return text
