"""What the first worker leaves to the next."""

from __future__ import annotations

import os
import socket
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sidecar.app import first_worker
from sidecar.app.first_worker import Begun
from sidecar.restart_state import RestartState
from sidecar.server import unix_socket
from sidecar.server.listeners import Listening
from sidecar.server.supervised import Supervised
from sidecar.server.unix_socket import Access
from sidecar.settings.files import Files
from tests.fakes.config import settings


@pytest.fixture
def begun(tmp_path: Path) -> Iterator[Begun]:
    """A port, a Unix socket, and the descriptor of an address file."""
    port = socket.create_server(("127.0.0.1", 0))
    sock, file = unix_socket.listen(tmp_path / "api.sock", Access(0o600), 8)
    kept_open = os.open(tmp_path, os.O_RDONLY)
    listening = (Listening(name="probe", sock=port), Listening(name="api", sock=sock, file=file))
    yield Begun(files=Files({"token x": "é"}), listening=listening, kept_open=(kept_open,))
    port.close()
    sock.close()
    os.close(kept_open)


def inodes(found: Begun) -> list[int]:
    return [os.fstat(one.sock.fileno()).st_ino for one in found.listening] + [
        os.fstat(one).st_ino for one in found.kept_open
    ]


def closed(found: Begun) -> None:
    for one in found.listening:
        one.sock.close()
    for handle in found.kept_open:
        os.close(handle)


def test_every_worker_that_follows_has_all_of_it(begun: Begun) -> None:
    shared = Supervised()
    assert first_worker.take(shared) is None
    first_worker.hand_on(shared, begun, RestartState(shared.restart_state))
    for _ in range(2):
        found = first_worker.take(shared)
        assert found is not None
        assert found.files.contents == {"token x": "é"}
        assert [(one.name, one.file, one.address) for one in found.listening] == [
            (one.name, one.file, one.address) for one in begun.listening
        ]
        assert inodes(found) == inodes(begun)
        closed(found)


def test_all_of_it_is_left_where_the_worker_alone_ends(begun: Begun, tmp_path: Path) -> None:
    shared = Supervised()
    shared.supervisor = os.getppid()
    first_worker.hand_on(shared, begun, RestartState(shared.restart_state))
    first_worker.close(shared, begun)
    found = first_worker.take(shared)
    assert found is not None
    assert found.files.contents == begun.files.contents
    assert (tmp_path / "api.sock").exists()
    closed(found)


@pytest.mark.parametrize("told", [True, False])
def test_nothing_is_left_once_the_supervisor_ends(begun: Begun, tmp_path: Path, told: bool) -> None:
    shared = Supervised()
    if told:
        shared.supervisor = os.getppid()
        shared.end(0.0)  # otherwise it is another process than this one's parent: it has ended
    first_worker.hand_on(shared, begun, RestartState(shared.restart_state))
    first_worker.close(shared, begun)
    assert first_worker.take(shared) is None
    assert not (tmp_path / "api.sock").exists()


def test_the_supervisor_knows_which_files_to_remove_and_no_content(begun: Begun) -> None:
    shared = Supervised()
    state = RestartState(shared.restart_state)
    first_worker.hand_on(shared, begun, state)
    file = begun.listening[1].file
    assert file is not None
    assert state.read() == {"socket_files": [[str(file.path), file.device, file.inode]]}


def test_it_is_in_no_file_that_has_a_name(begun: Begun) -> None:
    shared = Supervised()
    before = set(os.listdir("/proc/self/fd"))
    first_worker.hand_on(shared, begun, RestartState(shared.restart_state))
    assert set(os.listdir("/proc/self/fd")) == before, "nor open here any more"
    found = first_worker.take(shared)
    assert found is not None
    new = set(os.listdir("/proc/self/fd")) - before
    assert all(stat.S_ISSOCK(os.fstat(int(one)).st_mode) or stat.S_ISDIR(os.fstat(int(one)).st_mode) for one in new)
    closed(found)


@pytest.mark.parametrize(
    ("killed_in", "flush_seconds", "left"),
    [(None, 10, 10), (60.0, 10, 10), (4.4, 10, 3), (1.2, 10, 1), (-5.0, 10, 1), (4.4, 2, 2)],
)
def test_a_worker_that_finishes_for_another_has_what_is_left(
    killed_in: float | None, flush_seconds: int, left: int
) -> None:
    shared = Supervised()
    if killed_in is not None:
        shared.end(time.monotonic() + killed_in)
    assert first_worker.in_time(settings(flush_seconds=flush_seconds), shared).flush_seconds == left
