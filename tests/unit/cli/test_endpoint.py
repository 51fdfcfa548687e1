"""Which sidecar the commands ask, and when its answer counts for nothing."""

from __future__ import annotations

import json
import os
import socket
import threading
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from sidecar import address_file
from sidecar.cli import endpoint, local_client, usage
from sidecar.cli import wait as wait_command
from sidecar.errors import Exit, SettingsError
from tests.fakes.config import NOWHERE
from tests.fakes.peer import Peer, Received, gate_reply, http_answer
from tests.ports import free_port
from tests.unit.test_address_file import FIELDS, INSTANCE

Env = pytest.MonkeyPatch
OPEN, DENIED = gate_reply(200, True, "entitled"), gate_reply(403, False, "denied")
OTHER_INSTANCE = http_answer(421, {"reason": "other_instance", "detail": "Read the address file again."})


@pytest.fixture(autouse=True)
def bare(monkeypatch: Env) -> None:
    for name in [name for name in os.environ if name.startswith(("SIDECAR_", "KUBERNETES_", "POD_UID", "ECS_"))]:
        monkeypatch.delenv(name)


@pytest.fixture
def path(tmp_path: Path, monkeypatch: Env) -> Path:
    monkeypatch.setenv("SIDECAR_ADDRESS_FILE", str(tmp_path / "addresses.json"))
    return tmp_path / "addresses.json"


def of_product(answer: bytes, code: str = "product") -> bytes:
    """The gate's answer as that product's sidecar gives it."""
    head, _, body = answer.partition(b"\r\n\r\n")
    found = json.loads(body) | {"product_code": code}
    return http_answer(int(head.split()[1]), found)


def write(path: Path, peer: Peer, **more: str) -> None:
    path.write_text(json.dumps(FIELDS | {"probe": peer.url, "api": peer.url} | more))


def healthcheck() -> tuple[bool, str]:
    return local_client.healthcheck(str(NOWHERE))


class SocketPeer:
    """A server on a Unix socket that always gives one answer."""

    def __init__(self, path: Path, answer: bytes) -> None:
        self.url = f"unix:{path}"
        self._sock = socket.socket(socket.AF_UNIX)
        self._sock.bind(str(path))
        self._sock.listen()
        self._answer = answer
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._sock.accept()
            except OSError:
                return
            with client:
                client.recv(65_536)
                client.sendall(self._answer)

    def __enter__(self) -> SocketPeer:
        return self

    def __exit__(self, *_: object) -> None:
        self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()
        self._thread.join(5)


# -- a Unix socket


def test_the_gate_is_read_at_the_socket_and_never_at_a_port_beside_it(monkeypatch: Env, tmp_path: Path) -> None:
    """On a node's own network whatever has port 8484 may be another pod's sidecar."""
    with Peer([OPEN]) as another, SocketPeer(tmp_path / "api.sock", DENIED):
        monkeypatch.setenv("SIDECAR_PROBE_BIND", f":{another.port}")
        monkeypatch.setenv("SIDECAR_API_BIND", f"unix:{tmp_path}/api.sock")
        assert healthcheck()[0] is False
        assert wait_command.wait(5, None) == Exit.DENIED
        monkeypatch.setenv("SIDECAR_API_BIND", f"unix:{tmp_path}/missing.sock")
        fine, line = healthcheck()
    assert not fine
    assert "No such file or directory" in line
    assert not another.requests


def test_both_are_tried_where_two_sockets_are_named(monkeypatch: Env, tmp_path: Path) -> None:
    with SocketPeer(tmp_path / "b.sock", OPEN):
        monkeypatch.setenv("SIDECAR_API_BIND", f"unix:{tmp_path}/a.sock, unix:{tmp_path}/b.sock")
        assert healthcheck()[0] is True


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
def crowded(path: Path) -> tuple[socket.socket, list[socket.socket]]:
    """A socket that takes no more connections until one is accepted, and those that wait."""
    sock, waiting = socket.socket(socket.AF_UNIX), []
    sock.bind(str(path))
    sock.listen(0)
    while True:
        client = socket.socket(socket.AF_UNIX)
        client.setblocking(False)
        try:
            client.connect(str(path))
        except BlockingIOError:
            client.close()
            return sock, waiting
        waiting.append(client)


@pytest.mark.parametrize("timeout", [30.0, 0.0])
def test_a_socket_with_a_full_queue_is_tried_until_there_is_room(
    tmp_path: Path, monkeypatch: Env, timeout: float
) -> None:
    sock, waiting = crowded(tmp_path / "api.sock")
    monkeypatch.setattr(endpoint.time, "sleep", lambda _: waiting.append(sock.accept()[0]) if timeout else None)
    try:
        if timeout:
            endpoint.connect([str(tmp_path / "api.sock")], timeout).close()
        else:
            with pytest.raises(BlockingIOError):
                endpoint.connect([str(tmp_path / "api.sock")], timeout)
    finally:
        for one in (sock, *waiting):
            one.close()


