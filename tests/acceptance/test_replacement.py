"""A worker that replaces another one: the same sidecar, at the same addresses, for the same product."""

from __future__ import annotations

import os
import signal
import socket
import sys
from pathlib import Path

import pytest

from sidecar.emulator import Emulator
from tests.acceptance.saas import Service
from tests.acceptance.support import PRODUCT, Sidecar, eventually
from tests.acceptance.test_unix_socket import curl

pytestmark = pytest.mark.slow


def with_config(aws: Emulator, directory: Path) -> Sidecar:
    """A sidecar whose product is chosen in a file."""
    file = directory / "sidecar.yaml"
    file.write_text(f"product_code: {PRODUCT}\n")
    return Sidecar(aws, directory, SIDECAR_PRODUCT_CODE=None, SIDECAR_CONFIG=str(file))


def ended(pid: int) -> bool:
    """Whether the process has ended, waited for or not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def replaced(sidecar: Sidecar) -> None:
    """Kill the worker, and wait for the next."""
    first = sidecar.worker()
    os.kill(first, signal.SIGKILL)
    eventually(lambda: sidecar.worker() != first)


@pytest.mark.parametrize("edited", ["product_code: premium\n", "product_code: [\n"])
def test_a_file_edited_meanwhile_neither_moves_an_open_gate_nor_ends_the_sidecar(
    aws: Emulator, tmp_path: Path, edited: str
) -> None:
    with with_config(aws, tmp_path) as sidecar:
        sidecar.shows("entitled")
        asked = len(aws.calls())
        (tmp_path / "sidecar.yaml").write_text(edited)
        replaced(sidecar)
        assert sidecar.shows("entitled")["reason"] == "registered"
        assert [one["product_code"] for one in sidecar.events("sidecar.started")] == [PRODUCT]
        assert len(aws.calls()) == asked
        sidecar.told(signal.SIGKILL)
        sidecar.ended()
    with sidecar.start():  # a new start reads the file
        if "premium" in edited:
            eventually(lambda: sidecar.events("sidecar.started")[-1]["product_code"] == "premium")
        else:
            assert sidecar.ended() == 78


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_worker_that_alone_is_told_to_end_leaves_all_to_the_next(
    aws: Emulator, tmp_path: Path, number: signal.Signals
) -> None:
    """AWS was asked about one product: the gate is open for no other."""
    with with_config(aws, tmp_path) as sidecar:
        sidecar.shows("entitled")
        asked = len(aws.calls())
        for edited in ("product_code: premium\n", "product_code: [\n"):
            (tmp_path / "sidecar.yaml").write_text(edited)
            first = sidecar.worker()
            os.kill(first, number)
            eventually(lambda before=first: ended(before))  # type: ignore[misc]
            assert sidecar.probe()[1]["product_code"] == PRODUCT, "it waits for the next worker"
        assert len(aws.calls()) == asked
        sidecar.told()
        assert sidecar.ended() == 0


def after(code: str, sidecar: Sidecar, command: str = "run") -> Sidecar:
    """The sidecar, whose processes have run this code first."""
    main = f"import sys\nfrom sidecar.__main__ import main\nsys.exit(main([{command!r}]))\n"
    sidecar.line = [sys.executable, "-c", f"{code}\n{main}"]
    return sidecar


NOTHING_IS_HANDED_ON = """
from sidecar.server import handed_on
handed_on.hand_on = lambda *_: None
"""


def test_an_answer_opens_the_gate_for_no_other_product(aws: Emulator, tmp_path: Path) -> None:
    """What the first worker left is lost, and the file names another product by now: AWS knows none of that code."""
    with after(NOTHING_IS_HANDED_ON, with_config(aws, tmp_path)) as sidecar:
        sidecar.shows("entitled")
        asked = len(aws.calls())
        (tmp_path / "sidecar.yaml").write_text("product_code: premium\n")
        replaced(sidecar)
        found = sidecar.shows("denied")
        assert found["product_code"] == "premium"
        assert len(aws.calls()) > asked
        assert len(sidecar.events("gate.opened")) == 1


TOLD_ALONE = """
import os, signal
from sidecar.server import listeners
listen = listeners.listen
def told(*given, **named):
    os.kill(os.getpid(), signal.SIGTERM)
    return listen(*given, **named)
