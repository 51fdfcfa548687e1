"""What is refused, how, and that nothing a client writes chooses its listener or bends its path."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.integration.server.servers import Server, eventually, server, split

HOST = b"Host: x\r\n"
GET = b"GET /entitled HTTP/1.1\r\n" + HOST
POST = b"POST /echo HTTP/1.1\r\n" + HOST
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"

REFUSED = {
    "duplicate content-length": (POST + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\nx", 400),
    "content-length list": (POST + b"Content-Length: 1, 1\r\n\r\nx", 400),
    "content-length signed": (POST + b"Content-Length: +1\r\n\r\nx", 400),
    "content-length negative": (POST + b"Content-Length: -1\r\n\r\nx", 400),
    "content-length with transfer-encoding": (
        POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    "transfer-encoding twice chunked": (POST + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", 400),
    "transfer-encoding without chunked": (POST + b"Transfer-Encoding: gzip\r\n\r\n", 400),
    "transfer-encoding in http/1.0": (
        b"POST /echo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    "transfer-encoding unknown": (POST + b"Transfer-Encoding: br\r\n\r\n", 501),
    "chunked over gzip": (POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
    "chunked over gzip in two headers": (
        POST + b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        501,
    ),
    "chunked over identity": (POST + b"Transfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n", 501),
    "minor version of two digits": (b"GET /entitled HTTP/1.10\r\n" + HOST + b"\r\n", 400),
    "unknown minor version without a host": (b"GET /entitled HTTP/1.2\r\n\r\n", 400),
    "obsolete folding": (GET + b"X-A: 1\r\n 2\r\n\r\n", 400),
    "bare lf in the request line": (b"GET /entitled HTTP/1.1\n" + HOST + b"\r\n", 400),
    "bare lf in a header": (GET + b"X-A: 1\nX-B: 2\r\n\r\n", 400),
    "bare lf everywhere": (b"GET /entitled HTTP/1.1\nHost: x\n\n", 400),
    "bare cr in a header": (GET + b"X-A: 1\rX-B: 2\r\n\r\n", 400),
    "nul in a header": (GET + b"X-A: 1\x002\r\n\r\n", 400),
    "space before the colon": (GET + b"X-A : 1\r\n\r\n", 400),
    "header without a colon": (GET + b"nonsense\r\n\r\n", 400),
    "no host": (b"GET /entitled HTTP/1.1\r\nX-Host: x\r\n\r\n", 400),
    "two hosts": (GET + HOST + b"\r\n", 400),
    "no version": (b"GET /entitled\r\n\r\n", 400),
    "http/2 preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "http/3 version": (b"GET /entitled HTTP/3.0\r\n\r\n", 400),
    "lower case method": (b"get /entitled HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "space in the target": (b"GET /enti tled HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "control byte in the target": (b"GET /entitled\x01 HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "authority as a target": (b"CONNECT x:80 HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "relative target": (b"GET entitled HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "two empty lines first": (b"\r\n\r\n" + GET + b"\r\n", 400),
    "proxy protocol": (b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\n" + GET + b"\r\n", 400),
    "chunk size not hexadecimal": (CHUNKED + b"zz\r\nx\r\n0\r\n\r\n", 400),
    "chunk size signed": (CHUNKED + b"+1\r\nx\r\n0\r\n\r\n", 400),
    "chunk size prefixed": (CHUNKED + b"0x1\r\nx\r\n0\r\n\r\n", 400),
    "chunk size empty": (CHUNKED + b"\r\nx\r\n0\r\n\r\n", 400),
    "chunk longer than its size": (CHUNKED + b"1\r\nxyz\r\n0\r\n\r\n", 400),
    "chunk ended by a bare lf": (CHUNKED + b"1\nx\n0\n\n", 400),
    "chunk extension with a bare cr": (CHUNKED + b"1;a\rb\r\nx\r\n0\r\n\r\n", 400),
    "white space before a chunk extension": (CHUNKED + b"1 ;a=b\r\nx\r\n0\r\n\r\n", 400),
    "chunk extension without an end": (CHUNKED + b"1;" + b"a" * 300, 400),
    "content-length as a trailer": (CHUNKED + b"0\r\nContent-Length: 1\r\n\r\n", 400),
    "chunk past the limit": (CHUNKED + b"FFFFFFF\r\n", 413),
    "too many chunks": (CHUNKED + b"1\r\nx\r\n" * 513, 413),
    "trailer without an end": (CHUNKED + b"0\r\n" + b"X-A: 1\r\n" * 2_500, 431),
    "body past the limit": (POST + b"Content-Length: 1048577\r\n\r\n", 413),
    "content-length of many digits": (POST + b"Content-Length: " + b"9" * 5_000 + b"\r\n\r\n", 400),
    "unknown expectation": (POST + b"Content-Length: 1\r\nExpect: tea\r\n\r\nx", 417),
    "request line too long": (b"GET /" + b"a" * 5_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n", 414),
    "request line without an end": (b"GET /" + b"a" * 5_000, 414),
    "too many headers": (GET + b"X-A: 1\r\n" * 65 + b"\r\n", 431),
    "a header too long": (GET + b"X-A: " + b"a" * 8_200 + b"\r\n\r\n", 431),
    "headers too long together": (GET + (b"X-A: " + b"a" * 5_000 + b"\r\n") * 4 + b"\r\n", 431),
    "headers without an end": (GET + (b"X-A: " + b"a" * 5_000 + b"\r\n") * 4, 431),
}
REASONS = {
    400: "bad_request",
    413: "body_too_large",
    414: "uri_too_long",
    417: "expectation_failed",
    431: "headers_too_large",
    501: "unsupported_transfer_coding",
}
SERVED = {
    "one empty line first": b"\r\n" + GET + b"\r\n",
    "a long request line": b"GET /entitled?" + b"a" * 4_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n",
    "a long header": GET + b"X-A: " + b"a" * 8_000 + b"\r\n\r\n",
    "many headers": GET + b"X-A: 1\r\n" * 60 + b"\r\n",
    "a body of no length": POST.replace(b"/echo", b"/entitled") + b"Content-Length: 0\r\n\r\n",
    "an empty host": b"GET /entitled HTTP/1.1\r\nHost:\r\n\r\n",
    "no host in http/1.0": b"GET /entitled HTTP/1.0\r\n\r\n",
    "chunked in capitals": POST.replace(b"/echo", b"/entitled") + b"Transfer-Encoding: Chunked\r\n\r\n0\r\n\r\n",
    "an unknown minor version": b"GET /entitled HTTP/1.9\r\n" + HOST + b"\r\n",
    "an absolute target": b"GET http://x/entitled HTTP/1.1\r\n" + HOST + b"\r\n",
}


@pytest.fixture(scope="module")
def running() -> Iterator[Server]:
    # A prefix in the environment must not bend paths either.
    with server(env={"SCRIPT_NAME": "/entitled", "FORWARDED_ALLOW_IPS": "*"}) as started:
        yield started
        assert started.json("probe", "/counters")["unexpected"] == 0


@pytest.mark.parametrize("case", REFUSED)
def test_refused(running: Server, case: str) -> None:
    data, expected = REFUSED[case]
    refused = running.json("probe", "/counters")["refused"].get(f"api {expected}", 0)
    status, head, body = split(running.send("api", data))
    assert status == expected
    assert "Content-Type: application/problem+json" in head
    assert "Connection: close" in head
    assert f"Content-Length: {len(body)}" in head
    problem = json.loads(body)
    assert set(problem) == {"type", "title", "status", "reason", "detail"}
    assert (problem["type"], problem["status"], problem["reason"]) == ("about:blank", status, REASONS[status])
    assert running.json("probe", "/counters")["refused"][f"api {expected}"] == refused + 1


@pytest.mark.parametrize("case", SERVED)
def test_served(running: Server, case: str) -> None:
    for listener in ("probe", "api"):
        assert split(running.send(listener, SERVED[case]))[0] == 200


def test_a_refusal_repeats_nothing_the_client_sent(running: Server) -> None:
    for data in (b"GET /marker<script> HTTP/9\r\n\r\n", GET + b"X-marker : 1\r\n\r\n", b"marker\r\n\r\n"):
        assert b"marker" not in running.send("api", data)


def test_a_request_that_can_never_be_whole_is_refused_before_its_end(running: Server) -> None:
    with running.connect("probe") as sock:
        sock.sendall(GET + b"X-A: 1\nX-B")
        assert sock.recv(12) == b"HTTP/1.1 400"


@pytest.mark.parametrize(("size", "status"), [(4_096, 200), (4_097, 413)])
def test_a_probe_reads_a_short_body_and_no_long_one(running: Server, size: int, status: int) -> None:
    data = b"POST /entitled HTTP/1.1\r\n" + HOST + f"Content-Length: {size}\r\n\r\n".encode() + b"x" * size
    assert split(running.send("probe", data))[0] == status
    assert split(running.send("api", data))[0] == 200


def test_the_trailer_counts_and_no_probe_waits_for_the_pool(running: Server) -> None:
    head = b"POST /quick-echo HTTP/1.1\r\n" + HOST + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    end = b"0\r\n" + b"X-A: 1\r\n" * 60 + b"\r\n"
    most, many, long = b"d0\r\n" + b"x" * 208 + b"\r\n", b"1\r\nx\r\n" * 17, b"ea6\r\n" + b"x" * 3750 + b"\r\n"
    for listener in ("probe", "api"):
        found = json.loads(split(running.send(listener, head + most * 16 + end))[2])
        assert (found["thread"], found["CONTENT_LENGTH"]) == ("MainThread", "3328")
    for body in (many + end, long + end):
        assert split(running.send("probe", head + body))[0] == 413
        assert json.loads(split(running.send("api", head + body))[2])["thread"].startswith("pool-")


def test_the_body_of_a_refused_request_is_never_taken_for_a_request(running: Server) -> None:
    answer = running.send("api", POST + b"Content-Length: 1\r\nContent-Length: 50\r\n\r\n" + GET + b"\r\n")
    assert answer.count(b"HTTP/1.1 ") == 1


def test_the_rest_of_a_bad_chunked_body_is_never_taken_for_a_request(running: Server) -> None:
    answer = running.send("api", CHUNKED + b"1\r\nxyz\r\n0\r\n\r\n" + GET + b"\r\n")
    assert answer.count(b"HTTP/1.1 ") == 1


FORGERIES = {
    "forwarded": "Forwarded: for=1.1.1.1;host=api;proto=https\r\n",
    "x-forwarded": "X-Forwarded-For: 1.1.1.1\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Prefix: /v1\r\n",
    "secure scheme": "X-Forwarded-Ssl: on\r\nX-Forwarded-Protocol: ssl\r\n",
    "script name": "SCRIPT_NAME: /quick-echo\r\nSCRIPT-NAME: /quick-echo\r\n",
    "path info": "PATH_INFO: /v1/status\r\nPATH-INFO: /v1/status\r\n",
    "rewrite": "X-Original-URL: /v1/status\r\nX-Rewrite-URL: /v1/status\r\n",
    "listener": "sidecar.listener: api\r\nSidecar-Listener: api\r\nsidecar_listener: api\r\n",
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_no_header_changes_path_listener_address_or_scheme(running: Server, forgery: str) -> None:
    found = running.json("probe", "/quick-echo", headers=FORGERIES[forgery])
    assert found["PATH_INFO"] == "/quick-echo"
    assert found["SCRIPT_NAME"] == ""
    assert found["sidecar.listener"] == "probe"
    assert found["REMOTE_ADDR"] == "127.0.0.1"
    assert found["wsgi.url_scheme"] == "http"
    assert found["SERVER_PORT"] == str(running.ports["probe"])


@pytest.mark.parametrize("listener", ["probe", "api"])
@pytest.mark.parametrize("target", ["http://{other}/quick-echo", "https://api/quick-echo", "/quick-echo"])
def test_no_target_and_no_host_changes_the_listener(running: Server, listener: str, target: str) -> None:
    other = f"127.0.0.1:{running.ports['api' if listener == 'probe' else 'probe']}"
    head = f"GET {target.format(other=other)} HTTP/1.1\r\nHost: {other}\r\nConnection: close\r\n\r\n"
    found = json.loads(split(running.send(listener, head.encode()))[2])
    assert found["sidecar.listener"] == listener
    assert found["PATH_INFO"] == "/quick-echo"
    assert found["SERVER_PORT"] == str(running.ports[listener])


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("http://x", "/"),
        ("http://x?q", "/"),
        ("//v1/quick-echo", "//v1/quick-echo"),
        ("/a/../quick-echo", "/a/../quick-echo"),
        ("/quick%2Decho", "/quick-echo"),
    ],
)
def test_a_path_is_what_the_target_says_and_starts_with_a_slash(running: Server, target: str, path: str) -> None:
    head = f"POST {target} HTTP/1.1\r\nHost: x\r\nX-Path: {path}\r\nConnection: close\r\n\r\n"
    answer = split(running.send("api", head.encode()))
    assert answer[0] == 200
    if path.endswith("echo"):
        assert json.loads(answer[2])["PATH_INFO"] == path


def test_refusals_leave_no_connection_behind(running: Server) -> None:
    running.send("api", b"GARBAGE\r\n\r\n")
    eventually(lambda: running.json("probe", "/counters")["open"]["api"] == 0)
