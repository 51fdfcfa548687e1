"""Where the listeners are written, which ports a restart tries, and what is never replaced."""

from __future__ import annotations

import errno
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sidecar import address_file
from sidecar.app import addresses
from sidecar.errors import SettingsError
from sidecar.server import listeners
from sidecar.server.listeners import Listening
from sidecar.settings import Address, Settings
from tests.fakes.config import PRODUCT, settings
from tests.ports import free_port
from tests.unit.test_address_file import FIELDS, INSTANCE, written_by_another


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "addresses.json"


def free(path: Path, **given: str) -> Settings:
    return settings(**{"probe_bind": ":0", "api_bind": "127.0.0.1:0", "address_file": str(path)} | given)


@contextmanager
def started(of: Settings, instance: str = INSTANCE) -> Iterator[tuple[Listening, ...]]:
    where = addresses.file_of(of)
    assert where
    found = listeners.listen(of, earlier=addresses.earlier_ports(where))
    try:
        addresses.publish(where, of, found, instance)
        yield found
    finally:
        listeners.close(found)


def ports(found: tuple[Listening, ...]) -> list[int]:
    return [one.address.port for one in found if isinstance(one.address, Address)]


def another_start(path: Path) -> None:
    """Let the file be that of a process that has ended, as this one holds its lock."""
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content)


def test_the_file_says_where_both_listeners_are(path: Path) -> None:
    with started(free(path)) as found:
        probe, api = ports(found)
        assert 0 not in (probe, api)
        assert json.loads(path.read_text()) == {
            "probe": f"http://127.0.0.1:{probe}",
            "api": f"http://127.0.0.1:{api}",
            "instance": INSTANCE,
            "product_code": PRODUCT,
        }


def test_a_socket_stands_in_it_before_a_port(path: Path, tmp_path: Path) -> None:
    with started(free(path, api_bind=f"127.0.0.1:0,unix:{tmp_path}/api.sock")):
        assert address_file.read(str(path))["api"] == f"unix:{tmp_path}/api.sock"


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({"probe_bind": ":1", "api_bind": "127.0.0.1:2"}, None),
        ({"probe_bind": ":1", "api_bind": "unix:/run/a.sock"}, None),
        ({"probe_bind": ":0", "api_bind": "127.0.0.1:2"}, "/state/addresses.json"),
        ({"probe_bind": ":1", "api_bind": "unix:/run/a.sock,127.0.0.1:0"}, "/state/addresses.json"),
        ({"probe_bind": ":1", "address_file": "/run/gate/a.json"}, "/run/gate/a.json"),
        ({"probe_bind": ":0", "address_file": "/run/gate/a.json"}, "/run/gate/a.json"),
    ],
)
def test_without_the_setting_a_file_is_written_only_where_a_port_is_not_known(
    given: dict[str, str], name: str | None
) -> None:
    found = addresses.file_of(settings(**{"state_dir": "/state"} | given))
    assert (str(found) if found else None) == name


def test_a_restart_has_the_ports_that_it_had(path: Path) -> None:
    with started(free(path)) as first:
        before = ports(first)
    another_start(path)
    with started(free(path)) as second:
        assert ports(second) == before


def test_a_port_that_is_another_pods_by_now_is_not_waited_for(path: Path) -> None:
    with started(free(path)) as first:
        probe, api = ports(first)
    another_start(path)
    with socket.create_server(("", probe)), started(free(path)) as second:
        assert ports(second)[0] not in (0, probe)
        assert ports(second)[1] == api


def test_a_port_that_is_set_is_taken_whatever_the_file_says(path: Path) -> None:
    wanted = free_port()
    path.write_text(json.dumps(FIELDS))
    with started(free(path, probe_bind=f"127.0.0.1:{wanted}")) as found:
        assert ports(found)[0] == wanted


@pytest.mark.parametrize(
    "probe", ["http://127.0.0.1:99999", "http://127.0.0.1:0", "http://x", "unix:/a:1", "ftp://h:1"]
)
def test_a_port_that_is_none_is_not_tried(path: Path, probe: str) -> None:
    path.write_text(json.dumps(FIELDS | {"probe": probe}))
    assert addresses.earlier_ports(path) == {}


def test_the_file_of_a_sidecar_that_runs_is_not_taken_over(path: Path) -> None:
    release = written_by_another(path)
    with pytest.raises(SettingsError) as caught:
        addresses.earlier_ports(path)
    (found,) = caught.value.problems
    assert found.setting == "SIDECAR_ADDRESS_FILE"
    assert f"{path} is the file of another sidecar, which runs (probes at http://127.0.0.1:43117)" in found.fault
    os.close(release)
    os.wait()
    assert addresses.earlier_ports(path) == {"probe": 43117}


def test_of_two_that_start_at_once_the_second_is_refused(path: Path) -> None:
    """It found no file when it looked for ports, and one when it wrote its own."""
    of = free(path)
    found = listeners.listen(of, earlier=addresses.earlier_ports(path))
    release = written_by_another(path)
    try:
        with pytest.raises(SettingsError, match="is the file of another sidecar"):
            addresses.publish(path, of, found, INSTANCE)
        assert address_file.read(str(path)) == FIELDS
    finally:
        listeners.close(found)
        os.close(release)
        os.wait()


def test_a_file_that_is_something_else_is_not_replaced(path: Path) -> None:
    path.write_text("notes of a person")
    with pytest.raises(SettingsError, match="is not the address file of a sidecar, and is not replaced"):
        addresses.earlier_ports(path)
    assert path.read_text() == "notes of a person"


def test_a_socket_is_not_replaced(path: Path) -> None:
    """As the product's own listener, under the same name by mistake."""
    of = free(path, api_bind=f"unix:{path}")
    found = listeners.listen(of, earlier=addresses.earlier_ports(path))
    try:
        with pytest.raises(SettingsError, match="is no regular file, and is not replaced"):
            addresses.publish(path, of, found, INSTANCE)
        assert path.is_socket()
    finally:
        listeners.close(found)


def test_what_cannot_be_read_is_not_replaced(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be another user's, in a directory that both can write to."""

    def refused(path: str) -> dict[str, str]:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)

    path.write_text("another user's")
    monkeypatch.setattr(address_file, "read", refused)
    of = free(path)
    found = listeners.listen(of, earlier=addresses.earlier_ports(path))
    try:
        with pytest.raises(SettingsError, match=r"cannot be written: Permission denied"):
            addresses.publish(path, of, found, INSTANCE)
        assert path.read_text() == "another user's"
    finally:
        listeners.close(found)


def test_a_file_that_is_set_and_cannot_be_written_is_a_settings_error(path: Path) -> None:
    of = free(path.parent / "missing" / "addresses.json")
    found = listeners.listen(of)
    with pytest.raises(SettingsError, match=r"cannot be written: No such file or directory\. Mount a volume there"):
        addresses.publish(path.parent / "missing" / "addresses.json", of, found, INSTANCE)
    listeners.close(found)


def test_a_state_directory_that_cannot_be_written_does_not_keep_it_from_starting(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "state").write_text("a file in the way")
    of = settings(probe_bind=":0", api_bind="127.0.0.1:0", state_dir=str(tmp_path / "state"))
    with started(of) as found:
        assert 0 not in ports(found)


def test_a_state_directory_that_is_missing_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    of = settings(probe_bind=":0", api_bind="127.0.0.1:0", state_dir=str(tmp_path / "state"))
    with started(of):
        assert (tmp_path / "state" / "addresses.json").exists()
        assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700
