"""Usage through the real worker: pushes answered by another thread, everything else by Flask."""

from __future__ import annotations

import gzip
import json
import os
import threading
import zlib
from collections.abc import Iterator

import pytest

from sidecar.cli import usage
from sidecar.errors import Exit
from tests.integration.server.servers import Server, read_answer, server

BOM = b"\xef\xbb\xbf"
COMPRESS = {"gzip": gzip.compress, "deflate": zlib.compress, "identity": bytes}
ONE = b'{"dimension": "requests", "quantity": 1}'


@pytest.fixture(scope="module")
def running() -> Iterator[Server]:
    with server(site=True) as found:
        yield found


def head(length: int, more: str = "") -> bytes:
    return f"POST /v1/usage HTTP/1.1\r\nHost: x\r\n{more}Content-Length: {length}\r\n\r\n".encode()


def test_pushes_on_one_connection_are_answered_one_by_one(running: Server) -> None:
    with running.connect("api") as sock:
        for size in (1, 2, 1000, 1):
            body = b"[" + b",".join([ONE] * size) + b"]"
            sock.sendall(head(len(body)) + body)
            status, _, answer = read_answer(sock)
            assert (status, json.loads(answer)) == (200, {"accepted": size, "duplicates": 0})


def test_a_push_sent_ahead_of_others_loses_none(running: Server) -> None:
    with running.connect("api") as sock:
        sock.sendall((head(len(ONE)) + ONE) * 20)
        assert [read_answer(sock)[0] for _ in range(20)] == [200] * 20


