"""Ask AWS again and again whether this workload may run, and hold the state of the gate.

A thread that starts one short-lived child after another, reads its result, moves the state, and logs what happened. The
rules are elsewhere: what an answer means (`entitlement.classify`), what the gate shows (`entitlement.status`), how long
to wait (`entitlement.retry`).

Invariants:
- Probes read `state`; it is replaced as a whole, so no lock is ever waited for.
- What a new worker must know goes to the restart state before anything else happens.
- If this loop breaks, it is an error of ours: with the gate shut the process ends and says why; with the gate open the
  product goes on and `/healthz` names the loop.
"""

from __future__ import annotations

import math
import random
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Final

from sidecar import log, termination_log
from sidecar.child import process
from sidecar.child.process import CHILD_FAILED, ChildProcess, read_message
from sidecar.clock import Clock
from sidecar.entitlement import classify as answers
from sidecar.entitlement import retry
from sidecar.entitlement.answer import AnswerClass, AnsweredBy
from sidecar.entitlement.hold import Hold, with_hold
from sidecar.entitlement.status import GateState, Status, initial_state, next_state
from sidecar.errors import Exit, ExitProcess
from sidecar.gate.events import SHUT_SECONDS, GateEvents
from sidecar.gate.messages import CheckRequest, KeptStatus, Report
from sidecar.restart_state import RestartState
from sidecar.settings import OnDenied, Settings

LOOP: Final = "entitlement"
PLACE: Final = (
    "workload",
    "workload_kind",
    "labels",
    "region",
    "region_source",
    "partition",
    "host",
    "credential_source",
    "role",
)
"""What a child that said nothing leaves as it was."""
RECHECK_SECONDS: Final = 15
"""Between two questions asked by hand."""
KEEPING_SECONDS: Final = 10.0
"""A child whose disk is stuck is ended after this."""


@dataclass(kw_only=True)
class Counts:
    """What has been asked, for `/metrics`; written by this loop alone."""

    answers: dict[str, int] = field(default_factory=lambda: {answer.value: 0 for answer in AnswerClass})
    seconds_last: float = 0.0
    not_kept: int = 0