listeners.listen = told
"""


def test_a_first_worker_that_alone_is_told_to_end_is_replaced_before_aws_is_asked(
    aws: Emulator, tmp_path: Path
) -> None:
    with after(TOLD_ALONE, Sidecar(aws, tmp_path)) as sidecar:
        sidecar.shows("entitled")
        assert len(sidecar.events("sidecar.started")) == 1
        assert [one.operation for one in aws.calls()].count("RegisterUsage") == 1
        sidecar.told()
        assert sidecar.ended() == 0
        assert sidecar.logged("sidecar.stopped")["exit_code"] == 0


NO_PROCESS_LEFT = """
from sidecar.child import process
def fork(*_):
    raise BlockingIOError(11, "Resource temporarily unavailable")
process.fork = fork
"""
NO_DESCRIPTOR_LEFT = """
from sidecar.server import handed_on
def hand_on(*_):
    raise OSError(24, "Too many open files")
handed_on.hand_on = hand_on
"""


@pytest.mark.parametrize("fault", [NO_PROCESS_LEFT, NO_DESCRIPTOR_LEFT], ids=["fork", "hand_on"])
def test_a_first_start_that_the_kernel_refuses_leaves_a_note_and_no_socket(
    aws: Emulator, tmp_path: Path, fault: str
) -> None:
    path = tmp_path / "api.sock"
    with after(fault, Sidecar(aws, tmp_path, SIDECAR_API_BIND=f"unix:{path}")) as sidecar:
        assert sidecar.ended() == 70
        assert "could not be started" in sidecar.note.read_text()
        assert sidecar.logged("sidecar.stopped")["exit_code"] == 70
        assert not path.exists()
        assert aws.calls() == []


@pytest.mark.parametrize(("fault", "code"), [("raise KeyError", 70), ("import os; os._exit(1)", 1)])
def test_a_service_that_breaks_at_its_start_leaves_no_socket(
    aws: Emulator, tmp_path: Path, fault: str, code: int
) -> None:
    path = tmp_path / "api.sock"
    broken = f"from sidecar.app import saas\ndef serve(*_):\n    {fault}\nsaas._serve = serve\n"
    with after(broken, Service(aws, tmp_path, SIDECAR_API_BIND=f"unix:{path}"), "saas") as service:
        assert service.ended() == code
    assert service.events("saas.started"), "the socket was there"
    assert not path.exists()


def test_a_token_and_a_key_are_those_of_the_first_worker(aws: Emulator, tmp_path: Path) -> None:
    token, key = tmp_path / "token", tmp_path / "key.pem"
    token.write_text("a-token-of-this-test\n")
    key.write_text(aws.public_key())
    files = {"SIDECAR_PUBLIC_KEY": None, "SIDECAR_PUBLIC_KEY_FILE": str(key), "SIDECAR_API_TOKEN_FILE": str(token)}
    with Sidecar(aws, tmp_path, **files) as sidecar:
        sidecar.shows("entitled")
        token.write_text("another-token-of-this-test\n")
        key.unlink()
        replaced(sidecar)
        sidecar.shows("entitled")
        assert [status_with(sidecar, one) for one in ("a-token-of-this-test", "another-token-of-this-test")] == [
            200,
            401,
        ]


def status_with(sidecar: Sidecar, token: str) -> int:
    """The status of a request to the product's listener that has this token."""
    with socket.create_connection(("127.0.0.1", sidecar.api_port), 20) as sock:
        head = f"GET /v1/status HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n"
        sock.sendall(f"{head}Connection: close\r\n\r\n".encode())
        return int(sock.makefile("rb").readline().split()[1])


def not_refused(sidecar: Sidecar, path: str) -> None:
    """Kill the worker, and have clients come before there is another one."""
    first = sidecar.worker()
    os.kill(first, signal.SIGKILL)
    eventually(lambda: ended(first))
    at = ("127.0.0.1", sidecar.probe_port)
    waiting = [socket.create_connection(at, timeout=20) for _ in range(20)]
    for one in waiting:
        one.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    for one in waiting:
        assert one.recv(12) == b"HTTP/1.1 200"
        one.close()


def test_no_client_is_refused_while_a_worker_is_replaced(aws: Emulator, tmp_path: Path) -> None:
    with Sidecar(aws, tmp_path) as sidecar:
        sidecar.shows("entitled")
        not_refused(sidecar, "/entitled")


