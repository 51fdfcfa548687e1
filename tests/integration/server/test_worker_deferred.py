"""Deferred replies: they hold up no other client, none is lost, and each client gets its own."""

from __future__ import annotations

import json
import os
import signal
import socket
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.integration.server.attacks import counter
from tests.integration.server.servers import Server, eventually, read_all, read_answer, server, silent, split

LONG = b"x" * 10_000


def post(path: str, body: bytes = b"{}", headers: str = "") -> bytes:
    return f"POST {path} HTTP/1.1\r\nHost: x\r\n{headers}Content-Length: {len(body)}\r\n\r\n".encode() + body


def chunked(path: str, chunks: int) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head.encode() + b"1\r\nx\r\n" * chunks + b"0\r\n\r\n"


def owing(running: Server, count: int, body: bytes = b"{}") -> list[socket.socket]:
    """So many connections whose answer is owed."""
    before = running.json("probe", "/owed")
    connections = [running.connect("api") for _ in range(count)]
    for sock in connections:
        sock.sendall(post("/take-owed", body))
    eventually(lambda: running.json("probe", "/owed") == before + count)
    return connections


def close(connections: list[socket.socket]) -> None:
    for sock in connections:
        sock.close()


@pytest.mark.parametrize("path", ["/take-now", "/take-later"])
def test_a_kept_connection_gets_answer_after_answer(path: str) -> None:
    with server() as running, running.connect("api") as sock:
        for size in (2, 3, 2, 4_000, 10_000, 0):
            sock.sendall(post(path, b"x" * size))
            status, head, body = read_answer(sock)
            assert (status, json.loads(body)["bytes"]) == (200, size)
            assert "Connection: keep-alive" in head


def test_short_bodies_are_taken_by_the_poller_and_long_ones_by_a_thread_of_their_own() -> None:
    with server() as running:
        taken = {size: running.json("api", "/take-later", method="POST", body=b"x" * size) for size in (2, 4096, 4097)}
        assert [found["thread"].split("-")[0] for found in taken.values()] == ["MainThread", "MainThread", "body"]
        for chunks, thread in ((16, "MainThread"), (17, "body")):
            found = json.loads(split(running.send("api", chunked("/take-now", chunks)))[2])
            assert (found["bytes"], found["thread"].split("-")[0]) == (chunks, thread)


def test_many_answers_given_together_each_reach_their_client() -> None:
    with server() as running:
        connections = [running.connect("api") for _ in range(150)]
        for at, sock in enumerate(connections):
            sock.sendall(post("/take-owed", f"number {at} ".encode()))
        eventually(lambda: running.json("probe", "/owed") == 150)
        assert running.json("probe", "/pay") == 150
        for at, sock in enumerate(connections):
            assert json.loads(read_answer(sock)[2])["start"] == f"number {at} "
        close(connections)


@pytest.mark.parametrize("body", [b"{}", LONG], ids=["by the poller", "in the pool"])
def test_what_waits_for_the_hand_over_is_handed_over(body: bytes) -> None:
    with server() as running:
        for _ in range(2):
            assert running.ask("api", "/take-handed", method="POST", body=body)[0] == 200
        assert [number for number in running.json("probe", "/handed") if number] == [1, 1]


def test_all_that_is_taken_in_one_turn_is_handed_over_at_once() -> None:
    with server(long_turns=True) as running:
        connections = [running.connect("api") for _ in range(6)]
        for sock in connections:  # by then each is accepted
            sock.sendall(post("/take-handed"))
            assert read_answer(sock)[0] == 200
        os.kill(running.worker_pid, signal.SIGSTOP)
        eventually(lambda: ") T " in Path(f"/proc/{running.worker_pid}/stat").read_text())
        for sock in connections:
            sock.sendall(post("/take-handed"))
        os.kill(running.worker_pid, signal.SIGCONT)
        assert {read_answer(sock)[0] for sock in connections} == {200}
        assert max(running.json("probe", "/handed")) == 6
        close(connections)


@pytest.mark.parametrize("body", [b"{}", LONG])
def test_answers_that_never_come_delay_no_probe_and_no_other_route(body: bytes) -> None:
    with server(pool_threads=1, pool_queue_max=200) as running:
        connections = owing(running, 100, body)
        assert all(silent(sock, 0.0) for sock in connections)
        for listener in ("probe", "api"):
            assert max(running.probe_seconds(listener) for _ in range(20)) < 0.5
        assert running.ask("api", "/echo")[0] == 200, "the pool has its thread"
        running.json("probe", "/pay")
        assert {read_answer(sock)[0] for sock in connections} == {200}
        close(connections)


def too_busy(running: Server, path: str = "/take-now") -> bool:
    status, head, body = running.ask("api", path, method="POST", body=b"{}")
    assert status == 200 or ("Retry-After: 1" in head and json.loads(body)["reason"] == "too_busy")
    return bool(status == 503)


def test_owed_answers_are_bounded_and_one_more_is_503() -> None:
    with server(deferred_max=3) as running:
        connections = owing(running, 3)
        assert too_busy(running)
        assert counter(running, "queue_full") == 1
        assert counter(running, "refused", "api 503") == 1
        assert running.ask("api", "/echo")[0] == 200, "others are served"
        running.json("probe", "/pay")
        assert {read_answer(sock)[0] for sock in connections} == {200}
        assert not too_busy(running)
        close(connections)


def test_clients_that_went_make_no_room_until_their_answers_are_given() -> None:
    with server(deferred_max=3) as running:
        close(owing(running, 3))
        assert too_busy(running)
        running.json("probe", "/pay")
        eventually(lambda: not too_busy(running))
        eventually(lambda: counter(running, "open", "api") == 0)
        assert counter(running, "unexpected") == 0


