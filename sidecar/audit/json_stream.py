"""Read JSON documents one value at a time: the elements of `{"Records": […]}`, or one value after another.

Invariants:
- Memory holds one value and a chunk, not a file: what is joined of many files may be large.
- After a value that cannot be read nothing else of the file is: where the next one begins is not known.

Sources: RFC 8259; AWS CloudTrail User Guide, "CloudTrail log file examples" (a log file is `{"Records": […]}`).
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Iterator
from typing import Final

from sidecar.audit.input_files import CHUNK, Unreadable
from sidecar.strict_json import DECODER, shown

BLANK: Final = " \t\r\n"
LIST_BEGINS: Final = re.compile(r'\{\s*"(Records|Events)"\s*:\s*\[')
HEAD: Final = 256
"""Characters that are read before a document is taken for a list: its name, and blanks."""
VALUE_MAX: Final = 8 * 1024 * 1024
"""Characters of one value. CloudTrail cuts events at 256 KB."""


class JsonStream:
    """The values of one file, in order."""

    def __init__(self, read: Callable[[int], bytes]) -> None:
        """`read` gives up to so many bytes, none at the end."""
        self._read = read
        self._decode = codecs.getincrementaldecoder("utf-8-sig")("strict")
        self._text, self._at, self._ended = "", 0, False

    def values(self) -> Iterator[object]:
        """Yield every value. Raises Unreadable."""
        self._fill()
        while self._skip(BLANK):
            self._need(HEAD)
            begin = LIST_BEGINS.match(self._text, self._at)
            if begin:
                self._at = begin.end()
                yield from self._elements()
            else:
                yield from _unpacked(self._value())

    def _elements(self) -> Iterator[object]:
        while self._skip(BLANK + ","):
            if self._text[self._at] == "]":
                self._at += 1
                self._close()
                return
            yield self._value()
        raise Unreadable("the list of events has no end. Fetch the file again.")

    def _close(self) -> None:
        """Pass over the end of the object around the list."""
        if not self._skip(BLANK) or self._text[self._at] not in "},":
            raise Unreadable("the object around the list of events has no end. Fetch the file again.")
        if self._text[self._at] == ",":  # lookup-events writes NextToken behind its list
            self._at += 1
            self._text = self._text[: self._at] + "{" + self._text[self._at :]
            self._value()
        else:
            self._at += 1

    def _value(self) -> object:
        while True:
            try:
                value, self._at = DECODER.raw_decode(self._text, self._at)
                return value
            except RecursionError:
                raise Unreadable("is nested too deeply.") from None
            except ValueError as exc:
                if self._ended or len(self._text) - self._at > VALUE_MAX:
                    begin = shown(self._text[self._at : self._at + 200])
                    raise Unreadable(f"{begin} is not JSON: {getattr(exc, 'msg', exc)}.") from None
                self._fill()

    def _skip(self, these: str) -> bool:
        """Move to the next character that is none of these; False at the end of the file."""
        while True:
            while self._at < len(self._text) and self._text[self._at] in these:
                self._at += 1
            if self._at < len(self._text):
                return True
            if self._ended:
                return False
            self._fill()

    def _need(self, characters: int) -> None:
        while not self._ended and len(self._text) - self._at < characters:
            self._fill()

    def _fill(self) -> None:
        data = self._read(CHUNK)
        self._ended = not data
        try:
            more = self._decode.decode(data, final=self._ended)
        except UnicodeDecodeError as exc:
            raise Unreadable(f"is not UTF-8: {exc.reason}.") from None
        self._text, self._at = self._text[self._at :] + more, 0


def _unpacked(value: object) -> Iterator[object]:
    """Yield the elements where the list is not the first member of its object."""
    lists = [value.get(name) for name in ("Records", "Events")] if isinstance(value, dict) else []
    found = next((one for one in lists if isinstance(one, list)), None)
    yield from [value] if found is None else found
