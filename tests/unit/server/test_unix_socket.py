"""Which Unix socket is made, with which mode and group, and what that is there already is replaced."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from sidecar import directory_lock
from sidecar.errors import SettingsError
from sidecar.server import listeners, unix_socket
from sidecar.server.unix_socket import Access, SocketFault
from sidecar.settings import UnixSocket
from tests.fakes.config import settings

OWN = Access(0o660)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "api.sock"


def made(path: Path, access: Access = OWN) -> Iterator[tuple[socket.socket, unix_socket.SocketFile]]:
    sock, file = unix_socket.listen(path, access, 8)
    try:
        yield sock, file
    finally:
        sock.close()


def left_behind(path: Path) -> None:
    """The socket of a process that was killed."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))
        sock.listen()


def reached(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(5)
        try:
            client.connect(str(path))
        except OSError:
            return False
        return True


@pytest.mark.parametrize("mode", [0o600, 0o660, 0o666, 0o777])
def test_the_socket_has_its_mode_whatever_the_umask(path: Path, mode: int) -> None:
    before = os.umask(0o077)
    try:
        for sock, _ in made(path, Access(mode)):
            assert stat.S_IMODE(path.lstat().st_mode) == mode
            assert reached(path)
            assert not sock.get_inheritable()
        assert os.umask(0o077) == 0o077, "the umask is what it was"
    finally:
        os.umask(before)


def test_until_it_has_mode_and_group_nobody_can_connect(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The two calls that widen it come while nothing listens, and after a bind that only its owner may use."""
    seen: list[tuple[int, bool]] = []
    chmod: Callable[..., None] = os.chmod

    def looking(where: Path, mode: int) -> None:
        seen.append((stat.S_IMODE(Path(where).stat().st_mode), reached(path)))
        chmod(where, mode)

    monkeypatch.setattr(unix_socket.os, "chmod", looking)
    before = os.umask(0)
    try:
        for _ in made(path, Access(0o666)):
            assert seen == [(0o600, False)]
    finally:
        os.umask(before)


@pytest.mark.parametrize("other", ["file", "nothing"])
def test_a_link_put_in_its_place_opens_no_other_file(path: Path, monkeypatch: pytest.MonkeyPatch, other: str) -> None:
    """By a process that may write to the directory, in the moment between bind and chmod."""
    ledger = path.parent / "ledger.db"
    ledger.touch(0o600)
    bind = socket.socket.bind

    def replaced(sock: socket.socket, address: str) -> None:
        bind(sock, address)
        path.unlink()
        if other == "file":
            path.symlink_to(ledger)

    monkeypatch.setattr(socket.socket, "bind", replaced)
    with pytest.raises(SocketFault, match="another process took the socket away as it was made"):
        unix_socket.listen(path, Access(0o666), 8)
    assert stat.S_IMODE(ledger.stat().st_mode) == 0o600


def test_a_group_of_the_process_is_given_to_it_by_number_and_by_name(path: Path) -> None:
    import grp

    gid = next(iter({*os.getgroups(), os.getegid()}))
    for group in (str(gid), grp.getgrgid(gid).gr_name):
        for sock, file in made(path, Access(0o660, group)):
            assert path.lstat().st_gid == gid
            unix_socket.remove(file)
            sock.close()


def test_a_group_that_nobody_has_is_refused_and_nothing_is_left(path: Path) -> None:
    with pytest.raises(SocketFault, match=r"'no-such-group'.*is not known here; give its number"):
        unix_socket.listen(path, Access(0o660, "no-such-group"), 8)
    assert not path.exists()


def as_another_user(make: Callable[[], object], uid: int = 65532) -> str:
    """Return the fault of what an ordinary user does; empty where there is none."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        with suppress(BaseException):  # nothing may return from the fork into pytest
            if os.geteuid() == 0:
                os.setgroups([])
                os.setgid(uid)
                os.setuid(uid)
            try:
                make()
            except SocketFault as exc:
                os.write(writer, str(exc).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as found:
        text = found.read()
    os.waitpid(pid, 0)
    return text


@pytest.fixture
def shared() -> Iterator[Path]:
    """A directory that every user may write to, as an emptyDir is."""
    with TemporaryDirectory() as directory:
        Path(directory).chmod(0o777)
        yield Path(directory)


def test_a_group_that_the_process_is_not_in_is_refused_and_nothing_is_left(shared: Path) -> None:
    path, access = shared / "api.sock", Access(0o660, "4242")
    for make in (lambda: unix_socket.listen(path, access, 8), lambda: unix_socket.check(path, access)):
        fault = as_another_user(make)
        assert fault.startswith("its group 4242 (SIDECAR_API_SOCKET_GROUP) is none of this process")
        assert "supplementalGroups" in fault
        assert not path.exists()


def test_a_directory_that_cannot_be_written_is_named(shared: Path) -> None:
    path = shared / "api.sock"
    shared.chmod(0o555)
    for make in (lambda: unix_socket.listen(path, OWN, 8), lambda: unix_socket.check(path, OWN)):
        assert f"{shared}: Permission denied. Mount a volume there that user" in as_another_user(make)
    shared.chmod(0o777)
    assert as_another_user(lambda: unix_socket.check(path, OWN)) == ""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become two other users")
@pytest.mark.parametrize(("mode", "product", "connects"), [(0o660, 65533, False), (0o666, 65533, True)])
def test_a_product_of_another_user_and_group_connects_only_where_the_mode_lets_it(
    shared: Path, mode: int, product: int, connects: bool
) -> None:
    def connecting() -> None:
        if not reached(shared / "api.sock"):
            raise SocketFault("refused")

    def serving() -> None:
        sock, _ = unix_socket.listen(shared / "api.sock", Access(mode), 8)
        with sock:
            raise SocketFault(f"made {stat.S_IMODE((shared / 'api.sock').lstat().st_mode):o}")

    assert as_another_user(serving) == f"made {mode:o}"
    (shared / "api.sock").unlink()
    for _ in made(shared / "api.sock", Access(mode)):
        assert (as_another_user(connecting, product) == "") is connects


def test_the_socket_of_a_dead_process_is_replaced(path: Path) -> None:
    left_behind(path)
    assert not reached(path)
    for _ in made(path):
        assert reached(path)


def test_the_socket_of_a_living_process_is_an_error_that_names_it(path: Path) -> None:
    for _ in made(path):
        with pytest.raises(SocketFault, match=rf"process {os.getpid()} \(user {os.getuid()}\) listens on it"):
            unix_socket.listen(path, OWN, 8)
        assert reached(path), "it is still the first one's"


@pytest.mark.parametrize("kind", ["file", "directory", "fifo", "link", "datagram"])
def test_anything_else_that_is_there_is_never_replaced(path: Path, kind: str) -> None:
    other = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    make: dict[str, Callable[[], object]] = {
        "file": path.touch,
        "directory": path.mkdir,
        "fifo": lambda: os.mkfifo(path),
        "link": lambda: path.symlink_to("elsewhere.sock"),
        "datagram": lambda: other.bind(str(path)),
    }
    make[kind]()
    before = path.lstat().st_ino
    for look in (lambda: unix_socket.listen(path, OWN, 8), lambda: unix_socket.check(path, OWN)):
        with pytest.raises(SocketFault, match="not replaced"):
            look()
    assert path.lstat().st_ino == before
    other.close()


def test_a_directory_that_is_missing_is_named(path: Path) -> None:
    with pytest.raises(SocketFault, match=r"none: No such file or directory. Mount a volume there that user \d+ can"):
        unix_socket.listen(path.parent / "none" / "api.sock", OWN, 8)


def test_a_check_leaves_a_stale_socket_as_it_is(path: Path) -> None:
    left_behind(path)
    before = path.lstat().st_ino
    unix_socket.check(path, OWN)
    assert path.lstat().st_ino == before


def test_of_two_that_start_at_once_on_a_stale_socket_one_listens_and_one_fails(path: Path) -> None:
    for _ in range(20):
        left_behind(path)
        outcomes: list[socket.socket | SocketFault] = []
        begin = threading.Barrier(2)

        def start(outcomes: list[socket.socket | SocketFault] = outcomes, begin: threading.Barrier = begin) -> None:
            begin.wait()
            try:
                outcomes.append(unix_socket.listen(path, OWN, 8)[0])
            except SocketFault as exc:
                outcomes.append(exc)

        threads = [threading.Thread(target=start) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        (winner,) = [one for one in outcomes if isinstance(one, socket.socket)]
        assert reached(path), "the one that listens is the one that the path leads to"
        winner.close()
        path.unlink()


def test_a_lock_that_another_process_keeps_is_not_waited_for_for_ever(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever can read the directory can lock it."""
    monkeypatch.setattr(directory_lock, "SECONDS_MAX", 0.1)
    with directory_lock.locked(path.parent), pytest.raises(SocketFault, match=r"has held its lock \(flock\) for 0.1 s"):
        unix_socket.listen(path, OWN, 8)


def test_what_another_process_put_in_its_place_is_not_removed(path: Path) -> None:
    for _, file in made(path):
        path.unlink()
        for _ in made(path):
            unix_socket.remove(file)
            assert reached(path)


# -- as settings


def test_the_products_listener_may_be_a_socket_and_a_port(path: Path) -> None:
    found = listeners.listen(settings(probe_bind="127.0.0.1:0", api_bind=f"unix:{path},127.0.0.1:0"))
    assert [one.name for one in found] == ["probe", "api", "api"]
    assert [str(one.address) for one in found if one.file] == [f"unix:{path}"]
    assert reached(path)
    listeners.close(found)
    assert not path.exists(), "it is removed at the end"


ON_PORTS = """
import sys
from sidecar.app import run
from sidecar.server import listeners
from tests.fakes.config import settings
listeners.close(listeners.listen(settings(probe_bind="127.0.0.1:0", api_bind="127.0.0.1:0")))
sys.exit(", ".join({"sidecar.server.unix_socket", "sidecar.directory_lock"} & set(sys.modules)) or 0)
"""


def test_a_sidecar_without_a_socket_does_not_carry_what_makes_one() -> None:
    ended = subprocess.run([sys.executable, "-c", ON_PORTS], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr.strip()) == (0, ""), ended.stderr


def test_a_socket_that_cannot_be_made_leaves_no_port_listening(path: Path) -> None:
    path.touch()
    with pytest.raises(SettingsError) as caught:
        listeners.listen(settings(probe_bind="127.0.0.1:0", api_bind=f"unix:{path}"))
    (found,) = caught.value.problems
    assert found.setting == "SIDECAR_API_BIND"
    assert found.fault.startswith(f"cannot listen on unix:{path}: what is there is no socket")


def test_a_port_that_is_taken_takes_the_socket_back(path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        given = settings(probe_bind="127.0.0.1:0", api_bind=f"unix:{path},127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(SettingsError):
            listeners.listen(given)
    assert not path.exists()


@pytest.mark.parametrize(("bytes_", "fits"), [(107, True), (108, False)])
def test_the_longest_path_is_the_kernels(tmp_path: Path, bytes_: int, fits: bool) -> None:
    """It is checked while the settings are read. The kernel is asked with a name alone: no directory has that path."""
    path = "/" + "d" * (bytes_ - 1)
    program = "import socket, sys\nsocket.socket(socket.AF_UNIX).bind(sys.argv[1])"
    bound = subprocess.run(
        [sys.executable, "-S", "-c", program, "d" * bytes_], cwd=tmp_path, capture_output=True, text=True, timeout=30
    )
    assert (bound.returncode == 0) is fits, bound.stderr
    if fits:
        assert settings(api_bind=f"unix:{path}").api_bind == (UnixSocket(path=Path(path)),)
        return
    with pytest.raises(SettingsError, match="108 bytes; a Unix socket's has at most 107"):
        settings(api_bind=f"unix:{path}")
