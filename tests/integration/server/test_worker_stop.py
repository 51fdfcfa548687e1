"""SIGTERM: serve on until the application has stopped, finish what is begun, then go."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from sidecar.server.worker import HEARTBEAT_SECONDS
from tests.integration.server.servers import Server, eventually, read_all, server, silent, split


def gone(running: Server) -> bool:
    """Whether the whole server has ended."""
    return running.process.poll() is not None


def refused(running: Server, listener: str) -> bool:
    """Whether nothing listens any more."""
    try:
        running.connect(listener).close()
    except OSError:
        return True
    return False


def stop_asked(running: Server) -> bool:
    return bool(running.json("probe", "/entitled")["stopping"] == 1)


def wake_ups(running: Server) -> int:
    status = Path(f"/proc/{running.worker_pid}/status").read_text()
    return int(status.split("\nvoluntary_ctxt_switches:")[1].split()[0])


def until_asleep(running: Server) -> None:
    """Until nothing is left to wake the poller but its tick."""
    seen = [-1]

    def still() -> bool:
        seen.append(wake_ups(running))
        return seen[-1] == seen[-2] == seen[max(-4, -len(seen))]

    eventually(still)


def test_while_the_application_stops_probes_and_routes_are_answered() -> None:
    with server(hold=True) as running:
        running.process.send_signal(signal.SIGTERM)
        eventually(lambda: stop_asked(running))
        for listener in ("probe", "api"):
            assert running.ask(listener, "/entitled")[0] == 200
        assert running.ask("api", "/echo")[0] == 200
        assert not gone(running)
        running.ask("probe", "/release")
        eventually(lambda: gone(running))
        assert running.process.returncode == 0
        assert refused(running, "probe")
        assert refused(running, "api")


def test_a_second_sigterm_changes_nothing() -> None:
    with server(hold=True) as running:
        for _ in range(2):
            os.kill(running.worker_pid, signal.SIGTERM)
            eventually(lambda: stop_asked(running))
        assert running.json("probe", "/entitled")["stopping"] == 1


def test_the_signal_wakes_the_poller_at_once(tmp_path: Path) -> None:
    """A tick may come by chance, but not early three times."""
    for name in ("a", "b", "c"):
        with server(hold=True, mark=str(tmp_path / name)) as running:
            until_asleep(running)
            start = time.monotonic()
            os.kill(running.worker_pid, signal.SIGTERM)
            eventually((tmp_path / name).exists)
            assert time.monotonic() - start < 0.3


def test_an_answer_in_the_pool_is_finished_before_the_end(tmp_path: Path) -> None:
    done = tmp_path / "done"
    with server() as running, running.connect("api") as sock:
        sock.sendall(f"GET /wait?{done} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert silent(sock, 0.05)
        running.process.send_signal(signal.SIGTERM)
        eventually(lambda: refused(running, "api"))
        done.touch()
        assert split(read_all(sock))[0] == 200
        eventually(lambda: gone(running))


def test_a_big_answer_being_read_is_finished_before_the_end() -> None:
    with server() as running, running.connect("api") as sock:
        sock.sendall(b"GET /big?3000000 HTTP/1.1\r\nHost: x\r\n\r\n")
        first = sock.recv(100)
        running.process.send_signal(signal.SIGTERM)
        eventually(lambda: refused(running, "api"))
        assert len(split(first + read_all(sock))[2]) == 3_000_000


@pytest.mark.parametrize("held", [b"", b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n"])
def test_nobody_can_hold_the_end_for_long(held: bytes) -> None:
    with server(finish_seconds=0.5) as running, running.connect("api") as sock:
        sock.sendall(held)
        assert silent(sock, 0.05)
        running.process.send_signal(signal.SIGTERM)
        eventually(lambda: gone(running), seconds=4)


def test_connections_close_with_their_answer_while_stopping() -> None:
    with server(hold=True) as running, running.connect("api") as one, running.connect("probe") as other:
        os.kill(running.worker_pid, signal.SIGTERM)
        eventually(lambda: stop_asked(running))
        for sock, path in ((one, "/entitled"), (other, "/reply-echo")):
            sock.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            assert "Connection: close" in split(read_all(sock))[1]


def test_a_worker_without_its_supervisor_ends() -> None:
    with server(hold=True) as running:
        running.process.send_signal(signal.SIGKILL)
        running.process.wait()
        eventually(lambda: refused(running, "probe") and not os.path.exists(f"/proc/{running.worker_pid}"))


def test_a_worker_that_waits_for_nothing_sleeps_for_seconds() -> None:
    with server() as running:
        until_asleep(running)
        start, before = time.monotonic(), wake_ups(running)
        eventually(lambda: time.monotonic() - start > 2.2)
        assert wake_ups(running) - before <= 1


def test_a_deadline_is_one_wake_up_however_late_it_comes_after_the_last_heartbeat() -> None:
    with server(idle_seconds=3.0) as running:
        until_asleep(running)
        with running.connect("probe") as sock:
            sock.sendall(b"GET /entitled HTTP/1.1\r\nHost: x\r\n\r\n")
            assert split(sock.recv(65_536))[0] == 200
            before = wake_ups(running)
            assert sock.recv(1) == b"", "the worker closes it, and is woken for nothing else in time"
            assert wake_ups(running) - before <= 4


def test_a_connection_made_just_after_a_heartbeat_keeps_its_own_deadline() -> None:
    """The next heartbeat is further away than this client waits, and the worker went to sleep without a deadline."""
    with server(request_seconds=0.5) as running:
        until_asleep(running)
        with running.connect("probe") as sock:
            sock.settimeout(HEARTBEAT_SECONDS - 4)
            sock.sendall(b"GET /")
            read_all(sock)