def test_long_bodies_that_are_owed_an_answer_are_bounded_together() -> None:
    with server(deferred_bytes_max=25_000) as running:
        connections = owing(running, 2, LONG)
        assert running.ask("api", "/take-now", method="POST", body=LONG)[0] == 503
        assert not too_busy(running), "a short one has room"
        running.json("probe", "/pay")
        assert {read_answer(sock)[0] for sock in connections} == {200}
        assert running.ask("api", "/take-now", method="POST", body=LONG)[0] == 200
        close(connections)


def test_a_body_that_was_taken_is_not_held_while_its_answer_is_owed() -> None:
    with server(deferred_bytes_max=1 << 30) as running:
        connections = [owing(running, 1, b"x" * 1_000_000)[0] for _ in range(5)]
        before = running.resident_kib()
        connections += [owing(running, 1, b"x" * 1_000_000)[0] for _ in range(40)]
        assert running.resident_kib() - before < 10_000
        close(connections)


def test_where_the_pool_is_full_a_long_body_is_503_and_owes_nothing() -> None:
    with server(pool_threads=1, pool_queue_max=0, deferred_max=1) as running, ExitStack() as held:

        def is_full() -> bool:
            slow = held.enter_context(running.connect("api"))
            slow.sendall(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
            return running.ask("api", "/echo")[0] == 503

        eventually(is_full)  # one that comes while the thread is still busy with another is refused, too
        for _ in range(2):
            assert running.ask("api", "/take-now", method="POST", body=LONG)[0] == 503
        assert running.ask("api", "/take-now", method="POST", body=b"{}")[0] == 200, "nothing is owed"


@pytest.mark.slow
@pytest.mark.parametrize("body", [b"{}", LONG])
@pytest.mark.parametrize("path", ["/take-error", "/take-refused", "/take-odd"])
def test_a_taker_that_fails_is_500_and_owes_nothing(path: str, body: bytes) -> None:
    with server(deferred_max=1) as running:
        for _ in range(2):
            status, head, answer = running.ask("api", path, method="POST", body=body)
            assert (status, json.loads(answer)["reason"]) == (500, "internal_error")
            assert "Connection: close" in head
            assert b"secret" not in answer
        assert counter(running, "failed") == 2
        assert running.ask("api", "/take-later", method="POST", body=body)[0] == 200


@pytest.mark.parametrize("body", [b"{}", LONG])
@pytest.mark.parametrize("path", ["/take-twice", "/take-then-error"])
def test_a_second_answer_to_one_request_is_nobodys(path: str, body: bytes) -> None:
    with server(deferred_max=1) as running, running.connect("api") as sock:
        for _ in range(3):
            sock.sendall(post(path, body) + post("/take-later", body))
            assert [json.loads(read_answer(sock)[2])["path"] for _ in range(2)] == [path, "/take-later"]
        assert silent(sock, 0.05)


def test_requests_sent_ahead_are_answered_in_their_order() -> None:
    paths = ["/take-later", "/take-now", "/entitled", "/take-later", "/echo", "/take-now"]
    with server() as running, running.connect("api") as sock:
        sock.sendall(b"".join(post(path, path.encode()) for path in paths))
        found = [json.loads(read_answer(sock)[2]) for _ in paths]
        assert [one.get("path", one.get("PATH_INFO", "/entitled")) for one in found] == paths


def test_what_is_sent_while_an_answer_is_owed_is_served_after_it() -> None:
    with server() as running:
        (sock,) = owing(running, 1)
        sock.sendall(post("/take-now"))
        assert silent(sock, 0.1)
        running.json("probe", "/pay")
        assert [json.loads(read_answer(sock)[2])["path"] for _ in range(2)] == ["/take-owed", "/take-now"]
        sock.close()


def test_a_client_that_waits_to_be_asked_for_its_body_is_asked() -> None:
    with server() as running, running.connect("api") as sock:
        for _ in range(2):
            data = post("/take-later", b"body", "Expect: 100-continue\r\n")
            sock.sendall(data[:-4])
            asked = b""
            while len(asked) < 25:
                asked += sock.recv(25 - len(asked))
            assert asked == b"HTTP/1.1 100 Continue\r\n\r\n"
            sock.sendall(data[-4:])
            assert json.loads(read_answer(sock)[2])["start"] == "body"


def test_a_body_that_is_no_http_is_refused_and_not_taken() -> None:
    with server(deferred_max=1) as running:
        for _ in range(2):
            spoilt = chunked("/take-owed", 1).replace(b"1\r\nx\r\n", b"1\r\nxyz\r\n")
            assert split(running.send("api", spoilt))[0] == 400
        assert running.json("probe", "/owed") == 0


def test_an_http_1_0_client_is_answered_and_let_go() -> None:
    with server() as running:
        data = post("/take-later").replace(b"HTTP/1.1", b"HTTP/1.0")
        status, head, _ = split(running.send("api", data))
        assert (status, "Connection: close" in head) == (200, True)


def test_an_answer_given_while_the_worker_ends_is_sent() -> None:
    with server(hold=True) as running:
        (sock,) = owing(running, 1)
        os.kill(running.worker_pid, signal.SIGTERM)
        eventually(lambda: running.json("probe", "/entitled")["stopping"] == 1)
        running.json("probe", "/pay")
        status, head, _ = split(read_all(sock))
        assert (status, "Connection: close" in head) == (200, True)
        sock.close()


def test_an_answer_that_never_comes_holds_the_end_no_longer_than_its_time() -> None:
    with server(finish_seconds=0.5) as running:
        (sock,) = owing(running, 1)
        running.process.send_signal(signal.SIGTERM)
        eventually(lambda: running.process.poll() is not None, seconds=4)
        assert read_all(sock) == b""
        sock.close()
