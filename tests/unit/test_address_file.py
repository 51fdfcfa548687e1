"""The address file: whole or absent, readable by all, and its owner's while that runs."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from sidecar import address_file
from sidecar.address_file import NotAnAddressFile

INSTANCE = "0123456789abcdef" * 2
FIELDS = {
    "probe": "http://127.0.0.1:43117",
    "api": "unix:/run/gate/api.sock",
    "instance": INSTANCE,
    "product_code": "product",
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "addresses.json"


def written_by_another(path: Path) -> int:
    """A process that wrote the file and runs until the pipe that is returned is closed."""
    ready, tell = os.pipe()
    hold, release = os.pipe()
    if os.fork() == 0:
        os.close(release)
        address_file.write(str(path), FIELDS)
        os.write(tell, b"x")
        os.read(hold, 1)
        os._exit(0)
    os.close(hold)
    os.close(tell)
    assert os.read(ready, 1) == b"x"
    os.close(ready)
    return release


def test_what_is_written_is_read_and_may_be_read_by_every_user(path: Path) -> None:
    before = os.umask(0o077)
    try:
        address_file.write(str(path), FIELDS)
    finally:
        os.umask(before)
    assert address_file.read(str(path)) == FIELDS
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert os.listdir(path.parent) == [path.name], "nothing else is left"


def test_a_file_is_in_use_until_the_process_that_wrote_it_ends(path: Path) -> None:
    release = written_by_another(path)
    assert address_file.in_use(str(path))
    os.close(release)
    os.wait()
    assert not address_file.in_use(str(path))
    assert address_file.read(str(path)) == FIELDS, "it stays: the next start tries the same ports"


def test_a_reader_does_not_keep_a_file_in_use(path: Path) -> None:
    path.write_text(json.dumps(FIELDS))
    with path.open():
        address_file.read(str(path))
        assert not address_file.in_use(str(path))


@pytest.mark.parametrize(
    ("env", "name"),
    [
        ({}, "addresses.json"),
        ({"POD_UID": "7f-1"}, "addresses-7f-1.json"),
        ({"ECS_CONTAINER_METADATA_URI_V4": "http://169.254.170.2/v4/a1-2"}, "addresses-a1-2.json"),
        ({"POD_UID": "../../etc/é" + "x" * 99}, f"addresses-etc{'x' * 61}.json"),
    ],
    ids=["neither", "pod", "task", "hostile"],
)
def test_each_pod_or_task_has_a_file_of_its_own_in_a_state_directory(env: dict[str, str], name: str) -> None:
    assert address_file.default_path("/state", env) == f"/state/{name}"


def test_a_new_file_takes_the_place_of_an_old_one_at_once(path: Path) -> None:
    path.write_text(json.dumps(FIELDS))
    before = path.stat().st_ino
    with path.open() as reading:
        address_file.write(str(path), FIELDS | {"probe": "http://127.0.0.1:2"})
        assert json.load(reading) == FIELDS, "who reads the old one reads it whole"
    assert path.stat().st_ino != before


def test_what_a_start_left_half_written_does_not_stand_in_the_way(path: Path) -> None:
    (path.parent / ".addresses.json.new").write_text('{"probe"')
    address_file.write(str(path), FIELDS)
    assert address_file.read(str(path)) == FIELDS


@pytest.mark.parametrize("make", [lambda path: None, lambda path: path.touch()], ids=["missing", "empty"])
def test_a_file_that_is_missing_or_empty_is_not_there_yet(path: Path, make: object) -> None:
    assert callable(make)
    make(path)
    with pytest.raises(FileNotFoundError):
        address_file.read(str(path))


@pytest.mark.parametrize(
    "content",
    [
        "root:x:0:0",
        "[]",
        "{}",
        "[" * 5000,
        json.dumps(FIELDS | {"probe": 1}),
        json.dumps(FIELDS | {"instance": "short"}),
        json.dumps(FIELDS | {"instance": "x\r\nHost: evil" + "0" * 19}),
        json.dumps(FIELDS | {"api": "unix:/" + "x" * 9000}),
    ],
)
def test_what_is_no_address_file_is_told(path: Path, content: str) -> None:
    path.write_text(content)
    with pytest.raises(NotAnAddressFile):
        address_file.read(str(path))


def test_a_pipe_is_not_waited_for(path: Path) -> None:
    os.mkfifo(path)
    with pytest.raises(NotAnAddressFile, match="no regular file"):
        address_file.read(str(path))
