"""Render metrics in the Prometheus text format 0.0.4.

Invariants:
- No Prometheus client: it would stay resident in every pod for a page of text. A test reads the page back with that
  client's parser.

Sources: prometheus.io, "Exposition formats".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from sidecar.quick_dataclasses import dataclass

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
PREFIX: Final = "entitlement_sidecar_"


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One Prometheus metric with its samples: label values → value."""

    name: str
    """Without the common prefix."""
    kind: str
    """`gauge` or `counter`; a counter's name ends in `_total`."""
    help: str
    samples: Sequence[tuple[Mapping[str, str], float]]


def gauge(name: str, text: str, value: float) -> Metric:
    """Return a gauge with one sample and no label."""
    return Metric(name=name, kind="gauge", help=text, samples=[({}, float(value))])


def counter(name: str, text: str, value: float) -> Metric:
    """Return a counter with one sample and no label; `name` ends in `_total`."""
    return Metric(name=name, kind="counter", help=text, samples=[({}, float(value))])


def text(metrics: Sequence[Metric]) -> bytes:
    """Return the page."""
    return "".join(line + "\n" for metric in metrics for line in _lines(metric)).encode()


def _lines(metric: Metric) -> Iterator[str]:
    name = PREFIX + metric.name
    yield f"# HELP {name} {metric.help}"
    yield f"# TYPE {name} {metric.kind}"
    for labels, value in metric.samples:
        yield f"{name}{_labels(labels)} {value:.17g}"


def _labels(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    pairs = ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())
    return "{" + pairs + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
