"""What a health check parses with, against `json`."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from sidecar import quick_json

DOCUMENTS = (
    '{"a": [1, -2.5e3, true, false, null, "\\u00e9 \\ud83d\\ude00 \\n"], "b": {}}',
    ' \t\r\n{"entitled": true}\n',
    '"é"',
    "[]",
    "0",
    "NaN",
    "[-Infinity, 1e999]",
)
WRONG = ("", " ", "{", '{"a"}', "{'a': 1}", "[1,]", "1 2", '{"a": 1} {}', '"\n"', "\x00", "\x0b1")


@pytest.mark.parametrize("text", DOCUMENTS)
def test_a_document_means_what_it_means_to_json(text: str) -> None:
    assert repr(quick_json.loads(text.encode())) == repr(json.loads(text))  # NaN is not itself


@pytest.mark.parametrize("text", WRONG)
def test_what_is_no_json_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError):
        quick_json.loads(text.encode())


def test_any_encoding_that_json_takes_is_taken() -> None:
    for content in ('"a"'.encode("utf-16"), b"\xef\xbb\xbf{}", b'"\xed\xa0\x80"'):
        assert quick_json.loads(content) == json.loads(content)
    with pytest.raises(ValueError):
        quick_json.loads(b'"\xff"')


def test_an_error_is_a_value_error_where_json_is_not_imported_yet() -> None:
    program = (
        "import sys\n"
        "from sidecar import quick_json\n"
        "assert 'json' not in sys.modules\n"
        "try:\n    quick_json.loads(b'{')\n"
        "except ValueError as exc:\n    print(exc)"
    )
    # An empty environment: what measures coverage would import it.
    ended = subprocess.run(
        [sys.executable, "-c", program], env={}, capture_output=True, text=True, check=True, timeout=60
    )
    assert ended.stdout.startswith("Expecting property name")


def test_a_document_that_is_too_deep_is_a_recursion_error() -> None:
    with pytest.raises(RecursionError):
        quick_json.loads(b"[" * 200_000)


def test_another_interpreter_parses_with_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "_json", None)
    assert quick_json.loads(b'{"a": 1}') == {"a": 1}