def test_many_clients_at_once_are_each_answered(running: Server) -> None:
    statuses: list[int] = []

    def push() -> None:
        with running.connect("api") as sock:
            for _ in range(20):
                sock.sendall(head(len(ONE)) + ONE)
                statuses.append(read_answer(sock)[0])

    threads = [threading.Thread(target=push) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [200] * 320


@pytest.mark.parametrize("content_type", ["", "Content-Type: application/x-www-form-urlencoded\r\n"])
def test_the_content_type_is_not_asked_for(running: Server, content_type: str) -> None:
    assert running.ask("api", "/v1/usage", method="POST", body=ONE, headers=content_type)[0] == 200


@pytest.mark.parametrize("coding", ["gzip", "deflate", "identity"])
@pytest.mark.parametrize("count", [1, 1000])
def test_a_compressed_push_is_kept_as_a_plain_one(running: Server, coding: str, count: int) -> None:
    body = COMPRESS[coding](b"[" + b",".join([ONE] * count) + b"]")
    answer = running.ask("api", "/v1/usage", method="POST", body=body, headers=f"Content-Encoding: {coding}\r\n")
    assert (answer[0], json.loads(answer[2])["accepted"]) == (200, count)


def test_compressed_pushes_on_one_connection_and_in_chunks_are_kept(running: Server) -> None:
    body = gzip.compress(ONE)
    with running.connect("api") as sock:
        for _ in range(3):
            sock.sendall(head(len(body), "Content-Encoding: gzip\r\n") + body)
            assert read_answer(sock)[0] == 200
        sock.sendall(head(len(ONE)) + ONE)
        assert read_answer(sock)[0] == 200, "the coding of one request is not the next one's"
        chunked = f"{len(body):x}\r\n".encode() + body + b"\r\n0\r\n\r\n"
        more = "Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n"
        sock.sendall(f"POST /v1/usage HTTP/1.1\r\nHost: x\r\n{more}\r\n".encode() + chunked)
        assert read_answer(sock)[0] == 200


@pytest.mark.slow
@pytest.mark.parametrize("path", ["/v1/usage", "/v1/usage/retry"])
def test_a_bomb_is_refused_and_probes_go_on(running: Server, path: str) -> None:
    bomb = gzip.compress(b" " * (200 << 20))
    answer = running.ask("api", path, method="POST", body=bomb, headers="Content-Encoding: gzip\r\n")
    assert (answer[0], json.loads(answer[2])["reason"]) == (413, "body_too_large")
    assert running.ask("probe", "/healthz")[0] == 200


@pytest.mark.parametrize("body", [gzip.compress(ONE)[:-1], ONE], ids=["cut", "plain"])
def test_a_body_that_is_not_its_coding_is_refused(running: Server, body: bytes) -> None:
    answer = running.ask("api", "/v1/usage", method="POST", body=body, headers="Content-Encoding: gzip\r\n")
    assert (answer[0], json.loads(answer[2])["reason"]) == (400, "bad_request")


def test_another_coding_is_named_with_what_is_read(running: Server) -> None:
    answer = running.ask("api", "/v1/usage", method="POST", body=ONE, headers="Content-Encoding: br\r\n")
    assert (answer[0], json.loads(answer[2])["reason"]) == (415, "unsupported_content_coding")
    assert "Content-Encoding is br" in json.loads(answer[2])["detail"]
    assert "Accept-Encoding: gzip, deflate" in answer[1]


def test_a_probe_with_a_coding_and_no_body_is_answered(running: Server) -> None:
    for listener in ("probe", "api"):
        assert running.ask(listener, "/healthz", headers="Content-Encoding: gzip\r\n")[0] == 200
    assert running.ask("probe", "/healthz", headers="Content-Encoding: br\r\n")[0] == 200


def test_a_byte_order_mark_before_json_is_ignored(running: Server) -> None:
    assert running.ask("api", "/v1/usage", method="POST", body=BOM + ONE)[0] == 200
    assert running.ask("api", "/v1/usage/retry", method="POST", body=BOM + b"{}")[0] == 200
    assert running.ask("api", "/v1/usage", method="POST", body=BOM + BOM + ONE)[0] == 400


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        (b"x" * (1 << 20) + b"x", 413, "body_too_large"),
        (b"[" + b",".join([ONE] * 1001) + b"]", 413, "too_many_events"),
        (b"{", 400, "body_malformed"),
        (b'{"dimension": "x", "quantity": 1}', 404, "dimension_unknown"),
        (b'{"dimension": "requests", "quantity": 1e99}', 422, "quantity_out_of_range"),
    ],
)
def test_a_push_is_refused_as_a_problem(running: Server, body: bytes, status: int, reason: str) -> None:
    found, said, answer = running.ask("api", "/v1/usage", method="POST", body=body)
    assert (found, json.loads(answer)["reason"]) == (status, reason)
    assert "Content-Type: application/problem+json" in said


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
def test_another_method_is_told_both_there_are(running: Server, method: str) -> None:
    status, said, _ = running.ask("api", "/v1/usage", method=method)
    (allow,) = [line for line in said.split("\r\n") if line.startswith("Allow: ")]
    assert (status, {"GET", "POST"} <= set(allow.removeprefix("Allow: ").split(", "))) == (405, True)


def test_records_are_read_where_usage_is_pushed(running: Server) -> None:
    assert running.json("api", "/v1/usage") == {"records": []}
    status, _, body = running.ask("api", "/v1/usage", method="HEAD")
    assert (status, body) == (200, b"")


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_the_probe_listener_knows_no_usage(running: Server, method: str) -> None:
    assert running.ask("probe", "/v1/usage", method=method, body=ONE)[0] == 404


def test_the_commands_are_its_clients(
    running: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in list(os.environ):
        if name.startswith("SIDECAR_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("SIDECAR_API_BIND", f"127.0.0.1:{running.ports['api']}")
    assert usage.report({"dimension": "requests", "quantity": "7"}) == Exit.OK
    assert usage.report({"dimension": "other", "quantity": "7"}) == Exit.REFUSED
    assert usage.show(as_json=False) == usage.export() == Exit.OK
    out, err = capsys.readouterr()
    assert out.splitlines() == ["accepted", "\t".join(usage.COLUMNS)]
    assert "dimension_unknown" in err
