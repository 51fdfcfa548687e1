"""HTTP/1.1 as clients know it, from a server that answers only whole requests."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator

import pytest

from tests.integration.server.servers import Server, eventually, read_all, read_answer, server, silent, split

KEPT = b"GET /entitled HTTP/1.1\r\nHost: x\r\n\r\n"
LAST = b"GET /entitled HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
BOTH = pytest.mark.parametrize("listener", ["probe", "api"])


@pytest.fixture(scope="module")
def running() -> Iterator[Server]:
    with server() as started:
        yield started
        assert started.json("probe", "/counters")["unexpected"] == 0


def test_an_unknown_minor_version_is_answered_as_1_1(running: Server) -> None:
    for listener, path in (("probe", "/entitled"), ("api", "/take-now"), ("api", "/echo")):
        method = "POST" if path == "/take-now" else "GET"
        answer = running.send(listener, f"{method} {path} HTTP/1.7\r\nHost: x\r\nContent-Length: 0\r\n\r\n".encode())
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n"), path
        assert b"Connection: keep-alive\r\n" in answer


@BOTH
def test_a_connection_is_kept_for_the_next_request(running: Server, listener: str) -> None:
    with running.connect(listener) as sock:
        for _ in range(3):
            sock.sendall(KEPT)
            status, head, body = read_answer(sock)
            assert status == 200
            assert "Connection: keep-alive" in head
            assert json.loads(body)["listener"] == listener


@BOTH
def test_a_connection_is_closed_when_the_client_asks(running: Server, listener: str) -> None:
    with running.connect(listener) as sock:
        sock.sendall(LAST)
        status, head, _ = split(read_all(sock))
        assert status == 200
        assert "Connection: close" in head


def test_http_1_0_is_closed_unless_it_asks_to_be_kept(running: Server) -> None:
    with running.connect("probe") as sock:
        sock.sendall(b"GET /entitled HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        assert "Connection: keep-alive" in read_answer(sock)[1]
        sock.sendall(b"GET /entitled HTTP/1.0\r\n\r\n")
        assert "Connection: close" in split(read_all(sock))[1]


@BOTH
def test_a_request_sent_byte_by_byte_is_answered(running: Server, listener: str) -> None:
    with running.connect(listener) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in KEPT[:-1]:
            sock.sendall(bytes([byte]))
        assert silent(sock, 0.05)
        sock.sendall(KEPT[-1:])
        assert read_answer(sock)[0] == 200


def test_requests_sent_ahead_are_answered_in_order_one_each(running: Server) -> None:
    paths = ["/echo?1", "/quick-echo?2", "/echo?3", "/quick-echo?4"] * 10
    with running.connect("api") as sock:
        sock.sendall(b"".join(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode() for path in paths))
        found = [json.loads(read_answer(sock)[2])["RAW_URI"] for _ in paths]
        assert found == paths
        assert silent(sock, 0.05)


def test_nothing_is_answered_after_a_request_that_closes(running: Server) -> None:
    assert running.send("api", LAST + KEPT).count(b"HTTP/1.1") == 1


@BOTH
@pytest.mark.parametrize("path", ["/entitled", "/echo"])
def test_head_has_the_head_of_get_and_no_body(running: Server, listener: str, path: str) -> None:
    with running.connect(listener) as sock:
        sock.sendall(f"HEAD {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode() + KEPT)
        status, head, _ = read_answer(sock, head_only=True)
        assert status == 200
        assert int(head.split("Content-Length: ")[1].split()[0]) > 0
        assert json.loads(read_answer(sock)[2])["entitled"] is True


@BOTH
def test_head_of_a_failing_route_has_no_body_either(running: Server, listener: str) -> None:
    status, _, body = running.ask(listener, "/error", method="HEAD")
    assert (status, body) == (500, b"")


def test_quick_routes_are_answered_on_the_poller_and_others_in_the_pool(running: Server) -> None:
    assert running.json("api", "/quick-echo")["thread"] == "MainThread"
    assert running.json("api", "/echo")["thread"].startswith("pool-")


def test_a_quick_route_with_a_long_body_is_read_in_the_pool(running: Server) -> None:
    assert running.json("api", "/quick-echo", body=b"x" * 5_000)["thread"].startswith("pool-")


@BOTH
def test_a_reply_from_memory_is_given_on_the_poller_and_the_connection_stays(running: Server, listener: str) -> None:
    with running.connect(listener) as sock:
        for method in ("GET", "GET", "POST"):
            sock.sendall(f"{method} /reply-echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx".encode())
            status, head, body = read_answer(sock)
            assert (status, json.loads(body)) == (200, {"method": method, "thread": "MainThread"})
            assert "Connection: keep-alive" in head
        sock.sendall(b"HEAD /reply-echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        said = read_all(sock)
        assert said.startswith(b"HTTP/1.1 200 ")
        assert said.endswith(b"\r\n\r\n")
        assert b"Connection: close" in said


@BOTH
def test_a_body_that_cannot_be_read_is_refused_where_the_reply_is_from_memory(running: Server, listener: str) -> None:
    head = b"GET /reply-error HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    refused = running.send(listener, head + b"1\r\nx\r\n0\r\nContent-Length: 1\r\n\r\n")
    assert refused.startswith(b"HTTP/1.1 400 ")
    assert b'"reason": "bad_request"' in refused


@BOTH
def test_a_reply_from_memory_that_cannot_be_made_is_a_500(running: Server, listener: str) -> None:
    before = running.json("api", "/counters")["failed"]
    status, _, body = running.ask(listener, "/reply-error")
    assert (status, json.loads(body)["reason"]) == (500, "internal_error")
    assert b"secret" not in body
    assert running.ask(listener, "/reply-error", method="HEAD")[::2] == (500, b"")
    assert running.json("api", "/counters")["failed"] == before + 2


def test_a_long_body_is_read_in_the_pool_whatever_the_reply(running: Server) -> None:
    assert running.json("api", "/reply-echo", body=b"x" * 5_000)["thread"].startswith("pool-")


def test_the_server_does_not_name_itself(running: Server) -> None:
    for path in ("/entitled", "/echo", "/error"):
        assert "\r\nServer:" not in running.ask("api", path)[1]
    assert b"Server:" not in running.send("api", b"GARBAGE\r\n\r\n")


@BOTH
@pytest.mark.parametrize("path", ["/error", "/quick-error", "/quick-refuses", "/half-an-answer"])
def test_a_failing_route_is_a_problem_that_tells_nothing(running: Server, listener: str, path: str) -> None:
    status, head, body = running.ask(listener, path)
    assert status == 500
    assert "Content-Type: application/problem+json" in head
    assert json.loads(body)["reason"] == "internal_error"
    assert b"secret" not in body
    assert b"Traceback" not in body


def test_a_working_route_is_not_counted_as_failed(running: Server) -> None:
    before = running.json("api", "/counters")["failed"]
    running.ask("api", "/echo")
    assert running.json("api", "/counters")["failed"] == before
    running.ask("api", "/error")
    assert running.json("api", "/counters")["failed"] == before + 1


# Bodies


def test_a_body_in_two_parts_is_one_body(running: Server) -> None:
    with running.connect("api") as sock:
        sock.sendall(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n01234")
        assert silent(sock, 0.05)
        sock.sendall(b"56789" + KEPT)
        assert json.loads(read_answer(sock)[2])["body"] == "0123456789"
        assert read_answer(sock)[0] == 200


def test_a_body_of_the_longest_length_arrives_whole(running: Server) -> None:
    body = b"0123456789abcdef" * 65_536
    assert running.json("api", "/echo", method="POST", body=body)["body"].encode() == body


def test_a_chunked_body_arrives_whole_with_its_length(running: Server) -> None:
    head = b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    with running.connect("api") as sock:
        for part in (head, b"5\r\nhel", b"lo\r\n6;a=b\r\n wor", b"ld\r\n0\r\n", b"X-Sum: 1\r\n"):
            sock.sendall(part)
            assert silent(sock, 0.03)
        sock.sendall(b"\r\n" + KEPT)
        found = json.loads(read_answer(sock)[2])
        assert found["body"] == "hello world"
        assert found["CONTENT_LENGTH"] == "11"
        assert read_answer(sock)[0] == 200


def test_a_chunked_body_of_many_chunks_arrives_whole(running: Server) -> None:
    head = b"POST /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    body = b"".join(b"64\r\n" + b"%04d" % n * 25 + b"\r\n" for n in range(512)) + b"0\r\n\r\n"
    found = json.loads(split(running.send("api", head + body))[2])
    assert found["body"] == "".join(f"{n:04d}" * 25 for n in range(512))


def test_the_client_is_told_to_continue_once(running: Server) -> None:
    with running.connect("api") as sock:
        sock.sendall(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
        assert sock.recv(4096) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(b"bo")
        assert silent(sock, 0.05)
        sock.sendall(b"dy")
        status, _, body = read_answer(sock)
        assert (status, json.loads(body)["body"]) == (200, "body")
        assert silent(sock, 0.05)


@pytest.mark.parametrize("version", ["1.1", "1.0"])
def test_a_client_that_need_not_wait_is_not_told_to_continue(running: Server, version: str) -> None:
    head = f"POST /echo HTTP/{version}\r\nHost: x\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n"
    with running.connect("api") as sock:
        if version == "1.0":
            sock.sendall(head.encode())
            assert silent(sock, 0.05)
            sock.sendall(b"body")
        else:
            sock.sendall(head.encode() + b"body")
        assert read_answer(sock)[0] == 200


def test_a_body_too_long_is_refused_instead_of_continued(running: Server) -> None:
    head = b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999\r\nExpect: 100-continue\r\n\r\n"
    answer = running.send("api", head)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"100 Continue" not in answer


# Closing


@BOTH
@pytest.mark.parametrize("path", ["/entitled", "/echo"])
def test_a_client_that_has_finished_sending_gets_its_answer(running: Server, listener: str, path: str) -> None:
    answer = running.send(listener, f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert split(answer)[0] == 200


@BOTH
def test_a_client_that_has_finished_within_a_request_gets_none(running: Server, listener: str) -> None:
    assert running.send(listener, b"GET /entitled HTTP/1.1\r\nHost: x\r\n") == b""
    assert running.send(listener, b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbo") == b""


def test_an_answer_survives_the_bytes_that_follow_a_refused_request(running: Server) -> None:
    """A reset would throw away what the client has not read yet."""
    with running.connect("api") as sock:
        sock.sendall(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3000000\r\n\r\n" + b"x" * 3_000_000)
        assert split(read_all(sock))[0] == 413


def test_a_slow_reader_gets_every_byte_of_a_big_answer(running: Server) -> None:
    size = 5_000_000
    with running.connect("api") as sock:
        sock.sendall(f"GET /big?{size} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        first = sock.recv(100)
        running.probe_seconds("api")  # whatever is stuck in our answer, others are served
        assert len(split(first + read_all(sock))[2]) == size


def test_a_client_that_leaves_within_its_answer_harms_nobody(running: Server) -> None:
    with running.connect("api") as sock:
        sock.sendall(b"GET /big?5000000 HTTP/1.1\r\nHost: x\r\n\r\n")
        sock.recv(100)
    eventually(lambda: running.json("probe", "/counters")["open"]["api"] == 0)
    assert running.ask("api", "/entitled")[0] == 200
