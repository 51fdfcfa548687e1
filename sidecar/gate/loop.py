"""Ask AWS again and again whether this workload may run, and hold the state of the gate.

A thread starts one short-lived child after another, reads its result, moves the state, and logs what happened. The
rules are elsewhere: what an answer means (`entitlement.classify`), what the gate shows (`entitlement.status`), how long
to wait (`entitlement.retry`).

Invariants:
- Probes read `state`; it is replaced as a whole, so they never wait for a lock.
- What a new worker must know goes to the restart state before anything else happens.
- A loop that breaks is an error of ours: with the gate shut the process ends with the reason; with the gate open the
  product goes on and `/healthz` names the loop.
"""

from __future__ import annotations

import math
import random
import threading
import time
from collections.abc import Callable
from typing import Final

from sidecar import log, termination_log
from sidecar.child import process
from sidecar.child.process import CHILD_FAILED, ChildProcess, read_message
from sidecar.clock import Clock
from sidecar.entitlement import classify as answers
from sidecar.entitlement import retry
from sidecar.entitlement.answer import AnswerClass, AnsweredBy
from sidecar.entitlement.hold import Hold, Shown
from sidecar.entitlement.status import GateState, Status, initial_state, next_state
from sidecar.errors import Exit, ExitProcess
from sidecar.gate import open_check, question
from sidecar.gate.counts import Counts, throttled
from sidecar.gate.events import SHUT_SECONDS, GateEvents
from sidecar.gate.holds import Holds
from sidecar.gate.messages import CheckRequest, CheckResult, KeptStatus, WorkloadIdentity, read_result
from sidecar.gate.observer import GateObserver
from sidecar.quick_dataclasses import asdict
from sidecar.restart_state import RestartState
from sidecar.settings import OnDenied, Settings

LOOP: Final = "entitlement"
RECHECK_SECONDS: Final = 15
"""Between two checks that a person asks for."""
KEPT_STATUS_SECONDS: Final = 10.0
"""A child whose disk is stuck is ended after this."""


