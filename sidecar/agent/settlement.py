"""When is an hour sealed, sent and settled? The metering loop.

A thread that looks at least every 30 seconds: opens the ledger, seals what has closed, sends what is due in
a short-lived child, keeps what came of it. Rules are elsewhere: when (`metering.schedule`), what an answer
means (`metering.outcomes`), what is owed (`metering.rollup`), what is on disk (`ledger`).

Rules kept here:
- One `now` per pass.
- Nothing is sent before the gate first opened, nor before disk says that it is about to leave.
- Pushes never wait for this thread, nor this thread for AWS longer than a child may take.
- The disk may fail at any step: the step is repeated by the next pass, and what was sent is sent the same again.
- If this loop breaks, it is an error of ours: with the gate shut the process ends and says why; with the gate open
  usage is kept on, and `/healthz` names the loop.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, Protocol

from sidecar.agent import child, log
from sidecar.agent.accounts import Accounts
from sidecar.agent.child import Child
from sidecar.agent.exchange import Report
from sidecar.agent.following import FollowedClock
from sidecar.agent.leaps import Leaps
from sidecar.agent.metering import LOOP
from sidecar.agent.submission import Answered, Submission, budget_seconds, outcomes
from sidecar.clock import Clock
from sidecar.entitlement.hold import Hold
from sidecar.errors import Exit
from sidecar.ledger.balance import Balance, Waiting
from sidecar.ledger.faults import LedgerError
from sidecar.ledger.opening import Owner
from sidecar.ledger.store import Ledger
from sidecar.metering.dispositions import TABLE
from sidecar.metering.hours import ONE_HOUR, Hour
from sidecar.metering.outcomes import Decision, Policy, Refused, Settled, after, given_up
from sidecar.metering.overdue import Reporting
from sidecar.metering.records import Disposition, State, UsageRecord, sealed_request
from sidecar.metering.rollup import Owed
from sidecar.metering.schedule import oldest_first, seal_at, seal_due, send_at, too_early, too_late
from sidecar.settings import (
    Dimension,
    EntitlementCheck,
    OnDispute,
    OnFirstMeterDenied,
    OnMeteringOverdue,
    Settings,
)

PASS_SECONDS: Final = 30.0
PASS_SECONDS_MIN: Final = 0.5
PASS_SECONDS_FOLLOWING: Final = 0.2
"""Beside an emulator's clock, which may run fast or be set."""
BATCH_MAX: Final = 25
"""Records one child sends."""
ROUNDS_MAX: Final = 6
"""Batches of one pass; repairs and fresh credentials are tried at once, again and again they are not."""
HOUSE_KEEPING: Final = timedelta(minutes=10)
DENIED: Final = tuple(code for code, row in TABLE.items() if row.reason == "customer_not_entitled")
NOT_STARTED: Final = Refused(code="child_failed", sent=False)


End = Callable[[Exit, str], None]


class Gate(Protocol):
    """What metering asks of entitlement, and may do to it."""

    @property
    def has_opened(self) -> bool:
        """Whether AWS ever let this workload run."""

    @property
    def hold(self) -> Hold | None:
        """What it is kept shut for; an earlier worker may have said so."""

    def impose(self, hold: Hold | None) -> None:
        """Shut the gate, or end that."""


