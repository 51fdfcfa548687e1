"""No character that a terminal acts upon is left; everything else is as it was."""

from __future__ import annotations

import json
import sys
import unicodedata

import pytest

from sidecar.printable import json_text, lines, one_line, printable

ACTS = ("Cc", "Cf", "Cs", "Zl", "Zp")
"""Categories of what moves the cursor, hides, turns or breaks."""


def test_no_character_of_unicode_that_acts_is_left() -> None:
    for code in range(sys.maxunicode + 1):
        if unicodedata.category(chr(code)) in ACTS:
            assert printable(f"a{chr(code)}b").isprintable(), hex(code)
            assert one_line(f"a{chr(code)}b").isprintable(), hex(code)


@pytest.mark.parametrize("text", ["", "plain text: 100 %", "Grüße, 世界 🙂", "a\\x1bb", 'quoted "text"'])
def test_text_that_prints_is_as_it_was(text: str) -> None:
    assert printable(text) == one_line(text) == lines(text) == text


def test_what_acts_is_shown_as_its_escape() -> None:
    assert printable("\x1b[2Jgone\x9b1m\u202e\x7f") == "\\x1b[2Jgone\\x9b1m\\u202e\\x7f"
    assert one_line(" a\r\n\tb\x1b ") == "a b\\x1b"
    assert lines("a\n\nb\x1b\r") == "a\n\nb\\x1b\\r"
    assert printable("\ud800") == "\\ud800", "half a character cannot be written at all"


def test_json_keeps_its_meaning() -> None:
    value = {"a": "\x7f\x9b\u202e\u2028 ü 🙂 \U000e0001", "b": ["x\ty"]}
    text = json_text(json.dumps(value, ensure_ascii=False).encode() + b"\n")
    assert json.loads(text) == value
    assert text.decode().rstrip("\n").isprintable()
    assert "ü 🙂".encode() in text
    assert json_text(b"\xff\x1b") == "\ufffd\\u001b".encode()
