"""Deadlines, caps and the bounded queue, with limits small enough to reach."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from pathlib import Path

from tests.integration.server.attacks import counter
from tests.integration.server.servers import Server, eventually, read_all, read_answer, server, silent, split

KEPT = b"GET /entitled HTTP/1.1\r\nHost: x\r\n\r\n"
SLOW = b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n"
HALF = b"GET /entitled HTTP/1.1\r\nHo"


def closed(sock: socket.socket) -> bool:
    """Whether the server has closed this connection without another word."""
    if silent(sock, 0.0):
        return False
    try:
        return sock.recv(1) == b""
    except ConnectionResetError:
        return True


def alive(sock: socket.socket) -> bool:
    """Whether this connection is still answered."""
    sock.sendall(KEPT)
    return read_answer(sock)[0] == 200


def test_a_request_that_is_not_whole_in_time_is_closed_silently() -> None:
    with server(request_seconds=0.3) as running:
        half, quiet, kept = (running.connect("api") for _ in range(3))
        with half, quiet, kept:
            half.sendall(HALF)
            assert alive(kept)
            eventually(lambda: closed(half) and closed(quiet))
            assert alive(kept), "an idle connection has a longer deadline"
            assert counter(running, "timed_out") == 2


def test_an_idle_connection_is_closed_after_its_time() -> None:
    with server(idle_seconds=0.3) as running, running.connect("api") as kept:
        assert alive(kept)
        eventually(lambda: closed(kept))
        assert counter(running, "timed_out") == 0


def test_an_answer_that_is_not_read_in_time_is_given_up() -> None:
    with server(write_seconds=0.3) as running, running.connect("api") as sock:
        sock.sendall(b"GET /big?5000000 HTTP/1.1\r\nHost: x\r\n\r\n")
        eventually(lambda: counter(running, "timed_out") == 1)
        eventually(lambda: counter(running, "open", "api") == 0)


def test_a_client_that_never_closes_is_closed_after_lingering() -> None:
    with server(linger_seconds=0.3) as running, running.connect("api") as sock:
        sock.sendall(KEPT.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        assert split(read_all(sock))[0] == 200
        assert counter(running, "open", "api") == 1
        eventually(lambda: counter(running, "open", "api") == 0)


def test_at_the_cap_the_oldest_idle_goes_before_the_oldest_reading() -> None:
    with server(connections_max=3) as running:
        half, first, second = (running.connect("api") for _ in range(3))
        half.sendall(HALF)
        assert alive(first)
        assert alive(second)
        with running.connect("api") as newcomer:
            assert alive(newcomer)
            eventually(lambda: closed(first))
            assert alive(second)
            half.sendall(b"st: x\r\n\r\n")
            assert read_answer(half)[0] == 200
        assert counter(running, "evicted") == 1
        for sock in (half, first, second):
            sock.close()


def test_at_the_cap_the_oldest_reading_goes_when_none_is_idle() -> None:
    with server(connections_max=2) as running:
        first, second = running.connect("api"), running.connect("api")
        with first, second, running.connect("api") as newcomer:
            eventually(lambda: closed(first))
            assert alive(second)
            assert alive(newcomer)


def test_a_busy_connection_is_never_evicted(tmp_path: Path) -> None:
    done = tmp_path / "done"
    with server(connections_max=2) as running, running.connect("api") as busy:
        busy.sendall(f"GET /wait?{done} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        eventually(lambda: counter(running, "open", "api") == 1)
        others = [running.connect("api") for _ in range(5)]
        assert alive(others[-1])
        done.touch()
        assert read_answer(busy)[0] == 200
        for sock in others:
            sock.close()


def test_half_read_bodies_are_bounded_together_and_the_oldest_goes() -> None:
    head = b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 100001\r\n\r\n"
    with server(half_read_bytes_max=250_000) as running:
        posts = [running.connect("api") for _ in range(3)]
        for sock in posts[:2]:
            sock.sendall(head + b"x" * 100_000)
            assert silent(sock, 0.05)
        assert counter(running, "evicted") == 0
        posts[2].sendall(head + b"x" * 100_000)
        eventually(lambda: closed(posts[0]))
        for sock in posts[1:]:
            sock.sendall(b"x")
            assert read_answer(sock)[0] == 200
        for sock in posts:
            sock.close()


def _fill(running: Server, count: int) -> list[socket.socket]:
    sockets = []
    for _ in range(count):
        sock = running.connect("api")
        sock.sendall(SLOW)
        sockets.append(sock)
    eventually(lambda: counter(running, "open", "api") == count)
    return sockets


def test_beyond_the_queue_the_answer_is_503_and_probes_are_still_answered() -> None:
    with server(pool_threads=2, pool_queue_max=3) as running:
        held = _fill(running, 5)
        status, head, body = running.ask("api", "/echo")
        assert (status, json.loads(body)["reason"]) == (503, "too_busy")
        assert "Retry-After: 1" in head
        assert running.ask("api", "/entitled")[0] == 200
        assert counter(running, "queue_full") == 1
        for sock in held:
            sock.close()


def test_within_the_queue_a_request_waits_for_its_thread(tmp_path: Path) -> None:
    done = tmp_path / "done"
    with server(pool_threads=1, pool_queue_max=1) as running:
        first, second = running.connect("api"), running.connect("api")
        first.sendall(f"GET /wait?{done} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert silent(first, 0.05)
        second.sendall(b"GET /echo HTTP/1.1\r\nHost: x\r\n\r\n")
        assert silent(second, 0.05)
        done.touch()
        for sock in (first, second):
            assert read_answer(sock)[0] == 200
            sock.close()
        assert counter(running, "queue_full") == 0


def test_an_answer_past_the_limit_is_a_failure_not_a_memory_problem() -> None:
    with server(response_bytes_max=100_000) as running:
        assert running.ask("api", "/big?90000")[0] == 200
        assert running.ask("api", "/big?100000")[0] == 500


def test_without_a_free_file_the_oldest_of_the_busier_listener_goes() -> None:
    with server(files=64) as running:
        held = [running.connect("api") for _ in range(150)]
        for _ in range(20):
            assert running.ask("probe", "/entitled")[0] == 200
        assert counter(running, "evicted") > 0
        assert counter(running, "unexpected") == 0
        for sock in held:
            sock.close()


def test_a_client_that_sends_ahead_without_end_is_read_only_as_it_is_answered() -> None:
    with server() as running, running.connect("api") as sock:
        before = running.resident_kib()
        sock.setblocking(False)
        sent, data, until = 0, KEPT * 2_000, time.monotonic() + 0.7
        while time.monotonic() < until:
            with contextlib.suppress(BlockingIOError):
                sent += sock.send(data)
            with contextlib.suppress(BlockingIOError):
                sock.recv(1_000_000)
        assert sent > 100_000
        assert running.resident_kib() - before < 8 * 1024