class Settlement:
    """Seals, sends and settles one workload's usage."""

    def __init__(
        self,
        *,
        settings: Settings,
        clock: Clock,
        gate: Gate,
        end: End = lambda _code, _text: None,
        start_child: Callable[[Submission], Child] = child.spawn,
        chance: Callable[[], float] = random.random,
        rest: Callable[[float], None] = time.sleep,
        task_goes_on: Callable[[], bool] = lambda: False,
        keep_pass: Callable[[str, frozenset[str]], None] = lambda _workload, _dimensions: None,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        """`end` ends the process, where the loop broke before the gate opened. `task_goes_on`: whether only this
        container ends. `keep_pass`: AWS took records of these dimensions. `changed`: what waits may be other than
        before.
        """
        self._settings, self._clock, self._gate = settings, clock, gate
        self._start_child, self._chance, self._task_goes_on = start_child, chance, task_goes_on
        self._keep_pass, self._end, self._rest, self._changed = keep_pass, end, rest, changed
        self._wake = threading.Condition()
        self._stop_at: float | None = None
        self._at_once = False
        self._place: Report | None = None
        self._policy = Policy(workload="")
        self._leaps = Leaps()
        self._reporting = Reporting()
        self._house_kept_at: datetime | None = None
        self._sent_before = False
        self._hold: Hold | None = gate.hold
        self._denied_said = False
        self._proven: frozenset[str] = frozenset()
        """Dimensions AWS took a record of, since this loop began."""
        self._child_before_stop: Child | None = None
        self._looked = threading.Event()
        self._ended = threading.Event()
        self.accounts = Accounts(product_code=settings.product_code)
        self.ledger: Ledger | None = None
        self.fault: LedgerError | None = None
        self.checking_since: float | None = None
        """Since when (monotonic) the disk has not answered."""
        self.stopped_loop: str | None = None
        self.waiting: Waiting | None = None
        self.balances: tuple[Balance, ...] = ()
        self.overdue_since: datetime | None = None
        self.passed_at: datetime | None = None
        self.answers: dict[str, int] = {one.value: 0 for one in Disposition}

    # -- what others may do ------------------------------------------------------------------------

    def start(self) -> None:
        """Begin. The ledger is opened once it is known whose it is."""
        threading.Thread(target=self._run, name=LOOP, daemon=True).start()

    def placed(self, report: Report) -> None:
        """Who is metered, and where. The first word holds: a workload does not move."""
        with self._wake:
            if self._place is None and report.workload and report.region:
                self._place = report
                self._wake.notify_all()

    def wait_until_looked(self, seconds: float) -> None:
        """Until the ledger has been looked at, so that what it knows of denials is known."""
        self._looked.wait(seconds)

    def send_now(self) -> None:
        """Send what is held, whatever the pause."""
        with self._wake:
            self._at_once = True
            self._wake.notify_all()

    def stop(self) -> None:
        """SIGTERM: settle what can be settled. Returns at once."""
        with self._wake:
            if self._stop_at is not None:
                return
            self._stop_at = self._clock.monotonic()
            self._wake.notify_all()
        timer = threading.Timer(self._settings.flush_seconds * RESERVED, self._hurry)
        timer.daemon = True
        timer.start()

    def _hurry(self) -> None:
        """The child that ran when the end came has had its share of the budget."""
        with self._wake:
            if self._child_before_stop:
                self._child_before_stop.kill()

    def stopped(self) -> bool:
        """Whether everything is done that will be."""
        return self._ended.is_set()

    # -- the loop ----------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while self._sleep():
                self.look()
            self.finish()
        except Exception as exc:  # the outermost edge of the thread: said, and acted on
            self.stopped_loop = LOOP
            log.LOGGER.error("loop.stopped", extra={"loop": LOOP}, exc_info=exc)
            if not self._gate.has_opened:  # a startup probe hides liveness
                self._end(Exit.SOFTWARE, f"The {LOOP} loop broke: {type(exc).__name__}. Report this to the vendor.")
        finally:
            self._looked.set()
            self._ended.set()

    def _sleep(self) -> bool:
        """Wait for the next pass; False when it is time to stop."""
        with self._wake:
            opened_next = self._place and self.ledger is None and self.fault is None
            if not self._at_once and self._stop_at is None and not opened_next:
                self._wake.wait(self._pause_seconds())
            return self._stop_at is None

    def _pause_seconds(self) -> float:
        if self._settings.clock_url:
            return PASS_SECONDS_FOLLOWING
        if self.ledger is None or self.fault is not None:
            return PASS_SECONDS / 10
        now = self._clock.now()
        due = [seal_at(Hour.at(now), self._policy.workload)]
        due += [record.retry_at for record in self.sealed if record.retry_at]
        return max(PASS_SECONDS_MIN, min(PASS_SECONDS, (min(due) - now).total_seconds()))

    sealed: tuple[UsageRecord, ...] = ()
    """What waited for AWS at the end of the last pass."""

    def look(self) -> None:
        """One pass."""
        now = self._now()
        leap = self._leaps.seen(now, self._clock.monotonic())
        if leap and not self._settings.clock_url:  # an emulator's clock may run at any speed
            self.accounts.leapt(leap, now)
        with self._wake:
            at_once, self._at_once = self._at_once, False
        try:
            ledger = self.ledger or self._open(now)
            if ledger is not None:
                self._pass(ledger, now, at_once)
        except LedgerError as exc:
            self.fault = exc
        self.checking_since = None
        self.accounts.faulted(self.fault)
        self.passed_at = now

    def _now(self) -> datetime:
        """The instant of this pass; a clock that is followed is asked for it."""
        if isinstance(self._clock, FollowedClock):
            self._clock.refresh()
        return self._clock.now()

    def _pass(self, ledger: Ledger, now: datetime, at_once: bool) -> None:
        self._ask_disk()
        ledger.check(now)
        self.fault = None
        self._say_set_aside(ledger)
        self._seal_closed(ledger, now)
        if self._may_send():
            self._send(ledger, now, at_once)
        self._ask_disk()
        self._keep_house(ledger, now)
        self._ask_disk()
        self._take_stock(ledger, now)
        self._changed()

    def _ask_disk(self) -> None:
        """From here on nothing but the disk is waited for; a disk that hangs does so at any step."""
        self.checking_since = self._clock.monotonic()

    def _open(self, now: datetime) -> Ledger | None:
        place = self._place
        if place is None:
            return None
        owner = Owner(workload=place.workload, product_code=self._settings.product_code, region=place.region)
        ledger = Ledger.open(self._settings.state_dir, owner, self._settings.dimensions, now)
        try:
            self._begin(ledger, place, now)
        except BaseException:
            ledger.close()  # or the next pass would find it locked, by ourselves
            raise
        self.ledger = ledger
        self._looked.set()
        return ledger

    def _begin(self, ledger: Ledger, place: Report, now: datetime) -> None:
        """Before the first push: what an earlier life of this workload, or one that is gone, has left."""
        roll = self._settings.on_dispute is OnDispute.ROLL_FORWARD
        self._policy = Policy(workload=place.workload, roll_forward_disputed=roll)
        self.accounts.workload, self.accounts.region = place.workload, place.region
        self.waiting = ledger.waiting()
        records = {state.value: count for state, count in self.waiting.states.items()}
        self.accounts.opened(str(ledger.path), records, _path(ledger.set_aside), _path(ledger.passed_over))
        ledger.set_aside = None
        sealed = ledger.in_state(State.SEALED)
        self._sent_before = self.waiting.ever_settled or any(one.attempts for one in sealed)
        self._hold_if_denied_before(ledger)
        self._keep_house(ledger, now)

    def _may_send(self) -> bool:
        """The gate has opened: for this process, or for an earlier one of the same workload."""
        return self._gate.has_opened or self._sent_before

    def _say_set_aside(self, ledger: Ledger) -> None:
        if ledger.set_aside:
            self.accounts.set_aside(str(ledger.set_aside))
            ledger.set_aside = None

    # -- sealing -----------------------------------------------------------------------------------

    def _seal_closed(self, ledger: Ledger, now: datetime, *, at_once: bool = False) -> None:
        """Seal every closed hour whose second has come, oldest first."""
        first, last = ledger.open_from(), Hour.at(now).previous
        if first > last:
            return
        hours = {hour for hour in ledger.open_hours() if hour <= last} | {last}
        if any(dimension.report_zero for dimension in self._settings.dimensions):
            hours |= _in_reach(first, last, now)
        for hour in sorted(hours):
            if not (at_once or seal_due(hour, now, self._policy.workload)):
                return
            self._say_sealed(hour, ledger.seal(hour, now, self._make(now)))

    def _make(self, now: datetime) -> Callable[[Dimension, Hour, Owed], UsageRecord]:
        """How a record is made of what is owed: request frozen, time to send it set."""
        workload, product = self._policy.workload, self._settings.product_code

        def make(dimension: Dimension, hour: Hour, owed: Owed) -> UsageRecord:
            return UsageRecord(
                hour=hour,
                dimension=dimension.name,
                state=State.SEALED,
                quantity=owed.quantity,
                request=sealed_request(workload, product, dimension.name, dimension.decimals, hour, owed, now),
                retry_at=send_at(hour, now, workload),
            )

        return make

    def _say_sealed(self, hour: Hour, records: Sequence[UsageRecord]) -> None:
        if records:
            self.accounts.sealed(hour, records)

    # -- sending -----------------------------------------------------------------------------------

    def _send(self, ledger: Ledger, now: datetime, at_once: bool) -> None:
        """Send what is due, oldest first, in batches; with `at_once` also what is held, once."""
        waiting = [one for one in ledger.in_state(State.SEALED) if not too_early(one, now)] if at_once else []
        for _ in range(ROUNDS_MAX):
            found = waiting[:BATCH_MAX] or list(ledger.due(now, BATCH_MAX))
            waiting = waiting[BATCH_MAX:]
            batch = [record for record in found if not self._give_up(ledger, record, now)]
            if batch:
                self._submit(ledger, oldest_first(batch), now)
            if not found or self._stop_at is not None:
                return

    def _give_up(self, ledger: Ledger, record: UsageRecord, now: datetime) -> bool:
        """Whether it was too late for a record, and it was moved on."""
        decision = given_up(record, now)
        if decision is not None:
            self._keep(ledger, decision, now, Answered(outcome=Refused(code=decision.reason, sent=False)))
        return decision is not None

    def _submit(
        self, ledger: Ledger, batch: Sequence[UsageRecord], now: datetime, deadline: float | None = None
    ) -> None:
        """Send these requests and keep what became of each."""
        assert self._place is not None
        ledger.sending(batch)
        requests = tuple(record.request for record in batch if record.request)
        question = Submission(
            requests=requests,
            region=self._place.region,
            endpoint_url=self._settings.endpoint_url,
            workload=self._policy.workload,
        )
        self.checking_since = None  # AWS may take longer than a disk
        until = time.monotonic() + budget_seconds(len(requests))
        try:
            current = self._start_child(question)
        except OSError as exc:
            log.error("child.failed", code="child_failed", crash=type(exc).__name__)
            answers: Sequence[Answered] = [Answered(outcome=NOT_STARTED)] * len(requests)
        else:
            answers = self._hear(current, question, until, deadline)
        if deadline is None:
            self._ask_disk()
        for record, answered in zip(batch, answers, strict=True):
            decision = after(record, answered.outcome, now, self._policy, self._chance())
            self._keep(ledger, decision, now, answered)
        settled = [one.dimension for one, got in zip(batch, answers, strict=True) if isinstance(got.outcome, Settled)]
        self._judge_denials(ledger, frozenset(settled))

    def _hear(self, current: Child, question: Submission, until: float, deadline: float | None) -> Sequence[Answered]:
        with self._wake:
            self._child_before_stop = current if deadline is None else None
        try:
            return outcomes(current, question, until if deadline is None else min(until, deadline))
        finally:
            with self._wake:
                self._child_before_stop = None

    def _keep(self, ledger: Ledger, decision: Decision, now: datetime, answered: Answered) -> None:
        outcome = "settled" if isinstance(answered.outcome, Settled) else answered.outcome.code
        kept = ledger.save(
            decision.record, now, outcome=outcome, detail=answered.request_id, roll_forward=decision.roll_forward
        )
        self.answers[decision.disposition.value] += 1
        earlier = ledger.earlier_hours(kept) if decision.disposition is Disposition.SETTLE else ()
        self.accounts.decided(decision, kept, answered, earlier)

    def _judge_denials(self, ledger: Ledger, settled: frozenset[str]) -> None:
        """A yes ends every doubt; "not entitled" to the first real record may shut the gate."""
        if settled:
            self._reporting = self._reporting.settled()
            self._sent_before = True
            if not settled <= self._proven:
                self._proven |= settled
                self._keep_pass(self._policy.workload, settled)
            self._impose(None)
        elif not ledger.waiting().ever_settled:
            self._hold_if_denied_before(ledger)

    def _hold_if_denied_before(self, ledger: Ledger) -> None:
        """Where only dry runs were asked, the first real record is the first answer about the customer.

        It is looked up in the audit trail: the record may have been throttled since, or rolled forward.
        """
        if self._settings.entitlement_check is not EntitlementCheck.METER_USAGE or self._hold:
            return
        if self.waiting is not None and self.waiting.ever_settled:
            return
        if not ledger.ever_answered(DENIED):
            return
        policy = self._settings.on_first_meter_denied
        if not self._denied_said:
            self._denied_said = True
            hint = "AWS says that this account has no subscription; usage is kept and sent again."
            self.accounts.denied(policy.value, hint)
        if policy is OnFirstMeterDenied.SHUT:
            self._impose(Hold.FIRST_METER_DENIED)

    def _impose(self, hold: Hold | None) -> None:
        if hold is not self._hold:
            self._hold = hold
            self._gate.impose(hold)

    # -- stock -------------------------------------------------------------------------------------

    def _keep_house(self, ledger: Ledger, now: datetime) -> None:
        """Now and then: usage of workloads that are gone is adopted, what nothing waits for is forgotten."""
        if self._house_kept_at is not None and abs(now - self._house_kept_at) < HOUSE_KEEPING:
            return
        self._house_kept_at = now
        for found in ledger.adopt(now):
            self.accounts.adopted(found)
        ledger.prune(now)

    def _take_stock(self, ledger: Ledger, now: datetime) -> None:
        """What status, metrics and policies show until the next pass."""
        self.sealed, self.waiting, self.balances = ledger.stock()
        if not self._may_send():
            return
        self._reporting = self._reporting.seen(self.sealed, self.waiting.rolled, self.waiting.last_settled_at, now)
        allowed = timedelta(seconds=self._settings.metering_overdue_seconds)
        before, self.overdue_since = self.overdue_since, self._reporting.overdue_since(now, allowed)
        if self.overdue_since and not before:
            self.accounts.overdue(self.overdue_since, self._settings.on_metering_overdue.value)
            if self._settings.on_metering_overdue is OnMeteringOverdue.SHUT and self._hold is None:
                self._impose(Hold.METERING_OVERDUE)
        elif before and not self.overdue_since:
            self.accounts.recovered()
        if self._hold is Hold.METERING_OVERDUE and not self.overdue_since and not self.waiting.rolled:
            self._impose(None)  # also one that an earlier worker imposed; what rolls forward was not reported yet

    # -- the end -----------------------------------------------------------------------------------

    def finish(self) -> None:
        """After SIGTERM: closed hours while pushes are still taken, then the running one, inside the budget."""
        ledger = self.ledger
        if ledger is None:
            return
        try:
            self.flush()
        except LedgerError as exc:
            self.fault = exc
            self.accounts.faulted(exc)
        self._leave(ledger)

    def flush(self) -> None:
        """Settle what can be settled of this workload, which reports no more afterwards. Raises LedgerError."""
        ledger = self.ledger
        assert ledger is not None
        deadline = (self._stop_at or self._clock.monotonic()) + self._settings.flush_seconds * FLUSHED
        goes_on = self._task_goes_on()
        now = self._now()
        self._seal_closed(ledger, now, at_once=True)
        if self._may_send():
            for record in ledger.in_state(State.SEALED):
                self._give_up(ledger, record, now)  # so that the running hour takes it along
        self._settle_rest(ledger, now, deadline - self._settings.flush_seconds * RESERVED)
        now = self._now()
        self._seal_closed(ledger, now, at_once=True)  # an hour may have ended meanwhile
        hour = Hour.at(now)
        if goes_on or ledger.open_from() > hour:
            ledger.stop_pushes()
        else:
            self._say_sealed(hour, ledger.seal_last(hour, now, self._make(now)))
        self._settle_rest(ledger, now, deadline)
        self.accounts.stopping(goes_on)

    def _settle_rest(self, ledger: Ledger, now: datetime, deadline: float) -> None:
        """Send everything that waits, held or not, and again what AWS could not take, until `deadline` (monotonic)."""
        batch = self._sendable(ledger, now)
        while batch and self._may_send() and self._clock.monotonic() < deadline:
            self._submit(ledger, batch[:BATCH_MAX], now, deadline)
            batch = batch[BATCH_MAX:]
            if not batch:
                now = self._wait_for_due(ledger, deadline)
                batch = oldest_first(ledger.due(now, BATCH_MAX))

    def _sendable(self, ledger: Ledger, now: datetime) -> list[UsageRecord]:
        sealed = ledger.in_state(State.SEALED)
        return oldest_first(one for one in sealed if not (too_late(one.hour, now) or too_early(one, now)))

    def _wait_for_due(self, ledger: Ledger, deadline: float) -> datetime:
        """The instant at which something may be sent again, where that is before `deadline`; else now."""
        while True:
            now = self._now()
            due = [record.retry_at for record in self._sendable(ledger, now) if record.retry_at]
            if not due or min(due) <= now:
                return now
            seconds = (min(due) - now).total_seconds()
            if self._settings.clock_url:  # a long while there may be a short one here
                seconds = min(seconds, PASS_SECONDS_FOLLOWING)
            if self._clock.monotonic() + seconds >= deadline:
                return now
            self._rest(seconds)

    def _leave(self, ledger: Ledger) -> None:
        """Say what is left, whole, and let go of the file."""
        try:
            self.accounts.leave_behind(ledger.left_behind())
        except LedgerError as exc:
            self.accounts.faulted(exc)
        ledger.close()
        log.LINES.drain(DRAIN_SECONDS)


FLUSHED: Final = 0.85
"""Of the flush budget: then what is left is said, and the process ends inside the budget."""
RESERVED: Final = 0.4
"""Of the flush budget, for the running hour: closed hours may not use it up."""
DRAIN_SECONDS: Final = 0.3


def _in_reach(first: Hour, last: Hour, now: datetime) -> set[Hour]:
    """Every hour from `first` to `last` that AWS still takes."""
    count = (last.start - first.start) // ONE_HOUR + 1
    hours = (Hour(last.start - back * ONE_HOUR) for back in range(min(count, 6)))
    return {hour for hour in hours if not too_late(hour, now)}


def _path(path: object) -> str | None:
    return None if path is None else str(path)


def shown(states: Mapping[State, int]) -> dict[str, int]:
    """Records by state, every state named."""
    return {state.value: states.get(state, 0) for state in State if state is not State.OPEN}
