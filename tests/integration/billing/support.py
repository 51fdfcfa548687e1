"""Run the billing loop on a real ledger and a clock that stands still, with AWS as a table in memory."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self

from prometheus_client.parser import text_string_to_metric_families

from sidecar.api import metrics
from sidecar.billing.loop import BillingLoop
from sidecar.billing.messages import Submission, SubmissionResult
from sidecar.billing.service import MeteringService
from sidecar.billing.usage import LedgerUsage
from sidecar.entitlement.hold import Hold, Shown
from sidecar.errors import Exit
from sidecar.ledger.errors import LedgerError
from sidecar.metering.events import PushAccepted, PushRefused, UsageEvent
from sidecar.metering.hours import Hour
from sidecar.metering.outcomes import Outcome, Refused, Settled, Unknown
from sidecar.metering.quantities import parse_micros
from sidecar.metering.records import UsageRecord
from sidecar.metering.sealed_request import SealedRequest
from sidecar.quick_dataclasses import dataclass, field
from tests.fakes.child import FakeChild
from tests.fakes.clock import FakeClock
from tests.fakes.config import settings

DAY = datetime(2026, 1, 2, tzinfo=UTC)
WORKLOAD, REGION = "pod-1", "us-east-1"


def clock_time(words: str) -> datetime:
    hours, minutes, *seconds = (int(part) for part in words.split(":"))
    return DAY + timedelta(hours=hours, minutes=minutes, seconds=seconds[0] if seconds else 0)


def hour(words: str) -> Hour:
    return Hour.at(clock_time(words))


@dataclass
class FakeGate:
    has_opened: bool = True
    hold: Hold | None = None
    holds: list[Hold | None] = field(default_factory=list)
    shown: Shown | None = None

    def set_hold(self, hold: Hold | None, shown: Shown | None = None) -> None:
        self.hold, self.shown = hold, shown
        self.holds.append(hold)


@dataclass
class Aws:
    """One quantity for a dimension and hour, for ever; `answers` come first, then the truth."""

    answers: list[Outcome | Callable[[SealedRequest], Outcome]] = field(default_factory=list)
    always: Outcome | None = None
    billed: dict[tuple[str, int], tuple[str, str]] = field(default_factory=dict)
    sent: list[SealedRequest] = field(default_factory=list)
    starts: bool = True
    """Whether a child can be started."""

    def __call__(self, submission: Submission) -> FakeChild:
        if not self.starts:
            raise OSError("no memory")
        lines = [
            SubmissionResult(outcome=self._answer(one), request_id="r").as_json().encode()
            for one in submission.requests
        ]
        return FakeChild(lines=list(lines))

    def _answer(self, request: SealedRequest) -> Outcome:
        self.sent.append(request)
        if self.answers:
            given = self.answers.pop(0)
            return given(request) if callable(given) else given
        return self.always or self.record(request)

    def record(self, request: SealedRequest) -> Outcome:
        slot = (request.dimension, request.timestamp // 3600)
        quantity, receipt = self.billed.setdefault(slot, (request.quantity, f"receipt-{len(self.billed) + 1}"))
        return Settled(record_id=receipt) if quantity == request.quantity else Refused(code="DuplicateRequestException")

    def lose_the_answer(self, request: SealedRequest) -> Outcome:
        self.record(request)
        return Unknown(code="ReadTimeoutError")

    def bill(self, dimension: str = "requests") -> dict[str, str]:
        return {f"{number % 24:02d}": q for (name, number), (q, _) in sorted(self.billed.items()) if name == dimension}


class Story:
    """One workload from its first process to its last, with a clock that the test sets."""

    def __init__(self, directory: Path, workload: str = WORKLOAD, **more: str) -> None:
        self.directory, self.more = directory, more
        self.workload = workload
        self.clock = FakeClock(at=clock_time("10:20"))
        self.aws, self.gate = Aws(), FakeGate()
        self.keeps_running = False
        self.passes: list[str] = []
        self.begin()

    def begin(self) -> None:
        given = {"state_dir": str(self.directory), "dimensions": "requests"} | self.more
        self.settings = settings(**given)
        self.loop = BillingLoop(
            settings=self.settings,
            clock=self.clock,
            gate=self.gate,
            start_child=self.aws,  # type: ignore[arg-type]
            chance=lambda: 0.5,
            sleep=self.clock.advance,
            task_keeps_running=lambda: self.keeps_running,
            keep_pass=lambda workload, names: self.passes.append(f"{workload} {','.join(sorted(names))}"),
        )
        self.usage = LedgerUsage(self.settings, self.loop, self.clock)
        self.loop.set_identity(self.workload, REGION)
        self.loop.run_once()

    def at(self, words: str) -> Story:
        """A pass at this time of day."""
        moment = clock_time(words)
        self.clock.advance((moment - self.clock.at).total_seconds())
        self.loop.run_once()
        return self

    def use(
        self, quantity: str, at: str | None = None, dimension: str = "requests", **more: str
    ) -> PushAccepted | PushRefused:
        answers: list[PushAccepted | PushRefused] = []
        event = UsageEvent(
            dimension=dimension,
            micros=parse_micros(quantity),
            at=(at and clock_time(at)) or None,
            **more,  # type: ignore[arg-type]
        )
        ledger = self.loop.ledger
        assert ledger is not None
        answers.append(ledger.push([event], self.clock.now()))
        return answers[0]

    def records(self) -> dict[str, str]:
        return {f"{one.hour.start:%H} {one.dimension}": one.state.value for one in self.usage.records()}

    def record(self, words: str, dimension: str = "requests") -> UsageRecord:
        assert self.loop.ledger is not None
        found = self.loop.ledger.find(hour(words), dimension)
        assert found is not None
        return found

    def balanced(self) -> None:
        assert self.loop.ledger is not None
        assert all(one.balanced for one in self.loop.ledger.balances())

    def crash(self) -> Story:
        """The process is gone: nothing is flushed, the lock is free."""
        assert self.loop.ledger is not None
        self.loop.ledger.close()
        return self

    def restart(self, **more: str) -> Story:
        """Another process of the same workload, with these settings changed."""
        self.crash()
        self.more |= more
        self.begin()
        return self

    def end(self) -> None:
        self.loop.stop()
        self.loop.finish()


class FullDisk:
    """The ledger cannot be written while this lasts."""

    def __init__(self, story: Story) -> None:
        assert story.loop.ledger is not None
        self._ledger = story.loop.ledger
        self._working = self._ledger.check

    def __enter__(self) -> None:
        def full(_: datetime) -> None:
            raise LedgerError("ledger_full")

        self._ledger.check = full  # type: ignore[method-assign]

    def __exit__(self, *_: object) -> None:
        self._ledger.check = self._working  # type: ignore[method-assign]


class PushesBetween:
    """While this lasts one unit is pushed before each of the ledger's transactions: at `at` before one of them."""

    def __init__(self, story: Story, at: str, number: int) -> None:
        """`number`: how many transactions there are before that one."""
        assert story.loop.ledger is not None
        self._story, self._at, self._number, self._writer = story, at, number, story.loop.ledger._writer
        self._working = self._writer.run
        self.results: list[PushAccepted | PushRefused] = []

    def __enter__(self) -> Self:
        def run(work: object, *, last: bool = False) -> object:
            self.results.append(self._story.use("1", at=self._at if len(self.results) == self._number else None))
            return self._working(work, last=last)  # type: ignore[arg-type]

        self._writer.run = run  # type: ignore[method-assign, assignment]
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.run = self._working  # type: ignore[method-assign]


