"""The whole process beside an API server: through a worker's crash, a denial that ends it, and without rights."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sidecar.emulator import Emulator
from tests.acceptance.support import Sidecar, eventually
from tests.integration.pod_status.cluster_api import TOKEN, UID, ClusterApi


def with_api_mount(mount: Path) -> str:
    """Code that lets a sidecar find the mount at another place."""
    return (
        "from pathlib import Path\n"
        "from functools import partial\n"
        "from sidecar.app import wiring\n"
        f"wiring.pod_status_reporter = partial(wiring.pod_status_reporter, mount=Path({str(mount)!r}))\n"
    )


POD = {
    "KUBERNETES_SERVICE_HOST": "127.0.0.1",
    "KUBERNETES_SERVICE_PORT": "9",
    "POD_NAME": "product-1",
    "POD_NAMESPACE": "shop",
    "SERVICE_ACCOUNT": "seller",
}


@pytest.fixture
def api(tmp_path: Path) -> Iterator[ClusterApi]:
    directory = tmp_path / "cluster"
    directory.mkdir()
    with ClusterApi(directory) as server:
        yield server


def beside(api: ClusterApi, aws: Emulator, directory: Path, **settings: str) -> Sidecar:
    sidecar = Sidecar(aws, directory, POD_UID=UID, **(POD | {"KUBERNETES_SERVICE_PORT": str(api.port)}), **settings)
    # Importing the Kubernetes client takes a busy machine longer than the end waits for.
    patient = "from sidecar.pod_status import reporter\nreporter.LAST_WRITE_SECONDS = 30.0\n"
    code = (
        with_api_mount(api.mount) + patient + "import sys\nfrom sidecar.__main__ import main\nsys.exit(main(['run']))\n"
    )
    sidecar.line = [sys.executable, "-c", code]
    return sidecar


def status(api: ClusterApi) -> str | None:
    return (api.shown() or {}).get("status")


def reasons(api: ClusterApi) -> dict[str, int]:
    return {one["reason"]: one["count"] for one in api.events.values()}


@pytest.mark.slow
def test_the_pod_shows_where_the_gate_stands_also_after_a_worker_crashed(
    api: ClusterApi, aws: Emulator, tmp_path: Path
) -> None:
    aws.unsubscribe()
    with beside(api, aws, tmp_path, SIDECAR_REASK_SECONDS="1") as sidecar:
        eventually(lambda: status(api) == "False")
        assert (api.shown() or {})["reason"] == "CustomerNotEntitled"
        aws.subscribe()
        eventually(lambda: status(api) == "True")
        eventually(lambda: sidecar.api("GET /v1/status")[1]["kubernetes"]["condition"])
        api.conditions.pop()
        os.kill(sidecar.worker(), signal.SIGKILL)
        eventually(lambda: status(api) == "True")
        assert reasons(api) == {"NotEntitled": 1, "Entitled": 1}
        eventually(lambda: sidecar.api("GET /v1/status")[1]["kubernetes"]["condition"])
        shown = sidecar.api("GET /v1/status")[1]
        assert shown["kubernetes"] == {"condition": True, "reachable": True, "refused": []}
        assert reasons(api) == {"NotEntitled": 1, "Entitled": 1}
        assert shown["loops"]["kubernetes"] == "running"
    assert status(api) == "True", "a pod that goes does not need it, one whose sidecar restarts keeps its product"
    assert TOKEN not in sidecar.text()


@pytest.mark.slow
def test_a_denial_that_ends_the_process_is_told_before(api: ClusterApi, aws: Emulator, tmp_path: Path) -> None:
    aws.unsubscribe()
    with beside(api, aws, tmp_path, SIDECAR_ON_DENIED="exit") as sidecar:
        assert sidecar.ended(60) == 77
    assert status(api) == "False"
    assert reasons(api) == {"NotEntitled": 1}


@pytest.mark.slow
@pytest.mark.parametrize("answer", [403, 503])
def test_without_the_cluster_everything_else_works_and_says_what_is_missing(
    api: ClusterApi, aws: Emulator, tmp_path: Path, answer: int
) -> None:
    api.fault = lambda _method, _path: (answer, None)
    with beside(api, aws, tmp_path, SIDECAR_DIMENSIONS="requests") as sidecar:
        sidecar.shows("entitled")
        if answer == 403:
            assert "rbac.create" in eventually(lambda: sidecar.logged("kubernetes.refused"))["hint"]
        else:
            assert eventually(lambda: sidecar.logged("kubernetes.held"))["code"] == answer
        assert sidecar.probe("/healthz")[0] == 200
        assert sidecar.command("report", "requests", "3").returncode == 0
    assert sidecar.ended() == 0
    assert TOKEN not in sidecar.text()


def test_a_pod_with_the_usual_token_alone_did_not_ask_for_this(aws: Emulator, tmp_path: Path) -> None:
    with Sidecar(aws, tmp_path, **POD) as sidecar:
        sidecar.shows("entitled")
        assert sidecar.api("GET /v1/status")[1]["kubernetes"] is None
    assert "kubernetes." not in sidecar.text()
