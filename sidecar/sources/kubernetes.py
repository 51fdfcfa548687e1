"""Turn a count of the cluster into usage, and ask a short-lived child for it.

Invariants:
- The child lists, since a list of many pods is large for a moment; the resident process gets one number.
- An integral's last reading is on disk: time is counted across restarts, and a gap that is too long is not invented.
- A count that could not be read counts nothing; with the next one the time since the last reading is counted, while
  that is not too long ago.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Final

from sidecar.child.process import ChildProcess, read_message
from sidecar.metering.events import UsageEvent
from sidecar.metering.quantities import QuantityOutOfRange
from sidecar.metering.readings import Reading, level_integral, level_micros
from sidecar.quick_dataclasses import asdict, dataclass
from sidecar.settings.pull_sources import PullSource, SourceTake
from sidecar.sources.cluster_quantity import is_count
from sidecar.sources.fault import SourceFault
from sidecar.sources.taken import Taken

JOB: Final = "count"
"""The job's name in `child.main.JOBS`."""
BUDGET_SECONDS: Final = 25.0
"""For a child to start, and to list everything."""
HINT_MAX: Final = 600
WHOLE: Final = ""
"""The series of a count: there is one."""

UNCONFIGURED: Final = (
    "A count needs a token for the Kubernetes API under {mount}, and POD_NAMESPACE. In the chart set"
    " counts.nodes or counts.pods; elsewhere mount a projected token and ca.crt there."
)


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """How the cluster's API is reached; what is missing is empty."""

    mount: str
    host: str
    port: str
    namespace: str


@dataclass(frozen=True, kw_only=True)
class CountRequest:
    """What a child counts. `namespace`: empty for all, and for nodes."""

    cluster: Cluster
    count: str
    selector: str
    namespace: str

    def as_json(self) -> str:
        return json.dumps({"job": JOB, **asdict(self)})


def request_of(source: PullSource, cluster: Cluster | None, mount: str) -> CountRequest:
    """Return what is to be counted. Raises SourceFault where the API cannot be asked."""
    if cluster is None or not (cluster.host and cluster.port and cluster.namespace):
        raise SourceFault("cluster_unconfigured", UNCONFIGURED.format(mount=mount))
    namespace = "" if source.namespace == "*" else source.namespace or cluster.namespace
    return CountRequest(cluster=cluster, count=source.count.value, selector=source.selector, namespace=namespace)


def count(request: CountRequest, start_child: Callable[[CountRequest], ChildProcess], seconds: float) -> Decimal:
    """Return what a child counted. Raises SourceFault."""
    try:
        child = start_child(request)
    except OSError as exc:
        raise SourceFault("cluster_unreachable", f"No child process could be started: {exc}.") from exc
    try:
        found, failure = read_message(child, read_answer, time.monotonic() + seconds)
    finally:
        child.close()
    if isinstance(found, SourceFault):
        raise found
    if found is None:
        why = failure.crash or failure.code if failure else ""
        raise SourceFault("cluster_unreachable", f"The count did not come within {seconds:.0f} s ({why}).")
    return found


def read_answer(line: bytes) -> Decimal | SourceFault:
    """Return the child's line. Raises ValueError."""
    try:
        found = json.loads(line)
        if "reason" in found:
            return SourceFault(str(found["reason"]), str(found["hint"])[:HINT_MAX])
        value = Decimal(found["value"])
    except (KeyError, TypeError, AttributeError, InvalidOperation, RecursionError) as exc:
        raise ValueError("no count") from exc
    if not is_count(value):
        raise ValueError("no count")
    return value


def take(source: PullSource, value: Decimal, before: Mapping[str, Reading], now: datetime) -> Taken:
    """Return what a count leads to, given what was counted before. Raises SourceFault."""
    if source.take is SourceTake.MAXIMUM:
        try:
            return Taken(events=(UsageEvent(source.dimension, level_micros(value)),), series=1)
        except QuantityOutOfRange as exc:
            raise SourceFault("value_unusable", f"{source.count.value}: {exc}") from exc
    micros, kept, gap = level_integral(before.get(WHOLE), Reading(series=WHOLE, value=value, at=now))
    events = (UsageEvent(source.dimension, micros),) if micros else ()
    return Taken(events=events, readings=(kept,), series=1, began="" if WHOLE in before else "reading", gap=gap)
