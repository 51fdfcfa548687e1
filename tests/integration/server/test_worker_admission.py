"""Who may ask the product's listener of a running server. The probe listener asks nothing of anyone."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.integration.server.servers import Server, read_all, server, split

TOKEN = "s3cret-token-of-the-test"
EVENT = b'{"dimension": "requests", "quantity": 1}'
FOREIGN = "Origin: https://evil.example\r\nContent-Type: text/plain\r\n"


@pytest.fixture(scope="module")
def running() -> Iterator[Server]:
    with server(site=True, admission={"names": ["x"]}) as found:
        yield found


@pytest.fixture(scope="module")
def guarded() -> Iterator[Server]:
    with server(site=True, admission={"names": ["x"], "token": TOKEN}) as found:
        yield found


def reason(answer: tuple[int, str, bytes]) -> tuple[int, str]:
    return answer[0], json.loads(answer[2])["reason"]


def test_the_simple_post_of_a_foreign_page_adds_no_usage(running: Server) -> None:
    answer = running.ask("api", "/v1/usage", method="POST", headers=FOREIGN, body=EVENT)
    assert reason(answer) == (403, "cross_origin")
    assert running.ask("api", "/v1/usage", method="POST", body=EVENT)[0] == 200, "the product's own is kept"


@pytest.mark.parametrize("path", ["/v1/status", "/v1/usage", "/v1/usage/export", "/nowhere", "/entitled"])
def test_no_route_answers_a_name_that_was_rebound(running: Server, path: str) -> None:
    with running.connect("api") as sock:
        sock.sendall(f"GET {path} HTTP/1.1\r\nHost: evil.example\r\n\r\n".encode())
        assert reason(split(read_all(sock))) == (403, "host_refused")


def test_the_refusal_of_a_head_request_has_no_body(running: Server) -> None:
    with running.connect("api") as sock:
        sock.sendall(b"HEAD /entitled HTTP/1.1\r\nHost: evil.example\r\n\r\n")
        head, _, body = read_all(sock).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 403 ")
    assert body == b""


def test_the_body_of_a_refused_request_is_not_waited_for(running: Server) -> None:
    with running.connect("api") as sock:
        sock.sendall(b"POST /v1/usage HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 1000000\r\n\r\n")
        assert reason(split(read_all(sock))) == (403, "host_refused")


def test_the_probe_listener_answers_to_any_host_and_origin(guarded: Server) -> None:
    with guarded.connect("probe") as sock:
        sock.sendall(f"GET /entitled HTTP/1.1\r\nHost: 10.1.2.3\r\n{FOREIGN}Connection: close\r\n\r\n".encode())
        assert split(read_all(sock))[0] != 403


def test_a_route_needs_the_token_and_a_probe_does_not(guarded: Server) -> None:
    for path in ("/v1/status", "/v1/usage", "/nowhere"):
        status, head, body = guarded.ask("api", path)
        assert (status, json.loads(body)["reason"]) == (401, "token_refused"), path
        assert "www-authenticate: bearer" in head.lower()
        assert guarded.ask("api", path, headers=f"Authorization: Bearer {TOKEN}\r\n")[0] in (200, 404), path
    assert guarded.ask("api", "/entitled")[0] != 401
    assert guarded.ask("api", "/healthz")[0] == 200


def test_a_proof_needs_the_token_too(guarded: Server) -> None:
    nonce = b'{"nonce": "0123456789abcdef"}'
    assert guarded.ask("api", "/v1/proof", method="POST", body=nonce)[0] == 401
    known = f"Authorization: Bearer {TOKEN}\r\n"
    assert guarded.ask("api", "/v1/proof", method="POST", headers=known, body=nonce)[0] == 200


def test_a_push_without_the_token_is_refused_and_with_it_kept(guarded: Server) -> None:
    assert guarded.ask("api", "/v1/usage", method="POST", body=EVENT)[0] == 401
    proof = f"Authorization: Bearer {TOKEN}\r\n"
    assert guarded.ask("api", "/v1/usage", method="POST", headers=proof, body=EVENT)[0] == 200
    assert guarded.ask("api", "/v1/usage", method="POST", headers=proof.replace("s3", "t3"), body=EVENT)[0] == 401