class EntitlementLoop:
    """Asks, and holds where the gate stands."""

    def __init__(
        self,
        *,
        settings: Settings,
        question: CheckRequest,
        clock: Clock,
        shared: RestartState,
        end: ExitProcess,
        first: ChildProcess | None = None,
        at_first: Report | None = None,
        start_child: Callable[[CheckRequest], ChildProcess] = process.spawn,
        chance: Callable[[], float] = random.random,
        before_opening: Callable[[], None] = lambda: None,
        rechecked: Callable[[], None] = lambda: None,
        placed: Callable[[Report], None] | None = None,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        """`before_opening`: what may know of a hold is heard first. `rechecked`: somebody wants it asked now.
        `changed`: standing or report may be other than before.
        """
        self._before_opening, self._rechecked = before_opening, rechecked
        self._settings, self._question, self._clock, self._board = settings, question, clock, shared
        self._end, self._first, self._start_child, self._chance = end, first, start_child, chance
        self._placed, self._changed = placed, changed
        self._wake = threading.Condition()
        self._child: ChildProcess | None = None
        self._stopping = self._asked_by_hand = False
        self._announce = GateEvents(product_code=settings.product_code)
        self._asked_at = clock.monotonic()
        self._attempt = 0
        self._last_class: AnswerClass | None = None
        self.next_ask_at: float | None = self._asked_at
        self.stopped_loop: str | None = None
        self.counts = Counts()
        self._asking_since = self._asked_at
        self._recalled = False
        """Whether an earlier worker left an answer, and when to ask again."""
        nothing = Report(answer=AnswerClass.RETRY.value, reason="asking", hint="")
        self._hold: Hold | None = None
        self.answered, self.report = self._restore(at_first or nothing)
        self.state = with_hold(self.answered, self._hold)
        """What the gate shows: where AWS's answers have brought it, unless metering holds it."""
        self._opened_at = clock.monotonic()

    # -- what others may do ------------------------------------------------------------------------

    def start(self) -> None:
        """Begin asking."""
        threading.Thread(target=self._run, name=LOOP, daemon=True).start()

    def stop(self) -> None:
        """Ask no more. Returns at once."""
        with self._wake:
            self._stopping = True
            if self._child:
                self._child.kill()
            self._wake.notify_all()

    def recheck(self) -> int:
        """Ask again now: 0, or the seconds to wait before one may."""
        with self._wake:
            since = self._clock.monotonic() - self._asked_at
            if since < RECHECK_SECONDS:
                return max(1, math.ceil(RECHECK_SECONDS - since))
            self._asked_at = self._clock.monotonic()
            self._asked_by_hand = True
            self._wake.notify_all()
        self._rechecked()
        return 0

    @property
    def has_opened(self) -> bool:
        """Return whether AWS ever let this workload run."""
        return self.answered.entitled

    @property
    def hold(self) -> Hold | None:
        """Return what metering keeps the gate shut for."""
        return self._hold

    def set_hold(self, hold: Hold | None) -> None:
        """Shut the gate for metering's sake, or end that. Called by the metering loop."""
        with self._wake:
            self._hold = hold
            before, self.state = self.state, with_hold(self.answered, hold)
        self._board.update(hold=hold.value if hold else None)
        self._changed()
        if before.entitled and not self.state.entitled:
            log.error("gate.held", **self._seen())
            if self.state.status is Status.DENIED:
                self._denied(self.state, before)
        elif self.state.entitled and not before.entitled:
            termination_log.note(self._settings.termination_log, "")
            log.event("gate.opened", reason=self.state.reason, workload=self.report.workload)

    def _seen(self) -> dict[str, object]:
        state = self.state
        return {"status": state.status.value, "reason": state.reason, "hint": state.hint}

    def retry_after_seconds(self) -> int:
        """Return when another look at the gate may show something new."""
        if self.next_ask_at is None:
            return SHUT_SECONDS
        return max(1, min(300, round(self.next_ask_at - self._clock.monotonic())))

    # -- the loop ----------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._loop()
        except Exception as exc:  # the outermost edge of the thread: said, and acted on
            self.stopped_loop = LOOP
            log.LOGGER.error("loop.stopped", extra={"loop": LOOP}, exc_info=exc)
            if not self.state.entitled:
                self._end(Exit.SOFTWARE, f"The {LOOP} loop broke: {type(exc).__name__}. Report this to the vendor.")

    def _loop(self) -> None:
        if not self._recalled:
            self.check_once()
        while self._sleep():
            self.check_once()

    def _sleep(self) -> bool:
        """Wait for the next question; False when it is time to stop."""
        with self._wake:
            while not self._stopping and not self._asked_by_hand:
                now = self._clock.monotonic()
                if self.next_ask_at is not None and now >= self.next_ask_at:
                    break
                self._announce.shut_for_long(now - self._opened_at, self.state, self.report)
                self._wake.wait(self._wait_seconds(now))
            self._asked_by_hand = False
            return not self._stopping

    def _wait_seconds(self, now: float) -> float | None:
        waits = [] if self.next_ask_at is None else [self.next_ask_at - now]
        if not self._announce.shut_said and not self.state.entitled:
            waits.append(self._opened_at + SHUT_SECONDS - now)
        return max(0.0, min(waits)) if waits else None

    def check_once(self) -> None:
        """One question, heard and acted on."""
        began = self._clock.monotonic()
        current = self._begin(began)
        if current is None:
            return
        try:
            report = self._read_report(current)
            if self._stopping:
                return
            self.counts.seconds_last = self._clock.monotonic() - began
            self._apply(report)
            self._read_kept_status(current, report)
        finally:
            with self._wake:
                self._child = None
            current.close()

    def _begin(self, began: float) -> ChildProcess | None:
        """Return a child that asks; None when it is time to stop, or where none can be started."""
        with self._wake:
            if self._stopping:
                return None
            self._asked_at = self.next_ask_at = began
        try:
            current = self._take_child()
        except OSError as exc:
            log.error("child.failed", code=CHILD_FAILED, crash=type(exc).__name__)
            self._apply(self._missing_result(CHILD_FAILED))
            return None
        with self._wake:
            if not self._stopping:
                self._child = current
                return current
        current.close()
        return None

    def _take_child(self) -> ChildProcess:
        first, self._first = self._first, None
        if first is not None:
            self._board.update(first_heard=True)
            return first
        return self._start_child(self._question)

    def _read_report(self, current: ChildProcess) -> Report:
        """Return the child's report, or what its silence means."""
        deadline = time.monotonic() + self._question.budget_seconds
        report = self._read_line(current, deadline)
        if not report.placed_only:
            return report
        self._place(report)
        return self._read_line(current, deadline, placed=True)

    def _read_line(self, current: ChildProcess, deadline: float, placed: bool = False) -> Report:
        """Return one line of it. Once the place is said, only an answer will do."""
        parse = (lambda line: Report.from_json(line).answered()) if placed else Report.from_json
        report, failure = read_message(current, parse, deadline)
        if report is not None:
            return report
        assert failure is not None  # one of the two is there
        if not self._stopping:
            log.error("child.failed", code=failure.code, crash=failure.crash)
        return self._missing_result(failure.code)

    def _place(self, report: Report) -> None:
        """Who and where we are is known before AWS has answered."""
        known = {name: value for name in PLACE if (value := getattr(report, name))}
        self.report = replace(self.report, **known)
        if self._placed and not self._stopping:
            self._placed(report)

    def _missing_result(self, code: str) -> Report:
        """Return a report in place of the one no child gave; who we are is known from the last."""
        row = answers.classify(code, AnsweredBy.SDK)
        hint = answers.fill_hint(row.hint, {"region": self.report.region, "metering_host": self.report.host})
        fresh = Report(answer=row.answer.value, reason=row.reason, hint=hint, code=code)
        known = {name: getattr(self.report, name) for name in PLACE}
        return replace(fresh, **known)

    def _read_kept_status(self, current: ChildProcess, report: Report) -> None:
        """Return whether the answer was kept; the gate is open already."""
        if report.verdict is not AnswerClass.ACCEPTED or report.kept or report.workload_kind == "nameless":
            return
        keeping, _ = read_message(current, KeptStatus.from_json, time.monotonic() + KEEPING_SECONDS)
        keeping = keeping or KeptStatus(kept=False, fault="the state directory does not answer")
        if not keeping.kept and not self._stopping:
            self.counts.not_kept += 1
            log.warn("answer.save_failed", state_dir=str(self._settings.state_dir), fault=keeping.fault)

    def _apply(self, report: Report) -> None:
        """Move the state, tell the board, say it, end the process where that is due."""
        if report.settings_fault:
            self.next_ask_at = None
            self._end(Exit.CONFIG, report.settings_fault)
            return
        now = self._clock.now()
        verdict = report.verdict
        if verdict is AnswerClass.ACCEPTED:
            self._before_opening()
        before = self.answered
        late = self._clock.monotonic() - self._asking_since >= self._settings.startup_retry_seconds
        state = next_state(before, verdict, report.reason, report.hint, now, late)
        self.counts.answers[verdict.value] += 1
        self._schedule(report)
        if not (before.entitled and verdict is not AnswerClass.ACCEPTED):
            self.report = report
        with self._wake:
            shown, self.answered = self.state, state
            self.state = with_hold(state, self._hold)
        self._board.update(
            standing=state.as_json(),
            report=asdict(self.report),
            asking_since=self._asking_since,
            next_ask_at=self.next_ask_at,
        )
        self._changed()
        pause = None if self.next_ask_at is None else round(self.next_ask_at - self._clock.monotonic(), 1)
        opened = self.state.entitled and not shown.entitled
        self._announce.answer(report, state, opened=opened, pause_seconds=pause)
        if state.entitled and not self.state.entitled:
            log.error("gate.held", **self._seen())
        state = self.state
        if state.status is Status.DENIED:
            self._denied(state, shown)
        elif before.status is Status.DENIED:
            termination_log.note(self._settings.termination_log, "")

    def _schedule(self, report: Report) -> None:
        verdict = report.verdict
        self._attempt = self._attempt + 1 if verdict is self._last_class else 0
        self._last_class = verdict
        effective = AnswerClass.RETRY if report.kept else verdict
        pause = retry.retry_delay_seconds(
            effective, self._attempt, self._chance(), self._settings.reask_seconds, report.retry_after_seconds
        )
        self.next_ask_at = None if pause is None else self._clock.monotonic() + pause

    def _denied(self, state: GateState, before: GateState) -> None:
        text = f"denied ({state.reason}): {state.hint}"
        if state.status is not before.status or state.reason != before.reason:
            termination_log.note(self._settings.termination_log, text)
        if self._settings.on_denied is OnDenied.EXIT:
            self._end(Exit.DENIED, text)

    # -- the board ---------------------------------------------------------------------------------

    def _restore(self, nothing: Report) -> tuple[GateState, Report]:
        """Return where an earlier worker of this process left off, or the beginning."""
        found = self._board.read()
        if found.get("first_heard"):
            self._first = None
        if "standing" not in found:
            return initial_state(self._clock.now()), nothing
        self._recalled = True
        self._asking_since, self.next_ask_at = found["asking_since"], found["next_ask_at"]
        self._hold = Hold(found["hold"]) if found.get("hold") else None
        return GateState.from_json(found["standing"]), Report(**found["report"])