def test_a_user_who_may_not_connect_is_told_what_lets_it() -> None:
    with TemporaryDirectory() as directory, SocketPeer(Path(directory, "api.sock"), OPEN):
        Path(directory).chmod(0o755)
        Path(directory, "api.sock").chmod(0o600)
        os.seteuid(65533)
        try:
            with pytest.raises(OSError, match=r"user 65533 may not connect to .*SIDECAR_API_SOCKET_MODE"):
                endpoint.connect([f"{directory}/api.sock"], 1)
        finally:
            os.seteuid(0)


# -- an address file


def test_the_file_leads_to_both_listeners_and_its_instance_goes_along(path: Path) -> None:
    with Peer([of_product(OPEN)]) as peer:
        write(path, peer)
        assert healthcheck()[0] is True
        assert wait_command.wait(5, None) == Exit.OK
        usage.request("GET", "/v1/usage")
    assert [one.target for one in peer.requests] == ["/entitled", "/entitled", "/v1/usage"]
    assert {one.headers[address_file.HEADER.lower()] for one in peer.requests} == {INSTANCE}


def test_without_a_file_no_header_is_sent(monkeypatch: Env) -> None:
    with Peer([OPEN]) as peer:
        monkeypatch.setenv("SIDECAR_PROBE_BIND", f":{peer.port}")
        assert healthcheck()[0] is True
    assert address_file.HEADER.lower() not in peer.requests[0].headers


