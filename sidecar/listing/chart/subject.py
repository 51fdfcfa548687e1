"""Hold what the rules of a chart look at, and make findings with the path that a reader can open."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

from sidecar.listing.chart.chart import Chart
from sidecar.listing.chart.files import ARCHIVE
from sidecar.listing.chart.values import Values
from sidecar.listing.finding import Finding
from sidecar.listing.rule import Rule
from sidecar.quick_dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A chart that is being checked."""

    root: str
    """Its directory, as the reader wrote it."""
    chart: Chart
    values: Values
    contents: Mapping[str, bytes]
    """Path → content of every file that is packed."""
    unread: frozenset[str]
    """Paths of files that could not be read: what they would say is unknown."""

    @cached_property
    def texts(self) -> Mapping[str, str]:
        """Return path → text of every file that is text, in every chart."""
        return {path: text for chart in self.charts for path, text in chart.texts.items()}

    @property
    def charts(self) -> Sequence[Chart]:
        """Return the chart and every chart in it."""
        return list(self.chart.all())

    def finding(
        self, rule: Rule, path: str, message: str, *, line: int | None = None, place: str = "", seen: str = ""
    ) -> Finding:
        """Return a finding in a file of the chart; what is in an archive is named as a place in it."""
        head, found, rest = path.partition(f"{ARCHIVE}/")
        if found:
            inside = f"{rest}:{line}" if line else rest
            path, line, place = f"{head}{ARCHIVE}", None, f"{inside}, {place}" if place else inside
        return Finding(
            rule=rule, file=f"{self.root.rstrip('/')}/{path}", line=line, place=place, seen=seen, message=message
        )