def far_ahead(make_story: MakeStory, **more: str) -> Story:
    """The ledger began ten years ahead, and then the clock was set right."""
    story = make_story(**more)
    story.crash()
    for file in story.directory.glob("ledger-*"):
        file.unlink()
    story.clock.at += timedelta(days=3652)
    story.begin()
    story.clock.at = clock_time("10:20")
    story.loop.run_once()
    return story


MakeStory = Callable[..., Story]
"""Begins a workload's life in the test's directory, with the settings given."""


def no_end(code: Exit, text: str) -> None:
    raise AssertionError(f"the process would end with {code}: {text}")


class Scene:
    """Metering of one workload, its clock and AWS."""

    def __init__(self, directory: Path, workload: str = WORKLOAD, **more: str) -> None:
        self.directory = directory
        self.clock, self.aws, self.gate = FakeClock(at=clock_time("10:20")), Aws(), FakeGate()
        given = {"state_dir": str(directory), "dimensions": "requests"} | more
        self.service = MeteringService(settings(**given), self.clock, self.gate, no_end, self.aws)  # type: ignore[arg-type]
        self.service.loop.set_identity(workload, REGION)
        self.at("10:20")

    def at(self, words: str) -> Scene:
        self.clock.advance((clock_time(words) - self.clock.at).total_seconds())
        self.service.loop.run_once()
        return self

    def use(self, quantity: str, dimension: str = "requests") -> PushAccepted | PushRefused:
        ledger = self.service.loop.ledger
        assert ledger is not None
        return ledger.push([UsageEvent(dimension=dimension, micros=parse_micros(quantity))], self.clock.now())

    def samples(self) -> dict[str, float]:
        """Name and labels → value, as Prometheus would read them."""
        found = {}
        for family in text_string_to_metric_families(metrics.text(self.service.metrics()).decode()):
            for sample in family.samples:
                labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
                found[f"{sample.name.removeprefix('entitlement_sidecar_')}{{{labels}}}"] = sample.value
        return found


MakeScene = Callable[..., Scene]