def test_no_client_of_the_service_is_refused_while_its_worker_is_replaced(aws: Emulator, tmp_path: Path) -> None:
    path = tmp_path / "api.sock"
    with Service(aws, tmp_path, SIDECAR_API_BIND=f"unix:{path}") as service:
        eventually(lambda: service.probe("/readyz")[0] == 200)
        before = path.lstat().st_ino
        not_refused(service, "/healthz")
        assert path.lstat().st_ino == before
        assert len(service.events("saas.started")) == 1
        service.told()
        assert service.ended() == 0
    assert not path.exists()


def test_a_worker_of_the_service_has_the_settings_of_the_first(aws: Emulator, tmp_path: Path) -> None:
    file = tmp_path / "saas.yaml"
    file.write_text("saas_region: eu-west-1\n")
    with Service(aws, tmp_path, SIDECAR_CONFIG=str(file)) as service:
        service.ready()
        file.write_text("saas_region: [\n")
        replaced(service)
        service.ready()
        assert service.ask("GET", "/v1/status")[1]["region"] == "eu-west-1"


def test_a_service_whose_worker_was_killed_at_its_end_leaves_no_socket(aws: Emulator, tmp_path: Path) -> None:
    path = tmp_path / "api.sock"
    with Service(aws, tmp_path, SIDECAR_API_BIND=f"unix:{path}", SIDECAR_FLUSH_SECONDS="1") as service:
        eventually(lambda: service.probe("/readyz")[0] == 200)
        os.kill(service.worker(), signal.SIGSTOP)
        service.told()
        assert service.ended() == 0
    assert not path.exists()


BROKEN_WHILE_A_FILE_IS_THERE = """
import os, sys
from sidecar.app import wiring
start = wiring.Sidecar.start
def broken(self, counters):
    if os.path.exists(sys.argv[1]):
        raise RuntimeError("this start breaks")
    return start(self, counters)
wiring.Sidecar.start = broken
from sidecar.__main__ import main
sys.exit(main(["run"]))
"""


def breakable(aws: Emulator, directory: Path) -> Sidecar:
    """A sidecar whose worker does not start while the file `broken` is there."""
    sidecar = Sidecar(aws, directory)
    sidecar.line = [sys.executable, "-c", BROKEN_WHILE_A_FILE_IS_THERE, str(directory / "broken")]
    return sidecar


def test_a_replacement_that_breaks_is_tried_again_and_the_gate_stays_open(aws: Emulator, tmp_path: Path) -> None:
    with breakable(aws, tmp_path) as sidecar:
        sidecar.shows("entitled")
        asked = len(aws.calls())
        first = sidecar.worker()
        (tmp_path / "broken").touch()
        os.kill(first, signal.SIGKILL)
        eventually(lambda: [one for one in sidecar.events("server.error") if "exited with code 70" in one["text"]])
        assert sidecar.process is not None
        assert sidecar.process.poll() is None
        with socket.create_connection(("127.0.0.1", sidecar.probe_port), timeout=20) as waiting:
            waiting.sendall(b"GET /entitled HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            (tmp_path / "broken").unlink()
            assert waiting.recv(12) == b"HTTP/1.1 200", "it waits for the start that does not break"
        assert sidecar.shows("entitled")["reason"] == "registered"
        assert len(aws.calls()) == asked
        assert sidecar.note.read_text() == ""


def test_a_first_worker_that_breaks_ends_the_sidecar(aws: Emulator, tmp_path: Path) -> None:
    (tmp_path / "broken").touch()
    with breakable(aws, tmp_path) as sidecar:
        assert sidecar.ended() == 70
        assert "could not be started" in sidecar.note.read_text()
        assert sidecar.logged("sidecar.stopped")["exit_code"] == 70


def test_a_unix_socket_stays_while_a_worker_is_replaced_and_is_gone_at_the_end(aws: Emulator, tmp_path: Path) -> None:
    path = tmp_path / "api.sock"
    with Sidecar(aws, tmp_path, SIDECAR_API_BIND=f"unix:{path}") as sidecar:
        sidecar.shows("entitled")
        before = path.lstat().st_ino
        for number in (signal.SIGKILL, signal.SIGQUIT):
            first = sidecar.worker()
            os.kill(first, number)
            assert curl(path, "/entitled")[0] == 200, "it waits for the next worker"
            assert path.lstat().st_ino == before
        sidecar.told()
        assert sidecar.ended() == 0
    assert not path.exists()
