"""Define the sources that usage is pulled from, and what fits the dimension that each names.

An operator or a seller writes a JSON or YAML list (`pull_source_reader`); `kind` decides which other fields there are:

    - {kind: prometheus, dimension: requests, url: "http://127.0.0.1:9100", metric: requests_total, take: increase}
    - {kind: prometheus, dimension: sessions, url: "http://127.0.0.1:9100", metric: sessions, take: maximum}
    - {kind: heartbeat, dimension: pod_hours, quantity: 1}
    - {kind: kubernetes, dimension: node_hours, count: nodes, take: integral}

Invariants:
- What is taken fits the dimension: `increase`, `integral` and a heartbeat are added up and need aggregation `sum`, a
  `maximum` needs `max`.
- Several sources of one `sum` dimension add up; the largest of two sources is neither's, so a `max` dimension has one.
- A source that counts the cluster needs a dimension of scope `singleton`: each pod would count the same, and AWS adds
  up the pods.
- A source is known by its fields (`key`): what was read of it stays with it, and another order changes nothing.

Sources: prometheus.io, "Data model" (names of metrics and labels); Kubernetes API concepts, "Label selectors".
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from decimal import Decimal
from enum import Enum
from typing import Final

from sidecar.digests import sha256
from sidecar.errors import Problem
from sidecar.quick_dataclasses import dataclass
from sidecar.settings.dimensions import Aggregation, Dimension, Scope
from sidecar.strict_json import shown

Pairs = tuple[tuple[str, str], ...]


class SourceKind(Enum):
    """Where usage is pulled from."""

    PROMETHEUS = "prometheus"
    """A page of metrics that the product serves."""
    HEARTBEAT = "heartbeat"
    """The clock: a quantity an hour while the workload is entitled."""
    KUBERNETES = "kubernetes"
    """What runs in the cluster."""


class SourceTake(Enum):
    """What is made of the values that are read."""

    INCREASE = "increase"
    MAXIMUM = "maximum"
    INTEGRAL = "integral"
    """Value times hours."""


class SourceBegin(Enum):
    """Where a counter is counted from that was never read before."""

    AUTO = "auto"
    """From zero where it is known to have begun with this workload, else from its first reading."""
    ZERO = "zero"


class SourceCount(Enum):
    """What of the cluster is counted."""

    NODES = "nodes"
    PODS = "pods"
    POD_CPUS = "pod_cpus"
    """CPUs that running pods request."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PullSource:
    """One source of usage. Fields of other kinds have their defaults."""

    kind: SourceKind
    dimension: str
    url: str = ""
    metric: str = ""
    """The name as the page's samples have it."""
    take: SourceTake = SourceTake.INCREASE
    labels: Pairs = ()
    """Label → value that a series must have."""
    tags: Pairs = ()
    """Tag key → label whose value it gets."""
    begin: SourceBegin = SourceBegin.AUTO
    quantity: Decimal = Decimal(1)
    count: SourceCount = SourceCount.NODES
    selector: str = ""
    namespace: str = ""
    """Empty: the pod's own; `*`: all."""
    interval_seconds: int = 30

    @property
    def key(self) -> str:
        """Return what names the source in the ledger, in status and in metrics; the fields of UNNAMED may change."""
        written = {**self.written(), **dict.fromkeys(UNNAMED)}
        digest = sha256(json.dumps(written, sort_keys=True).encode()).hexdigest()
        return f"{self.kind.value}/{self.dimension}/{digest[:8]}"

    def written(self) -> dict[str, object]:
        """Return the source as an operator would write it."""
        values = {name: getattr(self, name) for name in FIELDS[self.kind]}
        plain = {name: _plain(value) for name, value in values.items()}
        return {"kind": self.kind.value, **{name: value for name, value in plain.items() if value not in ("", {})}}

    def __str__(self) -> str:
        return json.dumps(self.written(), ensure_ascii=False)


FIELDS: Final[Mapping[SourceKind, tuple[str, ...]]] = {
    SourceKind.PROMETHEUS: ("dimension", "url", "metric", "take", "labels", "tags", "begin", "interval_seconds"),
    SourceKind.HEARTBEAT: ("dimension", "quantity"),
    SourceKind.KUBERNETES: ("dimension", "count", "take", "selector", "namespace", "interval_seconds"),
}
"""Kind → its fields."""
UNNAMED: Final = ("interval_seconds", "begin", "quantity")
"""Fields whose change makes no other source: what was read of it stays with it."""
REQUIRED: Final[Mapping[SourceKind, tuple[str, ...]]] = {
    SourceKind.PROMETHEUS: ("dimension", "url", "metric", "take"),
    SourceKind.HEARTBEAT: ("dimension",),
    SourceKind.KUBERNETES: ("dimension", "count", "take"),
}
TAKES: Final[Mapping[SourceKind, tuple[SourceTake, ...]]] = {
    SourceKind.PROMETHEUS: (SourceTake.INCREASE, SourceTake.MAXIMUM),
    SourceKind.KUBERNETES: (SourceTake.MAXIMUM, SourceTake.INTEGRAL),
}


def problems(values: Mapping[str, object], name: str) -> Iterator[Problem]:
    """Yield a problem for each source that does not fit its dimension. `name`: the setting, as it was written."""
    sources, dimensions = values.get("sources"), values.get("dimensions", ())
    if not isinstance(sources, tuple) or not isinstance(dimensions, tuple):
        return
    by_name: Mapping[str, Dimension] = {one.name: one for one in dimensions}
    for at, source in enumerate(sources):
        fault = _misfit(source, by_name.get(source.dimension), sources)
        if fault:
            yield Problem(setting=name, fault=f"[{at}].dimension is {shown(source.dimension)}, {fault}")


def _misfit(source: PullSource, dimension: Dimension | None, sources: tuple[PullSource, ...]) -> str:
    """Return why a source does not fit the dimension it names; empty where it does."""
    if dimension is None:
        return "which is not one of the dimensions. Add it to `dimensions`, or correct the name."
    needed = Aggregation.MAX if source.take is SourceTake.MAXIMUM else Aggregation.SUM
    what = source.kind.value if source.kind is SourceKind.HEARTBEAT else source.take.value
    if dimension.aggregation is not needed:
        has = dimension.aggregation.value
        return f"whose aggregation is {has}, and {what} needs {needed.value}. Change one of the two."
    if needed is Aggregation.MAX and sum(one.dimension == source.dimension for one in sources) > 1:
        return "a max that several sources name; the largest of both is neither's. Keep one."
    if source.kind is SourceKind.KUBERNETES and dimension.scope is not Scope.SINGLETON:
        return (
            "and each pod would count the same cluster, which AWS adds up. Run one replica, and give the dimension"
            " scope: singleton."
        )
    for tag, _label in source.tags:
        if tag not in dimension.tags:
            return f"whose tags are {', '.join(dimension.tags) or 'none'}; {shown(tag)} is not one. Add it to its tags."
    return ""


def _plain(value: object) -> object:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Decimal):
        return f"{value:f}"
    return dict(value) if isinstance(value, tuple) else value
