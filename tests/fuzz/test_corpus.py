"""Each kept input is answered as documented, and a search would notice what is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from . import http_target, token_target
from .__main__ import CORPUS, NAMES
from .targets import TARGETS
from .watch import Watched

INPUTS_MAX = 50


def inputs(name: str) -> list[Path]:
    return sorted((CORPUS / name).iterdir())


def test_every_target_can_be_run_and_has_a_corpus() -> None:
    assert tuple(TARGETS) == NAMES
    assert {one.name for one in CORPUS.iterdir()} == set(NAMES)
    assert all(0 < len(inputs(name)) <= INPUTS_MAX for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_each_kept_input_is_answered(name: str) -> None:
    watched = Watched(TARGETS[name])
    for file in inputs(name):
        watched(file.read_bytes())


def test_a_kept_token_is_accepted_by_all_three() -> None:
    good = b'S{"alg":"PS256"}\n{"productCode":"prod1","publicKeyVersion":1,"nonce":"n","iat":@NOW@}\n'
    token_target.run(good)
    from datetime import UTC, datetime

    from sidecar import proof

    now = datetime.now(UTC)
    proof.check(token_target.token_of(good, now), token_target.key().public_key(), token_target.EXPECTED, now)


def test_what_another_parser_refuses_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_target, "other", lambda data: ("no",))
    with pytest.raises(http_target.Disagreement, match="h11"):
        http_target.run(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")


PLAIN = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nbo\r\n0\r\n\r\n"
CLOSING = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


def test_all_three_read_each_request_of_a_connection() -> None:
    data = PLAIN + CHUNKED + b"\r\n" + PLAIN
    readings = [read(data) for read in (http_target.sidecar, http_target.other, http_target.gunicorn)]
    get, post = http_target.Read("GET", "/", b""), http_target.Read("POST", "/", b"bo")
    assert readings == [(get, post, get, None)] * 3
    http_target.run(data)


def test_nothing_is_read_after_a_request_that_closes() -> None:
    assert http_target.sidecar(CLOSING + PLAIN) == (http_target.Read("GET", "/", b""),)


def test_nothing_is_read_after_a_body_that_is_refused() -> None:
    assert http_target.sidecar(CHUNKED[:-2] + b"no: trailer\0\r\n\r\n" + PLAIN) == ("bad_request",)


@pytest.mark.parametrize("name", ["other", "gunicorn"])
def test_another_second_request_is_a_finding(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    first = http_target.Read("GET", "/", b"")
    monkeypatch.setattr(http_target, name, lambda data: (first, http_target.Read("GET", "/other", b"")))
    http_target.run(PLAIN)
    with pytest.raises(http_target.Disagreement, match="request 2"):
        http_target.run(PLAIN + PLAIN)


def test_a_request_that_another_parser_does_not_see_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_target, "other", lambda data: (http_target.Read("GET", "/", b""), None))
    with pytest.raises(http_target.Disagreement, match="request 2 is accepted here, but h11 says None"):
        http_target.run(PLAIN + PLAIN)


def test_a_request_that_pieces_change_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = http_target.sidecar
    monkeypatch.setattr(http_target, "sidecar", lambda data, cuts=(): whole(data[1:] if cuts else data, cuts))
    with pytest.raises(http_target.Disagreement, match="in one piece"):
        http_target.run(PLAIN)
