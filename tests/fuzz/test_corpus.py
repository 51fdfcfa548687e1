"""Each kept input is answered as documented, and a search would notice what is not."""

from __future__ import annotations

import ast
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sidecar import proof

from . import targets, token_target
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
