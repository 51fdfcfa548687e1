"""Name why a source could not be read, with value, rule and fix.

Invariants:
- A reason never changes: people alert on it.
- A source that could not be read has counted nothing, and its last reading stays: the next one has the whole increase.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

MEANINGS: Final[Mapping[str, str]] = {
    "target_unreachable": "nothing answers at the URL, or not in time",
    "target_refused": "the page was answered with another status than 200",
    "page_too_large": "the page is larger than is read",
    "page_incomplete": "the page broke off before its end",
    "page_malformed": "a line of the metric is not in the text format of Prometheus or OpenMetrics, or a series is"
    " twice on the page",
    "metric_missing": "the page has no such metric",
    "metric_type": "the page says that the metric is of a type that cannot be counted so",
    "value_unusable": "a value is negative, not a number or too large",
    "too_many_series": "more series match than are followed",
    "cluster_unconfigured": "no token for the Kubernetes API is mounted for the sidecar, or the pod is not named to it",
    "cluster_unreachable": "the Kubernetes API does not answer",
    "cluster_refused": "the Kubernetes API refuses to list what is counted: the right is missing, the token is not"
    " accepted, or the selector is malformed",
    "source_broken": "an error of the sidecar; the log has it",
}
"""Reason → what it means; the how-to has the table. Reasons of the ledger come beside them."""


class SourceFault(Exception):
    """A source could not be read. `hint` names what was found, the rule and the fix."""

    def __init__(self, reason: str, hint: str) -> None:
        super().__init__(f"{reason}: {hint}")
        self.reason, self.hint = reason, hint
