"""The image at work: read-only root, one volume, no capability, and a local AWS Marketplace."""

from __future__ import annotations

import http.client
import json
import re
import time
from pathlib import Path

import pytest

from sidecar.listing.image.check import check
from sidecar.pod_status.access import API_MOUNT
from tests.image.engine import LOCKED_DOWN, PYTHON, STATE, Running, build_flags, call, done, run, run_python
from tests.integration.pod_status.cluster_api import UID, ClusterApi, wait_for

SELLER = Path(__file__).parents[2] / "docs" / "examples" / "seller-image"
COMPILED_AT_RUN_TIME = re.compile(r"code object from ([^'\s]+\.py)$", re.MULTILINE)
FLUSH_SECONDS = 10
COMMANDS = (
    ["--help"], ["--version"], ["run", "--help"], ["wait", "--help"], ["exec", "--help"], ["healthcheck", "--help"],
    ["verify", "--help"], ["manifest", "check", "--help"], ["manifest", "check", "--schema"], ["settings", "--schema"],
)  # fmt: skip
IN_PLACE_OF_SOURCES = """
import importlib.util, pathlib, sysconfig
site = pathlib.Path(sysconfig.get_path("purelib"))
bytecode = list(site.rglob("*.pyc"))
assert len(bytecode) > 300, len(bytecode)
heads = {path: path.read_bytes()[:8] for path in bytecode}
fits = importlib.util.MAGIC_NUMBER + (1).to_bytes(4, "little")  # by the source's hash, which is not looked at
print("\\n".join(str(path) for path, head in heads.items() if head != fits))
print("\\n".join(map(str, site.rglob("*.py"))))
"""


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_command_works_without_a_writable_place(image: str, words: list[str]) -> None:
    finished = run(image, *words)
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout


@pytest.mark.parametrize("command", ["emulator", "demo"])
def test_production_does_not_know_the_emulator(image: str, command: str) -> None:
    finished = run(image, command)
    assert finished.returncode == 2
    assert "invalid choice" in finished.stderr
    assert "Traceback" not in finished.stderr


def test_the_image_for_tests_tells_the_whole_story(emulator_image: str) -> None:
    finished = run(emulator_image, "demo", flags=("--tmpfs", "/tmp"))
    assert finished.returncode == 0, finished.stdout + finished.stderr


def test_it_becomes_entitled_with_one_volume_and_nothing_else(
    image: str, env: dict[str, str], volume: tuple[str, ...]
) -> None:
    with Running(image, env=env, flags=(*LOCKED_DOWN, *volume)) as sidecar:
        assert sidecar.await_healthy().startswith("entitled (registered)")
        process_one = sidecar.exec(PYTHON, "-c", "print(open('/proc/1/cmdline').read().split('\\0')[:4])").stdout
        assert "python" in process_one
        assert "/entitlement-sidecar', 'run'" in process_one, "no shell in between"
        status = sidecar.exec(PYTHON, "-c", "print(open('/proc/1/status').read())").stdout
        assert re.search(r"^Uid:\s+65532\s+65532", status, re.MULTILINE)
        assert re.search(r"^CapEff:\s+0+$", status, re.MULTILINE)
        assert re.search(r"^NoNewPrivs:\s+1$", status, re.MULTILINE)
        kept = sidecar.exec(PYTHON, "-c", f"import os; print(os.listdir('{STATE}'))").stdout
        assert "answer-" in kept
        began = time.monotonic()
        done("stop", "--time", "30", sidecar.name)
        took = time.monotonic() - began
        assert sidecar.state()["ExitCode"] == 0, sidecar.logs()
        assert took < FLUSH_SECONDS + 5, "ended by itself, not by the engine's patience"
        assert "sidecar.stopped" in sidecar.logs()
        assert "answer.save_failed" not in sidecar.logs()


def test_doctor_runs_beside_it_with_what_was_left_of_the_sdk(
    image: str, env: dict[str, str], volume: tuple[str, ...]
) -> None:
    with Running(image, env=env, flags=(*LOCKED_DOWN, *volume)) as sidecar:
        sidecar.await_healthy()
        checks = {
            one["id"]: one
            for one in json.loads(sidecar.exec("entitlement-sidecar", "doctor", "--json").stdout)["checks"]
        }
    assert checks["identity"]["status"] == "pass", checks
    assert checks["iam"]["status"] == "pass", checks
    assert [one for one in checks.values() if "the check broke" in one["seen"]] == []


