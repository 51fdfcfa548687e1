"""The state directory and its disk: missing, foreign, read-only, full, slow; in mount namespaces where needed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from sidecar.doctor.checks import disk, state_dir
from sidecar.doctor.context import Context
from sidecar.doctor.finding import Finding, Status
from tests.integration.ledger.test_volume import UNSHARE, needs_mounts

from .support import Container, is_mended

ROOT = Path(__file__).parents[3]
DIMENSION = {"SIDECAR_DIMENSIONS": "requests"}
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs another user")


def state(container: Container) -> Path:
    return Path(container.env["SIDECAR_STATE_DIR"])


MOUNTS: Mapping[str, str] = {
    "memory": 'mount -t tmpfs none "$0"',
    "little room": 'mount -t tmpfs -o size=64k none "$0"',
    "no room": 'mount -t tmpfs -o size=64k none "$0" && head -c 65536 /dev/zero >"$0/filler"',
    "no inodes": 'mount -t tmpfs -o size=64k,nr_inodes=2 none "$0" && touch "$0/filler"',
    "read-only": 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0"',
    "layer": 'mount -t tmpfs none "$0" && cd "$0" && mkdir l u w'
    ' && mount -t overlay none -o lowerdir=l,upperdir=u,workdir=w "$0"',
}
"""What is mounted at a state directory, `$0`."""
CODE = """
import json, subprocess, sys
from pathlib import Path
from sidecar.doctor.context import Context
from sidecar.doctor.checks import disk, state_dir
root, mounts = Path(sys.argv[1]), json.loads(sys.argv[2])
for name, mount in mounts.items():
    state = root / name
    state.mkdir()
    if subprocess.run(["sh", "-c", mount, str(state)], stderr=subprocess.DEVNULL).returncode:
        continue
    env = {"SIDECAR_PRODUCT_CODE": "x", "SIDECAR_ENTITLEMENT_CHECK": "meter_usage", "SIDECAR_DIMENSIONS": "requests",
           "SIDECAR_STATE_DIR": str(state)}
    context = Context(env=env, manifest_path=root / "none", seal_path=root / "none", tokens=())
    for id_, check in ("disk", disk.check), ("state_dir", state_dir.check):
        found = check(context)
        print(json.dumps([name, id_, found.status.value, found.seen, found.fix]))
