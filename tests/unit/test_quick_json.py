"""What a health check parses with, against `json`."""

from __future__ import annotations

import json
import sys

import pytest

from sidecar import quick_json

DOCUMENTS = (
    '{"a": [1, -2.5e3, true, false, null, "\\u00e9 \\ud83d\\ude00 \\n"], "b": {}}',
    ' \t\r\n{"entitled": true}\n',
    '"é"',
    "[]",
    "0",
)
WRONG = ("", " ", "{", '{"a"}', "{'a': 1}", "[1,]", "1 2", '{"a": 1} {}', "NaN", "[Infinity]", '"\n"', "\x00", "\x0b1")


@pytest.mark.parametrize("text", DOCUMENTS)
def test_a_document_means_what_it_means_to_json(text: str) -> None:
    assert quick_json.loads(text.encode()) == json.loads(text)


@pytest.mark.parametrize("text", WRONG)
def test_what_is_no_json_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError):
        quick_json.loads(text.encode())


def test_bytes_that_are_no_utf_8_are_a_value_error() -> None:
    for content in (b'"\xff"', '"a"'.encode("utf-16"), b"\xef\xbb\xbf{}"):
        with pytest.raises(ValueError):
            quick_json.loads(content)


def test_a_document_that_is_too_deep_is_a_recursion_error() -> None:
    with pytest.raises(RecursionError):
        quick_json.loads(b"[" * 200_000)


def test_another_interpreter_parses_with_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "_json", None)
    assert quick_json.loads(b'{"a": 1}') == {"a": 1}
