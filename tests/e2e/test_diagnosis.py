"""What an operator asks a pod for in a real cluster: doctor, the status page, the support bundle."""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Any

from tests.e2e.cluster import Namespace, eventually, run
from tests.e2e.conftest import CHART
from tests.e2e.test_gate import OURS, WEB, install, product, started


def pod_of(space: Namespace) -> str:
    return str(space.pod(WEB)["metadata"]["name"])


def doctor(space: Namespace) -> dict[str, dict[str, Any]]:
    """Return doctor's checks in the sidecar's container, by id."""
    text = space.kubectl("exec", pod_of(space), "-c", OURS, "--", OURS, "doctor", "--json", check=False)
    return {one["id"]: one for one in json.loads(text.splitlines()[0])["checks"]}


def test_doctor_finds_nothing_in_a_pod_that_is_entitled(space: Namespace, parent: Path) -> None:
    space.subscribe()
    gate = {"gateMode": "readinessGate", "rbac": {"subjects": ["default"]}, "dimensions": ["requests"]}
    install(space, parent, product(space, gate=gate))
    eventually(lambda: space.ready(WEB), saying="readiness")
    asked = len(space.calls())
    checks = doctor(space)
    assert [one for one in checks.values() if one["status"] == "fail"] == []
    assert {
        name: checks[name]["status"] for name in ("workload", "credentials", "identity", "kubernetes")
    } == dict.fromkeys(("workload", "credentials", "identity", "kubernetes"), "pass")
    assert len(space.calls()) == asked, "doctor registered"


def test_the_commands_of_the_notes_work_as_they_are_printed(space: Namespace, parent: Path, tmp_path: Path) -> None:
    chart = tmp_path / "parent"
    shutil.copytree(parent, chart)
    line = '{{ include "entitlement-sidecar.notes" (dict "context" (index .Subcharts .Values.under)) }}'
    (chart / "templates" / "NOTES.txt").write_text(line)
    space.subscribe()
    install(space, chart, product(space))
    eventually(lambda: space.ready(WEB), saying="readiness")
    notes = run("helm", "get", "notes", "shop", "--namespace", space.name)
    get, describe, doctor_ = (run("sh", "-c", one) for one in re.findall(r"^ +(kubectl .*)$", notes, re.MULTILINE))
    assert pod_of(space) in get
    assert f"Name:             {pod_of(space)}" in describe
    assert "nothing fails" in doctor_


def test_doctor_of_the_readme_runs_before_a_product_is_there(space: Namespace) -> None:
    """In the restricted profile. It has no role, and says so."""
    readme = (CHART / "README.md").read_text()
    (command,) = re.findall(r"^```sh\n(kubectl run .*?)```", readme, re.DOTALL | re.MULTILINE)
    command = command.replace("YOUR-REGISTRY/your-product-entitlement:1.0.0", space.sidecar_image)
    command = command.replace("SERVICE-ACCOUNT", "default")
    command = command.replace("kubectl run", f"kubectl --namespace {space.name} run")
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=120, check=False)
    assert re.search(r"^credentials\s+fail", done.stdout, re.MULTILINE), done.stdout + done.stderr
    assert "violate" not in done.stderr
    assert done.returncode == 1
    assert space.get("pods", "--selector", "run=entitlement-doctor")["items"] == []


def test_doctor_names_what_keeps_a_pod_closed(space: Namespace, parent: Path) -> None:
    space.subscribe()
    missing = {"AWS_ROLE_ARN": "", "AWS_WEB_IDENTITY_TOKEN_FILE": "", "AWS_EC2_METADATA_DISABLED": "true"}
    install(space, parent, product(space, gate={"env": missing}))
    space.describes(WEB, "misconfigured", "no_credentials")
    checks = doctor(space)
    assert checks["credentials"]["status"] == "fail"
    assert "IRSA" in checks["credentials"]["rule"]
    assert not started(space)


def test_the_page_and_the_bundle_leave_a_pod_that_can_write_nothing(space: Namespace, parent: Path) -> None:
    space.subscribe()
    install(space, parent, product(space))
    eventually(lambda: space.ready(WEB), saying="readiness")
    name = pod_of(space)
    ask = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:8485/').read().decode())"
    page = space.kubectl("exec", name, "-c", "product", "--", "/opt/entitlement-sidecar/bin/python", "-c", ask)
    assert "<main" in page
    assert "entitled" in page
    command = ["kubectl", "--namespace", space.name, "exec", name, "-c", OURS, "--", OURS, "support-bundle", "-"]
    done = subprocess.run(command, capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr.decode()
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as bundle:
        names = [Path(one).name for one in bundle.getnames()]
    assert "doctor.json" in names
    assert "status.json" in names
    assert run("kubectl", "--namespace", space.name, "exec", name, "-c", OURS, "--", OURS, "healthcheck")
