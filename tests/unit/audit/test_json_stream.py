"""Documents are read a value at a time, wherever the chunks end."""

from __future__ import annotations

import io
import json
from collections.abc import Callable

import pytest

from sidecar.audit.input_files import Unreadable
from sidecar.audit.json_stream import JsonStream

VALUES = [{"n": "é" * 3}, {"list": [{"Records": []}]}, {"n": "b"}]
LINES = "\n".join(json.dumps(one, ensure_ascii=False) for one in VALUES)
DOCUMENT = json.dumps({"Records": VALUES}, ensure_ascii=False)


def reader(text: str | bytes, chunk: int) -> Callable[[int], bytes]:
    data = io.BytesIO(text if isinstance(text, bytes) else text.encode())
    return lambda _: data.read(chunk)


def read(text: str | bytes, chunk: int = 7) -> list[object]:
    return list(JsonStream(reader(text, chunk)).values())


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 4096])
@pytest.mark.parametrize(
    "text",
    [
        DOCUMENT,
        "\ufeff" + DOCUMENT + "\n",
        LINES,
        LINES + "\n\n",
        json.dumps({"Records": VALUES}, indent=4),
        json.dumps({"Events": VALUES, "NextToken": "x"}),
        json.dumps({"NextToken": "x", "Events": VALUES}),
    ],
    ids=["records", "mark", "lines", "ends", "indented", "lookup", "token first"],
)
def test_every_form_gives_the_same_values(text: str, chunk: int) -> None:
    assert read(text, chunk) == VALUES


def test_files_that_were_joined_are_read_one_after_the_other() -> None:
    assert read(DOCUMENT + DOCUMENT + "\n" + LINES) == VALUES * 3


@pytest.mark.parametrize("text", ["", "\n", '{"Records": []}', "{}"])
def test_an_empty_document_has_no_event(text: str) -> None:
    assert [one for one in read(text) if one] == []


@pytest.mark.parametrize("end", range(1, len(DOCUMENT) - 1, 5))
def test_a_document_that_ends_early_is_refused(end: int) -> None:
    with pytest.raises(Unreadable):
        read(DOCUMENT[:end], 16)


@pytest.mark.parametrize(
    "text", ["<html>", '{"Records": [{}] "x"', '{"Records": [{}, nonsense]}', b"\xff\xfe", "[" * 100_000]
)
def test_what_is_no_json_is_refused(text: str | bytes) -> None:
    with pytest.raises(Unreadable):
        read(text, 4096)
