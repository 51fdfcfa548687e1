"""Stand in for a child process."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from sidecar.gate.messages import CheckResult, KeptStatus, WorkloadIdentity
from sidecar.quick_dataclasses import dataclass, field
from tests.fakes.clock import FakeClock

POD = WorkloadIdentity(workload="6f1c", workload_kind="pod", region="us-east-1")


@dataclass(kw_only=True)
class FakeChild:
    """A child with its lines already said. `takes` seconds of `clock` pass with the first line."""

    lines: list[bytes | None] = field(default_factory=list)
    clock: FakeClock | None = None
    takes: float = 0.0
    pid: int = 4242
    ended: bool = False
    killed: bool = False
    closed: bool = False
    while_read: Callable[[], None] | None = None
    deadlines: list[float] = field(default_factory=list)

    def read_line(self, deadline: float) -> bytes | None:
        self.deadlines.append(deadline)
        if self.clock and self.takes:
            self.clock.advance(self.takes)
            self.takes = 0.0
        if self.while_read:
            self.while_read()
        if self.lines:
            return self.lines.pop(0)
        self.ended = True
        return None

    def kill(self) -> None:
        self.killed = True

    def close(self) -> None:
        self.closed = True
        self.ended = True


def reporting(
    result: CheckResult, *, identity: WorkloadIdentity | None = POD, kept: KeptStatus | None = None, **more: Any
) -> FakeChild:
    """A child that says who it is, reports, and then says whether it kept the answer."""
    messages = [one for one in (identity, result, kept) if one is not None]
    return FakeChild(lines=[one.as_json().encode() for one in messages], **more)


def crashed(location: str = "ValueError at job.py:12") -> FakeChild:
    return FakeChild(lines=[json.dumps({"crashed": location}).encode()])


def silent() -> FakeChild:
    """A child that is still running when its time is up."""
    return FakeChild(lines=[None])
