"""Changes by grammar get beyond the first check, and all come from the seed."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from sidecar import proof
from sidecar.errors import SettingsError, TokenRejected
from sidecar.settings import yaml_file
from sidecar.settings.table import BY_NAME
from sidecar.strict_json import parse

from . import http_target, kept_target, targets, token_target
from .__main__ import CORPUS, NAMES
from .mutate import changed, changed_once, grammars, mutator

CHANGES = 300
NOW = datetime(2026, 3, 1, tzinfo=UTC)


def inputs(name: str) -> list[bytes]:
    chance, grammar = random.Random(1), grammars()[name]
    corpus = [one.read_bytes() for one in sorted((CORPUS / name).iterdir())]
    return [changed(chance, chance.choice(corpus), grammar) for _ in range(CHANGES)]


def is_signed(data: bytes) -> bool:
    try:
        token = token_target.token_of(data, NOW)
        proof.check(token, token_target.key().public_key(), token_target.EXPECTED, NOW)
    except proof.ProofRejected as refused:
        return refused.reason not in ("signature_missing", "token_malformed", "token_algorithm", "token_signature")
    return True


def kept_reasons(data: bytes) -> list[str]:
    """Return why each kind of kept file refuses the text; empty: it opens the gate."""
    return [_reason(accepts, kept_target.text_of(data)) for accepts, _ in kept_target.CHECKS]


def _reason(accepts: Callable[[str], None], text: str) -> str:
    try:
        accepts(text)
    except TokenRejected as refused:
        return refused.reason
    return ""


def is_kept(data: bytes) -> bool:
    return set(kept_reasons(data)) != {"kept_unreadable"}


def is_request(data: bytes) -> bool:
    return isinstance(http_target.sidecar(data)[0], http_target.Read)


def is_yaml(data: bytes) -> bool:
    try:
        return bool(yaml_file.parse(data, targets.CONFIG))
    except SettingsError:
        return False


def is_json(data: bytes) -> bool:
    try:
        return parse(data.decode()) != {}
    except ValueError:
        return False


BEYOND: dict[str, tuple[Callable[[bytes], bool], float]] = {
    "token": (is_signed, 0.1),
    "kept": (is_kept, 0.05),
    "http": (is_request, 0.1),
    "settings": (is_yaml, 0.3),
    "manifest": (is_yaml, 0.3),
    "push": (is_json, 0.05),
    "tags": (is_json, 0.05),
    "taskdef": (is_json, 0.05),
    "child": (is_json, 0.05),
}


@pytest.mark.parametrize("name", BEYOND)
def test_changes_get_beyond_the_first_check(name: str) -> None:
    passes, share = BEYOND[name]
    found = inputs(name)
    assert share < sum(map(passes, found)) / len(found) < 0.98, sum(map(passes, found)) / len(found)


def test_a_kept_file_that_opens_the_gate_often_does_so_after_a_change() -> None:
    chance, grammar = random.Random(1), grammars()["kept"]
    whole = [(CORPUS / "kept" / name).read_bytes() for name in ("answer", "pass", "contract")]
    found = [changed_once(chance, chance.choice(whole), grammar) for _ in range(CHANGES)]
    assert 0.1 < sum("" in kept_reasons(one) for one in found) / CHANGES < 0.5


def test_each_grammar_is_of_a_target() -> None:
    assert grammars().keys() == BEYOND.keys()
    assert grammars().keys() <= set(NAMES)


def test_each_line_of_the_grammar_of_settings_is_one_setting() -> None:
    found = [yaml_file.parse(line, targets.CONFIG) for line in grammars()["settings"].parts]
    assert {name for one in found for name in one} == BY_NAME.keys()
    assert all(len(one) == 1 for one in found)


def test_settings_made_of_such_lines_are_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = {line.partition(b":")[0]: line for line in grammars()["settings"].parts}
    refused: list[SettingsError] = []

    def noted(self: SettingsError) -> str:
        refused.append(self)
        return ""

    monkeypatch.setattr(SettingsError, "__str__", noted)
    targets.settings_file(lines[b"public_key"])
    assert refused == []
    targets.settings_file(b"public_key: x")
    assert len(refused) == 1


def test_changes_come_from_the_seed() -> None:
    mutate = mutator("settings", lambda data, size_max: b"native")
    assert mutate is not None
    made = [mutate(b"on_denied: exit", 40, seed) for seed in range(50)]
    assert made == [mutate(b"on_denied: exit", 40, seed) for seed in range(50)]
    assert b"native" in made
    assert len(set(made)) > 20
    assert max(map(len, made)) <= 40


def test_a_target_without_a_grammar_is_changed_by_libfuzzer_alone() -> None:
    assert mutator("at", lambda data, size_max: data) is None