class EntitlementLoop:
    """The thread that asks, and the state of the gate."""

    def __init__(
        self,
        *,
        settings: Settings,
        request: CheckRequest,
        clock: Clock,
        restart_state: RestartState,
        end: ExitProcess,
        identity: WorkloadIdentity | None = None,
        first: ChildProcess | None = None,
        start_child: Callable[[CheckRequest], ChildProcess] = process.spawn,
        chance: Callable[[], float] = random.random,
        observer: GateObserver | None = None,
    ) -> None:
        """`identity`: what is known of it without a child. `first`: a child that asks already."""
        self._settings, self._request, self._clock, self._restart_state = settings, request, clock, restart_state
        self._end, self._first, self._start_child, self._chance = end, first, start_child, chance
        self._observer, self._question = observer or GateObserver(), question.name_of(request)
        self._wake, self._retries = threading.Condition(), retry.Retries()
        self._child: ChildProcess | None = None
        self._stopping = self._recheck_wanted = False
        self._asking_since = self._asked_at = clock.monotonic()
        self._events = GateEvents(
            product_code=settings.product_code, product_sku=settings.product_sku, shut_since=self._asking_since
        )
        self.next_ask_at: float | None = self._asked_at
        self.stopped_loop: str | None = None
        self.counts, self.identity = Counts(), identity or WorkloadIdentity()
        self.result = CheckResult(answer=AnswerClass.RETRY.value, reason="asking", hint="")
        """What AWS answered last; of the time before a denial, once the gate is open."""
        self._holds, self._answered = Holds(), initial_state(clock.now())
        self._restored = self._restore()
        """Whether an earlier worker left a result, and when to ask again."""
        self.state = self._holds.applied(self._answered)
        """What the gate shows: where AWS's answers have brought it, unless metering or a lost seat holds it."""

    # -- what others may do ------------------------------------------------------------------------

    def start(self) -> None:
        """Start the thread."""
        threading.Thread(target=self._run, name=LOOP, daemon=True).start()

    def stop(self) -> None:
        """Stop asking, and kill the child that asks. Returns at once."""
        with self._wake:
            self._stopping = True
            if self._child:
                self._child.kill()
            self._wake.notify_all()

    def recheck(self) -> int:
        """Ask again now. Returns 0, or the seconds to wait before that is allowed."""
        with self._wake:
            since = self._clock.monotonic() - self._asked_at
            if since < RECHECK_SECONDS:
                return max(1, math.ceil(RECHECK_SECONDS - since))
            self._asked_at, self._recheck_wanted = self._clock.monotonic(), True
            self._wake.notify_all()
        self._observer.recheck_requested()
        return 0

    @property
    def has_opened(self) -> bool:
        """Return whether AWS ever let this workload run."""
        return self._answered.entitled

    @property
    def hold(self) -> Hold | None:
        """Return why metering holds the gate shut, if it does."""
        return self._holds.of_metering

    def set_hold(self, hold: Hold | None, shown: Shown | None = None) -> None:
        """Hold the gate shut for a reason of metering's, or end that; `shown` as in `with_hold`."""
        self._change_holds(lambda: self._holds.set_metering(hold, shown))

    def set_seat_hold(self, shown: Shown | None) -> None:
        """Hold the gate shut for a seat that is lost, or end that."""
        self._change_holds(lambda: self._holds.set_seats(shown))

    def _change_holds(self, change: Callable[[], None]) -> None:
        with self._wake:
            change()
            before, self.state = self.state, self._holds.applied(self._answered)
            self._wake.notify_all()  # the minute after which a shut gate is explained begins or ends
        self._holds.save(self._restart_state)
        self._observer.changed()
        if self._answered.entitled and not self.state.entitled and self.state != before:
            log.error("gate.held", **self._shown())
            if self.state.status is Status.DENIED:
                self._denied(self.state, before)
        elif self.state.entitled and not before.entitled:
            termination_log.note(self._settings.termination_log, "")
            log.event("gate.opened", reason=self.state.reason, workload=self.identity.workload)

    def _shown(self) -> dict[str, object]:
        state = self.state
        return {"status": state.status.value, "reason": state.reason, "hint": state.hint}

    def retry_after_seconds(self) -> int:
        """Return seconds until the gate may show something new."""
        if self.next_ask_at is None:
            return SHUT_SECONDS
        return max(1, min(300, round(self.next_ask_at - self._clock.monotonic())))

    # -- the loop ----------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._loop()
        except Exception as exc:  # the outermost edge of the thread
            self.stopped_loop = LOOP
            log.LOGGER.error("loop.stopped", extra={"loop": LOOP}, exc_info=exc)
            if not self.state.entitled:
                self._end(Exit.SOFTWARE, f"The {LOOP} loop broke: {type(exc).__name__}. Report this to the vendor.")

    def _loop(self) -> None:
        if not self._restored:
            self.check_once()
        while self._sleep():
            self.check_once()

    def _sleep(self) -> bool:
        """Wait until the next check. Returns False when it is time to stop."""
        with self._wake:
            while not self._stopping and not self._recheck_wanted:
                now = self._clock.monotonic()
                if self.next_ask_at is not None and now >= self.next_ask_at:
                    break
                self._events.shut_for_long(now, self.state, self.identity, self.result)
                self._wake.wait(self._wait_seconds(now))
            self._recheck_wanted = False
            return not self._stopping

    def _wait_seconds(self, now: float) -> float | None:
        ends = [at for at in (self.next_ask_at, self._events.explains_at()) if at is not None]
        return max(0.0, min(ends) - now) if ends else None

    def check_once(self) -> None:
        """Run one check, and apply its result."""
        began = self._clock.monotonic()
        child = self._begin(began)
        if child is None:
            return
        try:
            result = self._read_result(child)
            if self._stopping:
                return
            self.counts.seconds_last = self._clock.monotonic() - began
            self._request = self._request.after(result)
            self._apply(result)
            self._read_kept_status(child, result)
        finally:
            with self._wake:
                self._child = None
            child.close()

    def _begin(self, began: float) -> ChildProcess | None:
        """Return a child that asks; None when it is time to stop, or where none can be started."""
        with self._wake:
            if self._stopping:
                return None
            self._asked_at = self.next_ask_at = began
        try:
            child = self._take_child()
        except OSError as exc:
            log.error("child.failed", code=CHILD_FAILED, crash=type(exc).__name__)
            self._apply(self._missing_result(CHILD_FAILED))
            return None
        with self._wake:
            if not self._stopping:
                self._child = child
                return child
        child.close()
        return None

    def _take_child(self) -> ChildProcess:
        first, self._first = self._first, None
        if first is None:
            open_check.begin(self._restart_state, self._asking_since, self._asked_at)
        return first or self._start_child(self._request)

    def _read_result(self, child: ChildProcess) -> CheckResult:
        """Return the child's result, or what its silence means; the identity is taken on the way."""
        deadline = time.monotonic() + self._request.budget_seconds
        result, failure = read_result(child, deadline, self._identify)
        if result is not None:
            return result
        assert failure is not None  # one of the two is there
        if not self._stopping:
            log.error("child.failed", code=failure.code, crash=failure.crash)
        return self._missing_result(failure.code)

    def _identify(self, identity: WorkloadIdentity) -> None:
        if not self._stopping:
            self.identity = identity
            self._observer.identified(identity)

    def _missing_result(self, code: str) -> CheckResult:
        """Return a result for a child that gave none; host and role are those of the last."""
        row, last = answers.classify(code, AnsweredBy.SDK), self.result
        hint = answers.fill_hint(row.hint, {"region": self.identity.region, "metering_host": last.host})
        return CheckResult(
            answer=row.answer.value,
            reason=row.reason,
            hint=hint,
            code=code,
            partition=last.partition,
            host=last.host,
            credential_source=last.credential_source,
            role=last.role,
        )

    def _read_kept_status(self, child: ChildProcess, result: CheckResult) -> None:
        """Log an answer that could not be kept; the gate is open already."""
        fresh = result.verdict is AnswerClass.ACCEPTED and not result.from_kept_answer
        if not fresh or (self.identity.workload_kind == "nameless" and not result.held):
            return
        status, _ = read_message(child, KeptStatus.from_json, time.monotonic() + KEPT_STATUS_SECONDS)
        status = status or KeptStatus(kept=False, fault="the state directory does not answer")
        if not status.kept and not self._stopping:
            self.counts.not_kept += 1
            log.warn("answer.save_failed", state_dir=str(self._settings.state_dir), fault=status.fault)

    def _apply(self, result: CheckResult) -> None:
        """Move the state, write it to the restart state, log it, and end the process where that is due."""
        if result.settings_fault:
            self.next_ask_at = None
            self._end(Exit.CONFIG, result.settings_fault)
            return
        verdict = result.verdict
        if verdict is AnswerClass.ACCEPTED:
            self._observer.before_open()
        before = self._answered
        late = self._clock.monotonic() - self._asking_since >= self._settings.startup_retry_seconds
        state = next_state(before, verdict, result.reason, result.hint, self._clock.now(), late)
        self.counts.answered(result, self._clock.now())
        self._schedule(result)
        if not (before.entitled and verdict is not AnswerClass.ACCEPTED):
            self.result = result
        with self._wake:
            shown, self._answered = self.state, state
            self.state = self._holds.applied(state)
        self._save()
        self._observer.changed()
        delay = None if self.next_ask_at is None else round(self.next_ask_at - self._clock.monotonic(), 1)
        opened = self.state.entitled and not shown.entitled
        self._events.answer(self.identity, result, state, opened=opened, retry_in_seconds=delay)
        if state.entitled and not self.state.entitled:
            log.error("gate.held", **self._shown())
        if self.state.status is Status.DENIED:
            self._denied(self.state, shown)
        elif before.status is Status.DENIED:
            termination_log.note(self._settings.termination_log, "")

    def _schedule(self, result: CheckResult) -> None:
        self._retries = retry.next_retry(
            self._retries,
            AnswerClass.RETRY if result.from_kept_answer else result.verdict,
            self._chance(),
            self._settings.reask_seconds,
            throttled=throttled(result),
            retry_after_seconds=result.retry_after_seconds,
        )
        delay = self._retries.delay_seconds
        self.next_ask_at = None if delay is None else self._clock.monotonic() + delay

    def _denied(self, state: GateState, before: GateState) -> None:
        text = f"denied ({state.reason}): {state.hint}"
        if state.status is not before.status or state.reason != before.reason:
            termination_log.note(self._settings.termination_log, text)
        if self._settings.on_denied is OnDenied.EXIT:
            self._end(Exit.DENIED, text)

    # -- the restart state -------------------------------------------------------------------------

    def _save(self) -> None:
        self._restart_state.update(
            gate_state=self._answered.as_json(),
            identity=asdict(self.identity),
            result=asdict(self.result.without_tokens()),
            asking_since=self._asking_since,
            next_ask_at=self.next_ask_at,
            retries=self._retries.as_json(),
            **{**open_check.ANSWERED, question.QUESTION: self._question},
        )

    def _restore(self) -> bool:
        """Take over from an earlier worker of this process. Returns whether one has asked."""
        saved = question.answered(self._restart_state.read(), self._question)
        if self._first or open_check.ASKING_SINCE not in saved:
            return False
        self._asking_since, self.next_ask_at = open_check.schedule(saved, self._chance())
        if "gate_state" in saved:
            self._holds.restore(saved)
            self._answered = GateState.from_json(saved["gate_state"])
            self.identity, self.result = WorkloadIdentity(**saved["identity"]), CheckResult.from_fields(saved["result"])
            self._request, self._retries = self._request.after(self.result), retry.Retries.from_json(saved["retries"])
        return True