@pytest.mark.parametrize(
    "answer",
    [OTHER_INSTANCE, of_product(OPEN, "another-product"), OPEN, of_product(DENIED, "another-product")],
    ids=["another instance", "another product", "no product", "another product that is denied"],
)
def test_the_answer_of_another_sidecar_is_neither_entitled_nor_denied(
    path: Path, answer: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    """The file is of an earlier start, and the port is another pod's by now."""
    with Peer([answer]) as peer:
        write(path, peer)
        fine, line = healthcheck()
        assert (fine, "another sidecar answers at 127.0.0.1" in line) == (False, True)
        assert wait_command.wait(0, None) == Exit.UNAVAILABLE
    assert "the address file is of an earlier start" in capsys.readouterr().err


def test_usage_that_another_sidecar_refuses_is_sent_where_the_file_says_by_then(path: Path) -> None:
    accepted = http_answer(200, {"accepted": 1, "duplicates": 0})
    with Peer([accepted]) as mine:

        def restarted(_: Received) -> bytes:
            write(path, mine)
            return OTHER_INSTANCE

        with Peer(restarted) as another:
            write(path, another)
            assert usage.report({"dimension": "requests", "quantity": 1}, lambda _: None) == Exit.OK
    assert (len(another.requests), len(mine.requests)) == (1, 1)
    assert another.requests[0].body == mine.requests[0].body, "the id is the same"


def test_a_wait_begins_before_the_file_is_there_and_follows_it(path: Path, monkeypatch: Env) -> None:
    with Peer([of_product(OPEN)]) as peer:
        shown: list[str] = []

        def sleep(_: float) -> None:
            if len(shown) == 0:
                shown.append("missing")
                path.write_text("")
            else:
                write(path, peer)

        monkeypatch.setattr(wait_command.time, "sleep", sleep)
        assert wait_command.wait(30, None) == Exit.OK


def test_a_file_that_is_missing_or_none_is_a_shut_gate(path: Path) -> None:
    fine, line = healthcheck()
    assert not fine
    assert f"{path} cannot be read: No such file or directory. The sidecar writes it once it listens" in line
    path.write_text("something else")
    fine, line = healthcheck()
    assert (fine, "is not the address file of a sidecar" in line) == (False, True)


def test_without_the_setting_the_state_directory_has_a_free_port(monkeypatch: Env, tmp_path: Path) -> None:
    monkeypatch.setenv("SIDECAR_PROBE_BIND", ":0")
    monkeypatch.setenv("SIDECAR_STATE_DIR", str(tmp_path))
    assert "set SIDECAR_ADDRESS_FILE to the same file in both containers" in healthcheck()[1]
    with Peer([of_product(OPEN)]) as peer:
        write(tmp_path / "addresses.json", peer)
        assert healthcheck()[0] is True
        monkeypatch.setenv("SIDECAR_PROBE_BIND", f":{free_port()}")
        assert healthcheck()[0] is False, "ports that are set are asked as they are"


def test_the_file_that_another_pod_has_in_the_same_state_directory_is_not_read(
    monkeypatch: Env, tmp_path: Path
) -> None:
    monkeypatch.setenv("SIDECAR_PROBE_BIND", ":0")
    monkeypatch.setenv("SIDECAR_STATE_DIR", str(tmp_path))
    monkeypatch.setenv("POD_UID", "ours")
    with Peer([of_product(OPEN)]) as peer:
        for other in ("addresses.json", "addresses-theirs.json"):
            write(tmp_path / other, peer)
        assert "addresses-ours.json cannot be read" in healthcheck()[1]
        write(tmp_path / "addresses-ours.json", peer)
        assert healthcheck()[0] is True


def test_a_socket_of_our_own_setting_is_nearer_than_the_file(path: Path, monkeypatch: Env, tmp_path: Path) -> None:
    """The volume may be mounted elsewhere here than in the sidecar."""
    with SocketPeer(tmp_path / "api.sock", OPEN):
        path.write_text(json.dumps(FIELDS))
        monkeypatch.setenv("SIDECAR_API_BIND", f"unix:{tmp_path}/api.sock")
        assert healthcheck()[0] is True
        assert endpoint.api(str(NOWHERE)).addresses == [f"{tmp_path}/api.sock"]


@pytest.fixture
def ipv6_file(path: Path) -> Path:
    path.write_text(json.dumps(FIELDS | {"probe": "http://[::1]:7"}))
    return path


def test_each_form_of_an_address_is_read(ipv6_file: Path) -> None:
    assert endpoint.probe(str(NOWHERE)).addresses == [("::1", 7)]
    assert endpoint.api(str(NOWHERE)).addresses == ["/run/gate/api.sock"]
    assert endpoint.api(str(NOWHERE)).shown == "unix:/run/gate/api.sock"


def fake_from_outside(monkeypatch: Env, tmp_path: Path, kind: str) -> SocketPeer:
    """What a container's environment makes of a gate that is always open."""
    fake = SocketPeer(tmp_path / "fake.sock", of_product(OPEN))
    where = {"probe": fake.url, "api": fake.url}
    (tmp_path / "fake.json").write_text(json.dumps(FIELDS | where))
    setting, value = {
        "socket": ("SIDECAR_API_BIND", fake.url),
        "file": ("SIDECAR_ADDRESS_FILE", str(tmp_path / "fake.json")),
    }[kind]
    monkeypatch.setenv(setting, value)
    return fake


@pytest.mark.parametrize("kind", ["socket", "file"])
@pytest.mark.parametrize("sealed", ["port", "file"])
def test_what_is_sealed_is_asked_whatever_the_environment_names(
    monkeypatch: Env, tmp_path: Path, kind: str, sealed: str
) -> None:
    with Peer([of_product(DENIED)] * 3) as real, fake_from_outside(monkeypatch, tmp_path, kind):
        (tmp_path / "real.json").write_text(json.dumps(FIELDS | {"probe": real.url, "api": real.url}))
        manifest = tmp_path / "product.yaml"
        port = f"probe_bind: {real.url.removeprefix('http://')}\n"
        manifest.write_text(port if sealed == "port" else f"address_file: {tmp_path / 'real.json'}\n")

        assert local_client.healthcheck(str(manifest))[0] is False
        assert f"http://{endpoint.gate(str(manifest)).shown}" == real.url


def test_usage_goes_to_a_sealed_port_whatever_file_the_environment_names(monkeypatch: Env, tmp_path: Path) -> None:
    manifest = tmp_path / "product.yaml"
    manifest.write_text("api_bind: 127.0.0.1:8485\n")
    with fake_from_outside(monkeypatch, tmp_path, "file"):
        assert endpoint.api(str(manifest)).shown == "127.0.0.1:8485"


def test_a_sealed_port_0_is_found_in_the_file(monkeypatch: Env, tmp_path: Path) -> None:
    manifest = tmp_path / "product.yaml"
    manifest.write_text("probe_bind: 127.0.0.1:0\n")
    with fake_from_outside(monkeypatch, tmp_path, "file") as named:
        assert endpoint.probe(str(manifest)).shown == named.url


def test_a_sealed_socket_is_where_the_gate_is_read_beside_a_sealed_port(tmp_path: Path) -> None:
    manifest = tmp_path / "product.yaml"
    manifest.write_text("probe_bind: 127.0.0.1:8484\napi_bind: unix:/run/gate/api.sock\n")

    assert endpoint.gate(str(manifest)).shown == "unix:/run/gate/api.sock"


def test_a_wrong_setting_ends_the_wait_at_once(monkeypatch: Env) -> None:
    monkeypatch.setenv("SIDECAR_PROBE_BIND", "nonsense")
    with pytest.raises(SettingsError):
        wait_command.wait(5, None)