"""


@pytest.fixture(scope="module")
def mounted(tmp_path_factory: pytest.TempPathFactory) -> Mapping[tuple[str, str], Finding]:
    """What both checks find on each of these volumes: one process in a mount namespace looks at all of them."""
    root = tmp_path_factory.mktemp("volumes")
    line = [*(UNSHARE or []), sys.executable, "-c", CODE, str(root), json.dumps(MOUNTS)]
    done = subprocess.run(line, capture_output=True, text=True, timeout=60, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    rows = map(json.loads, done.stdout.splitlines())
    return {
        (name, id_): Finding(status=Status(status), seen=seen, rule="", fix=fix)
        for name, id_, status, seen, fix in rows
    }


# -- the directory


def test_a_directory_on_a_local_volume_passes_with_its_owner_and_mode(container: Container) -> None:
    container.set(**DIMENSION)
    found = container.check("state_dir")
    assert found.status is (Status.WARN if state_dir.kind_of(state(container)) in state_dir.LAYERS else Status.PASS)
    assert f"belongs to user {os.geteuid()}" in found.seen
    assert "(mode " in found.seen


def test_a_directory_that_is_created_at_the_start_is_none_yet(container: Container) -> None:
    found = container.set(SIDECAR_STATE_DIR=str(container.directory / "a" / "b"), **DIMENSION).check("state_dir")
    assert found.status is not Status.FAIL
    assert "`run` creates it" in found.seen
    assert not (container.directory / "a").exists()
    assert container.check("disk").status is Status.SKIP


@pytest.mark.parametrize(
    ("dimensions", "status"), [(DIMENSION, Status.FAIL), ({}, Status.WARN)], ids=["metered", "not"]
)
def test_a_file_in_its_place_fails_where_usage_is_metered(
    container: Container, dimensions: Mapping[str, str], status: Status
) -> None:
    file = container.directory / "file"
    file.touch()
    found = container.set(SIDECAR_STATE_DIR=str(file), **dimensions).check("state_dir")
    assert found.status is status
    assert "is no directory" in found.seen
    assert str(file) in found.fix


@needs_root
def test_a_directory_that_this_user_may_not_write_fails_with_the_group_to_set(container: Container) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as directory:
        Path(directory).chmod(0o755)
        context = container.set(SIDECAR_STATE_DIR=directory, **DIMENSION).context()
        assert context.settings
        os.seteuid(65_532)
        try:
            found, beside = state_dir.check(context), disk.check(context)
        finally:
            os.seteuid(0)
    assert found.status is Status.FAIL
    assert "the sidecar runs as user 65532" in found.seen
    assert "fsGroup of the pod to" in found.fix
    assert beside.status is Status.SKIP


@needs_root
def test_a_directory_behind_one_that_this_user_may_not_enter_fails(container: Container) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as directory:
        context = container.set(SIDECAR_STATE_DIR=f"{directory}/state", **DIMENSION).context()
        assert context.settings
        context.settings.state_dir.mkdir()
        os.seteuid(65_532)
        try:
            found, beside = state_dir.check(context), disk.check(context)
        finally:
            os.seteuid(0)
    assert found.status is Status.FAIL
    assert "(mode 700); the sidecar runs as user 65532" in found.seen
    assert beside.status is Status.SKIP


@needs_mounts
def test_memory_passes_and_says_when_it_ends(mounted: Mapping[tuple[str, str], Finding]) -> None:
    found = mounted["memory", "state_dir"]
    assert found.status is Status.PASS
    assert "tmpfs (memory: it ends with the pod or task" in found.seen


@needs_mounts
def test_the_layer_of_a_container_is_a_warning_that_says_what_is_lost(
    mounted: Mapping[tuple[str, str], Finding],
) -> None:
    if ("layer", "state_dir") not in mounted:
        pytest.skip("no overlay can be mounted here")
    found = mounted["layer", "state_dir"]
    assert found.status is Status.WARN
    assert "overlay (gone when the container is restarted)" in found.seen
    assert "emptyDir: {}" in found.fix


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "fuse.s3fs", "overlay", "ext4"])
def test_a_kind_of_volume_is_judged_by_the_table_of_mounts(
    container: Container, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    table = container.directory / "mountinfo"
    table.write_text(f"1 0 8:1 / / rw - ext4 /dev/vda rw\n2 1 0:9 / {state(container)} rw - {kind} server:/ rw\n")
    monkeypatch.setattr("sidecar.ledger.volume.MOUNTINFO", table)
    network = kind in ("nfs4", "cifs", "fuse.s3fs")
    expected = Status.FAIL if network else Status.WARN if kind == "overlay" else Status.PASS
    found = container.set(**DIMENSION).check("state_dir")
    assert found.status is expected
    assert kind in found.seen
    assert is_mended(found)
    without = container.set(SIDECAR_DIMENSIONS=None).check("state_dir")
    assert without.status is (Status.WARN if network else expected)


# -- the disk


def test_a_disk_with_room_passes_and_is_left_as_it_was(container: Container, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "SLOW_SECONDS", 60.0)  # this machine may be busy
    found = container.set(**DIMENSION).check("disk")
    assert found.status is Status.PASS
    assert "MiB" in found.seen
    assert "a sync takes" in found.seen
    assert list(state(container).iterdir()) == []


@needs_mounts
def test_a_volume_that_is_mounted_read_only_fails_as_that_alone(mounted: Mapping[tuple[str, str], Finding]) -> None:
    found = mounted["read-only", "disk"]
    assert found.status is Status.FAIL
    assert "mounted read-only" in found.seen
    assert "readOnly: true" in found.fix
    assert mounted["read-only", "state_dir"].status is not Status.FAIL


@needs_mounts
@pytest.mark.parametrize(
    ("name", "status", "says"),
    [
        ("little room", Status.WARN, "0 of 0 MiB"),
        ("no room", Status.FAIL, "No space left on device"),
        ("no inodes", Status.FAIL, "0 inodes free"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_a_volume_without_room_is_found(
    mounted: Mapping[tuple[str, str], Finding], name: str, status: Status, says: str
) -> None:
    found = mounted[name, "disk"]
    assert found.status is status
    assert says in found.seen
    assert is_mended(found)


def test_a_volume_that_takes_no_file_fails(container: Container) -> None:
    """/proc has no room for files of others, and gives neither of the usual reasons."""
    found = container.set(SIDECAR_STATE_DIR="/proc", **DIMENSION).check("disk")
    assert found.status is Status.FAIL
    assert "a small file could not be written" in found.seen
    assert "dmesg" in found.fix


def test_a_slow_sync_is_a_warning(container: Container, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "SLOW_SECONDS", -1.0)
    found = container.set(**DIMENSION).check("disk")
    assert found.status is Status.WARN
    assert "IOPS" in found.fix


def test_wrong_settings_name_no_directory(container: Container) -> None:
    context: Context = container.set(SIDECAR_ON_DENIED="perhaps").context()
    assert state_dir.check(context).status is Status.SKIP
    assert disk.check(context).status is Status.SKIP
