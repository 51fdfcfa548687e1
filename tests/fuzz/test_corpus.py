"""Each kept input is answered as documented, and a search would notice what is not."""

from __future__ import annotations

import ast
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sidecar import proof

from . import http_target, targets, token_target
from .__main__ import CORPUS, NAMES
from .broken import with_mistake
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
    now = datetime.now(UTC)
    proof.check(token_target.token_of(good, now), token_target.key().public_key(), token_target.EXPECTED, now)


GOOD = b'"productCode":"prod1","publicKeyVersion":1,"nonce":"n"'
LAXER = {
    "any signature": (
        "    _check_signature(token, key)\n",
        "",
        b'S{"alg":"PS256"}\n{%s}\n' % GOOD + b"\x00\x80AAAAAAAA",
        "joserfc refuses: BadSignature",
    ),
    "a header of a wrong type": (
        'chain = header.get("x5c", [])',
        "return",
        b'S{"alg":"PS256","x5c":[1]}\n{%s}\n' % GOOD,
        "joserfc refuses",
    ),
    "expired": (
        "_check_age(claims, now)\n\n\n",
        "pass\n\n\n",
        b'S{"alg":"PS256"}\n{%s,"exp":1}\n' % GOOD,
        "ExpiredToken",
    ),
    "not valid yet": (
        '("nbf", 0.0, most,',
        '("nbf", 0.0, math.inf,',
        b'S{"alg":"PS256"}\n{%s,"nbf":9@NOW@}\n' % GOOD,
        "not yet valid",
    ),
    "issued later": (
        '("iat", least, most,',
        '("iat", least, math.inf,',
        b'S{"alg":"PS256"}\n{%s,"iat":9@NOW@}\n' % GOOD,
        "in the future",
    ),
    "a time that is none": (
        "isinstance(at, bool) or",
        "",
        b'S{"alg":"PS256"}\n{%s,"nbf":true}\n' % GOOD,
        "NumericDate",
    ),
    **{
        f"{name} of a wrong type": (
            "    _check_registered(claims)\n",
            "",
            b'S{"alg":"PS256"}\n{%s,"%s":1}\n' % (GOOD, name.encode()),
            f"InvalidClaimError.*{name}",
        )
        for name in ("iss", "sub", "jti", "aud")
    },
}


@pytest.mark.parametrize("name", LAXER)
def test_a_laxer_verifier_is_a_finding(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    right, wrong, data, words = LAXER[name]
    token_target.run(data)
    monkeypatch.setattr(token_target, "proof", with_mistake(proof, right, wrong))
    with pytest.raises(token_target.Disagreement, match=words):
        token_target.run(data)


@pytest.mark.parametrize("other", ["_by_joserfc", "_by_pyjwt"])
def test_either_library_alone_makes_a_laxer_verifier_a_finding(other: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other one is taken to accept everything."""
    expired = b'S{"alg":"PS256"}\n{%s,"exp":1}\n' % GOOD
    monkeypatch.setattr(token_target, "proof", with_mistake(proof, "_check_age(claims, now)\n\n\n", "pass\n\n\n"))
    monkeypatch.setattr(token_target, other, lambda *given: {})
    with pytest.raises(token_target.Disagreement, match="refuses: Expired"):
        token_target.run(expired)


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


SIDECAR = Path(proof.__file__).parent


def test_every_line_that_the_parent_reads_is_read_by_the_target() -> None:
    """`read_message(child, READER, …)` in the product names the reader."""
    named: set[str] = set()
    for file in SIDECAR.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("read_message", "read_messages"):
                named.add(ast.unparse(node.args[1]))
    assert named - {"parse"} == {read.__qualname__ for read, _ in targets.CHILD_LINES}  # read_messages hands `parse` on


def test_the_corpus_has_a_line_for_each_reader() -> None:
    lines = [one.read_bytes() for one in inputs("child")]
    for read, _ in targets.CHILD_LINES:
        assert any(understands(read, line) for line in lines), read.__qualname__


def understands(read: Callable[[bytes], object], line: bytes) -> bool:
    try:
        read(line)
    except ValueError:
        return False
    return True


def test_a_message_that_is_not_said_again_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = tuple((read, lambda found: "{}") for read, _ in targets.CHILD_LINES)
    monkeypatch.setattr(targets, "CHILD_LINES", lines)
    with pytest.raises(ValueError, match="not"):
        targets.child((CORPUS / "child" / "proof").read_bytes())
