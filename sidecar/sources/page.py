"""Parse one metric out of a page in the text format of Prometheus or OpenMetrics.

Invariants:
- Strict for the lines of the metric that is asked for; of other lines only their beginning is looked at.
- A value is the decimal that is written, never a float, which could not hold it exactly.
- A page is whole, or nothing of it is used: its last line ends, and OpenMetrics ends with `# EOF`.
- A series that is there twice would be counted twice: it is a fault.
- No Prometheus client: its parser gives floats, and it would stay in every pod's memory. A test compares both.

Sources: prometheus.io, "Exposition formats" (text format 0.0.4); OpenMetrics 1.0 (`# EOF`, exemplars, `_created`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Final

from sidecar.quick_dataclasses import dataclass, field
from sidecar.sources.fault import SourceFault
from sidecar.strict_json import shown

SERIES_MAX: Final = 10_000
"""Of one metric on a page, and of a source in the ledger."""
VALUE_MAX: Final = Decimal(10) ** 24
"""Excluded. With PLACES_MAX below it, every sum is exact."""
PLACES_MAX: Final = 30
LABEL: Final = re.compile(r'[ \t]*([a-zA-Z_][a-zA-Z0-9_]*)[ \t]*=[ \t]*"((?:[^"\\\n]|\\.)*)"[ \t]*(,|(?=\}))')
NUMBER: Final = re.compile(r"[+-]?(?:[0-9]{1,60}(?:\.[0-9]{0,60})?|\.[0-9]{1,60})(?:[eE][+-]?[0-9]{1,4})?")
NO_NUMBER: Final = re.compile(r"[+-]?(?:inf|infinity|nan)", re.IGNORECASE)
ESCAPE: Final = re.compile(r"\\(.)")
ESCAPED: Final = {"n": "\n", '"': '"', "\\": "\\"}
SUFFIXES: Final = ("_total", "_count", "_sum", "_bucket")
"""Of samples whose TYPE line has the name without it."""

Labels = Mapping[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """One series of the metric."""

    labels: Labels
    value: Decimal

    @property
    def series(self) -> str:
        """Return its labels in one spelling."""
        return series_of(self.labels)


@dataclass(kw_only=True, slots=True)
class Page:
    """What a page says of one metric."""

    type: str = ""
    """As its TYPE line says it; empty where there is none."""
    samples: list[Sample] = field(default_factory=list)
    created: dict[str, Decimal] = field(default_factory=dict)
    """Series → when it was created, in Unix seconds."""
    ended: bool = False
    typed: bool = False
    """Some TYPE line is on it, perhaps of another metric: a page of metrics, and none that a proxy answers with."""


def series_of(labels: Labels) -> str:
    """Return labels in one spelling, the same for the same series."""
    return json.dumps(sorted(labels.items()), separators=(",", ":"), ensure_ascii=False)


def parse(body: bytes, metric: str, *, open_metrics: bool) -> Page:
    """Return what the page says of `metric`. Raises SourceFault."""
    if body and not body.endswith(b"\n"):
        raise SourceFault("page_incomplete", "The last line of the page does not end: it broke off, and is not used.")
    page, names = Page(), _Names.of(metric, open_metrics)
    seen: set[str] = set()
    for number, line in enumerate(body.split(b"\n"), 1):
        if page.ended and line.strip():
            raise _malformed(number, "stands behind # EOF")
        if line.startswith(b"#"):
            _comment(page, line, metric)
        elif name := names.of_line(line):
            _sample(page, line, number, name, name == names.created, seen)
    if open_metrics and not page.ended:
        raise SourceFault("page_incomplete", "The page is OpenMetrics and does not end with # EOF; it broke off.")
    return page


@dataclass(frozen=True, kw_only=True, slots=True)
class _Names:
    """The names of samples that matter."""

    samples: tuple[str, ...]
    created: str
    """Of the samples that say when a series was created; empty where the format does not reserve the name for that."""

    @classmethod
    def of(cls, metric: str, open_metrics: bool) -> _Names:
        if not open_metrics:
            return cls(samples=(metric,), created="")
        bare = _base(metric) == metric  # a counter's samples end in _total there, whatever the product calls it
        return cls(samples=(metric, f"{metric}_total") if bare else (metric,), created=f"{_base(metric)}_created")

    def of_line(self, line: bytes) -> str:
        """Return the name that a line begins with; empty where it is another."""
        for name in (*self.samples, self.created):
            beginning = name.encode()
            if name and line.startswith(beginning) and line[len(beginning) :][:1] in (b" ", b"\t", b"{", b""):
                return name
        return ""


def _base(metric: str) -> str:
    return next((metric.removesuffix(suffix) for suffix in SUFFIXES if metric.endswith(suffix)), metric)


def _comment(page: Page, line: bytes, metric: str) -> None:
    words = line.split(maxsplit=3)
    if words == [b"#", b"EOF"]:
        page.ended = True
    elif words[:2] == [b"#", b"TYPE"] and len(words) == 4:
        page.typed = True
        name = words[2].decode("utf-8", "replace")
        if name == metric or (name == _base(metric) and not page.type):
            page.type = words[3].strip().decode("ascii", "replace")


def _sample(page: Page, line: bytes, number: int, name: str, is_creation: bool, seen: set[str]) -> None:
    try:
        text = line.decode("utf-8").rstrip("\r")
    except UnicodeDecodeError:
        raise _malformed(number, "is not UTF-8") from None
    labels, rest = _labels(text[len(name) :], number)
    words = rest.split()
    if not words or (len(words) > 1 and words[1] != "#" and not NUMBER.fullmatch(words[1])):
        raise _malformed(number, f"has {shown(rest)} where a value, and perhaps a timestamp, belong")
    if len(words) > 2 and "#" not in words[1:3]:
        raise _malformed(number, f"has {shown(rest)}, more than a value and a timestamp")
    value, series = _value(words[0], name, labels, number), series_of(labels)
    if is_creation:
        page.created[series] = value
        return
    if series in seen:
        raise _malformed(number, f"gives the series {_written(name, labels)} a second time")
    seen.add(series)
    if len(seen) > SERIES_MAX:
        raise too_many(name)
    page.samples.append(Sample(labels=labels, value=value))


def _written(name: str, labels: Labels) -> str:
    """Return a series as its page writes it."""
    return name + (f"{{{','.join(f'{label}={shown(value)}' for label, value in labels.items())}}}" if labels else "")


def _labels(text: str, number: int) -> tuple[Labels, str]:
    """Return the labels and what follows them."""
    if not text.startswith("{"):
        return {}, text
    found: dict[str, str] = {}
    at = 1
    while not (closing := text[at:].lstrip(" \t")).startswith("}"):
        match = LABEL.match(text, at)
        if not match or match[1] in found:
            raise _malformed(number, f"has labels that cannot be read, or one label twice: {shown(text)}")
        found[match[1]] = ESCAPE.sub(lambda one: ESCAPED.get(one[1], one[0]), match[2])
        at = match.end()
    return found, closing[1:]


def _value(text: str, name: str, labels: Labels, number: int) -> Decimal:
    if not NUMBER.fullmatch(text) and not NO_NUMBER.fullmatch(text):
        raise _malformed(number, f"has the value {shown(text)}, which is not a number")
    value = Decimal(text)
    places = -int(value.as_tuple().exponent) if value.is_finite() else 0
    if not value.is_finite() or not 0 <= value < VALUE_MAX or places > PLACES_MAX:
        rule = f"A quantity is from 0 to below {VALUE_MAX:.0e}, with up to {PLACES_MAX} decimal places."
        fix = "Correct the product's metric, or choose other series with labels."
        raise SourceFault("value_unusable", f"{_written(name, labels)} is {shown(text)}. {rule} {fix}")
    return value


def _malformed(number: int, fault: str) -> SourceFault:
    return SourceFault("page_malformed", f"Line {number} of the page {fault}. Nothing of the page is used.")


def too_many(metric: str) -> SourceFault:
    """Return the fault of a metric with too many series."""
    fix = "Choose fewer with `labels`, or have the product count without the label that changes most."
    return SourceFault("too_many_series", f"{metric} has over {SERIES_MAX} series, which is the limit. {fix}")


def matching(page: Page, labels: tuple[tuple[str, str], ...]) -> Iterator[Sample]:
    """Yield the series that have all of these labels; a label that is missing counts as empty, as in Prometheus."""
    for sample in page.samples:
        if all(sample.labels.get(name, "") == value for name, value in labels):
            yield sample