def test_it_tells_the_cluster(image: str, env: dict[str, str], tmp_path: Path) -> None:
    with ClusterApi(tmp_path) as api:
        pod = {"POD_UID": UID, "POD_NAME": "product-1", "POD_NAMESPACE": "shop"}
        server = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(api.port)}
        mount = ("--volume", f"{api.mount}:{API_MOUNT}:ro")
        with Running(image, env=env | pod | server, flags=(*LOCKED_DOWN, *mount)) as it:
            it.await_healthy()
            wait_for(lambda: (api.shown() or {}).get("status") == "True" and api.events)
            assert {one["reason"] for one in api.events.values()} == {"Entitled"}
            assert "kubernetes." not in it.logs()


def test_the_volume_that_the_image_declares_is_enough(image: str, env: dict[str, str]) -> None:
    with Running(image, env=env) as sidecar:
        sidecar.await_healthy()
        tried = sidecar.exec(PYTHON, "-c", f"open('{STATE}/x', 'w'); open('/opt/x', 'w')")
        assert "Read-only file system: '/opt/x'" in tried.stderr
        assert "answer.save_failed" not in sidecar.logs()


def test_every_package_is_bytecode_alone(image: str) -> None:
    looked = run_python(image, IN_PLACE_OF_SOURCES)
    assert looked.returncode == 0, looked.stderr
    assert looked.stdout.split() == []


def compiled(sidecar: Running, env: dict[str, str]) -> set[str]:
    """The sources that a running sidecar compiled until it was entitled and had shown its Flask side."""
    sidecar.await_healthy()
    host, port = env["SIDECAR_API_BIND"].split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=30)
    connection.request("GET", "/v1/status")
    assert json.load(connection.getresponse())["entitlement"]
    connection.close()
    said = sidecar.logs()
    assert "code object from " in said, "the interpreter told where modules come from"
    assert re.search(r"import 'flask'|import 'botocore\.session'", said)
    launched = {"/usr/local/bin/entitlement-sidecar"}
    return {path for path in COMPILED_AT_RUN_TIME.findall(said) if path not in launched}


def test_nothing_is_compiled_at_run_time_the_standard_library_included(image: str, env: dict[str, str]) -> None:
    flags = (*LOCKED_DOWN, "--entrypoint", PYTHON)
    with Running(image, ("-v", "-m", "sidecar", "run"), env, flags) as sidecar:
        assert compiled(sidecar, env) == set()


def test_compiling_at_run_time_would_be_seen(image: str, env: dict[str, str]) -> None:
    flags = (*LOCKED_DOWN, "--entrypoint", PYTHON)
    words = ("-v", "-X", "pycache_prefix=/nowhere", "-m", "sidecar", "run")
    with Running(image, words, env, flags) as sidecar:
        assert len(compiled(sidecar, env)) > 100


def test_boto3_makes_a_client_of_the_metering_service(image: str) -> None:
    made = run_python(
        image, "import boto3; boto3.client('meteringmarketplace', region_name='us-east-1').register_usage"
    )
    assert made.returncode == 0, made.stderr


def test_no_variable_of_the_pod_decides_what_is_imported(image: str) -> None:
    finished = run(image, "--version", flags=("--env", "PYTHONPATH=/nowhere", "--env", "PYTHONVERBOSE=1"))
    assert finished.returncode == 0
    assert "import " not in finished.stderr


def seller_image(image: str, name: str, context: Path) -> str:
    finished = call("build", *build_flags(), "--build-arg", f"SIDECAR={image}", "-t", name, str(context))
    return "" if finished.returncode == 0 else finished.stdout + finished.stderr


def test_the_sellers_image_seals_the_product(image: str, tmp_path: Path) -> None:
    name = "localhost/entitlement-image-test-seller:good"
    assert seller_image(image, name, SELLER) == ""
    try:
        sealed = run(name, "settings", flags=("--env", "SIDECAR_ON_DENIED=exit"))
        assert sealed.returncode == 78
        assert "on_denied" in sealed.stderr.lower()
        assert "8f7k2m1q9w3e5r7t0y2u4i6o8" in run(name, "settings").stdout
        notes = {"image-one-platform", "manifest-dimensions-open", "manifest-open-settings"}
        assert {one.rule.id for one in check(name).findings} == notes, "a listing may have it as it is"
    finally:
        call("rmi", "-f", name)


def test_a_manifest_with_a_mistake_ends_the_sellers_build(image: str, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text((SELLER / "Dockerfile").read_text())
    (tmp_path / "product.yaml").write_text((SELLER / "product.yaml").read_text().replace("public_keys", "public_kyes"))
    said = seller_image(image, "localhost/entitlement-image-test-seller:bad", tmp_path)
    assert "public_kyes" in said
