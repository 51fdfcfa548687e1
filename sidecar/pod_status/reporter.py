"""Keep the pod's condition and events up to date: a loop that runs where a token for the cluster's API is mounted.

A thread that sleeps until something changes, starts one short-lived child at a time, and reads its results. `changes`
decides what is reported, `writer` writes it.

Invariants:
- Nothing waits for this loop, and nothing depends on it but a readiness gate: gate, probes and metering go on without
  it.
- It sleeps without a timeout while everything is reported; changes that come while a child runs go together to the
  next.
- Where the API server does not answer, it retries with backoff; a gate that opens or shuts ends the pause.
- What the API server refuses is logged once, with the permission to grant, and retried slowly: it may be granted later.
- A new worker goes on from the restart state. It writes the condition again; a child that finds it there writes
  nothing.
- At the end, unreported changes get a last moment. The condition stays: a pod that ends does not need it, and a pod
  whose sidecar alone restarts keeps its product.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from sidecar import log
from sidecar.backoff import full_jitter_seconds
from sidecar.child import process
from sidecar.child.process import CHILD_FAILED, ChildProcess
from sidecar.clock import Clock
from sidecar.pod_status.access import ApiAccess
from sidecar.pod_status.changes import Snapshot, condition, events_between
from sidecar.pod_status.messages import BUDGET_SECONDS, StatusUpdate, read_results
from sidecar.pod_status.types import Condition, PodEvent, WriteOutcome, WriteResult
from sidecar.quick_dataclasses import asdict
from sidecar.restart_state import RestartState

LOOP: Final = "kubernetes"
"""The loop's name in `/healthz`, status and metrics."""
PACE_SECONDS: Final = 2.0
"""Between two children, unless the gate changes."""
UNREACHABLE_SECONDS: Final = 1.0
UNREACHABLE_SECONDS_MAX: Final = 60.0
REFUSED_SECONDS: Final = 30.0
REFUSED_SECONDS_MAX: Final = 600.0
"""First and longest ceiling of the backoff."""
LAST_WRITE_SECONDS: Final = 2.0

GRANT: Final = (
    "Grant `{verb}` on `{resource}` in namespace {namespace} to the service account {account}: set rbac.create in the"
    " chart and list the account in rbac.subjects, or bind a Role of your own. Everything else works without."
)
HINTS: Final[Mapping[int, str]] = {
    401: "The API server does not accept the mounted token. Check the projected volume at {mount}; recreate the pod.",
    403: GRANT,
    404: "The pod {namespace}/{pod} is not there. Check that POD_NAME and POD_NAMESPACE come from the downward API.",
    422: "The pod {namespace}/{pod} is another one by now, or POD_UID does not come from the downward API.",
}
OTHER: Final = "The API server refuses `{verb}` on `{resource}`; look for an admission policy that says why."


class PodStatusReporter:
    """The thread that writes what is known of gate and usage to the pod."""

    def __init__(
        self,
        *,
        api: ApiAccess,
        snapshot: Callable[[], Snapshot],
        clock: Clock,
        restart_state: RestartState,
        start_child: Callable[[StatusUpdate], ChildProcess] = process.spawn,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """`snapshot`: returns what is known now, from memory alone."""
        self._api, self._snapshot, self._clock, self._restart_state = api, snapshot, clock, restart_state
        self._start_child, self._chance = start_child, chance
        self._wake = threading.Condition()
        self._child: ChildProcess | None = None
        self._stop_at: float | None = None
        self._ended = threading.Event()
        self._current = self._written = _restored(restart_state.read().get("pod_status"))
        self._shown: Condition | None = None
        """The condition as it was last written by this worker."""
        self._counted: list[PodEvent] = []
        """Events since `_written` that are written, while others are not."""
        self._next_at: float | None = None
        self._attempt = 0
        self._held = False
        self.refused: dict[tuple[int, str, str], str] = {}
        """What the API server refuses now: code, verb, resource → hint."""
        self.stopped_loop: str | None = None
        self.passed_at: datetime | None = None
        """When the last write ended."""

    # -- called by others ------------------------------------------------------------------------

    def start(self) -> None:
        """Start the thread, with what is known now."""
        self.changed()
        threading.Thread(target=self._run, name=LOOP, daemon=True).start()

    def changed(self) -> None:
        """Take a new snapshot. Returns at once; called by the loops that change what is known."""
        with self._wake:
            before, now = self._current, self._snapshot()
            self._current = now
            if now.entitled != before.entitled:
                self._next_at = None
            if now != before:
                self._wake.notify_all()

    def stop(self) -> None:
        """Write what is not written yet, for a moment: SIGTERM has come. Returns at once."""
        with self._wake:
            if self._stop_at is not None:
                return
            self._stop_at = time.monotonic() + LAST_WRITE_SECONDS
            self._wake.notify_all()
        timer = threading.Timer(LAST_WRITE_SECONDS, self._abort)
        timer.daemon = True
        timer.start()

    def stopped(self) -> bool:
        """Return whether everything is written that will be."""
        return self._ended.is_set()

    def status(self) -> Mapping[str, object]:
        """Return `kubernetes` of `GET /v1/status`."""
        refused = [
            {"code": code, "verb": verb or None, "resource": resource or None, "hint": hint}
            for (code, verb, resource), hint in sorted(self.refused.items())
        ]
        shown = self._shown
        return {"condition": None if shown is None else shown.status, "reachable": not self._held, "refused": refused}

    def _abort(self) -> None:
        with self._wake:
            if self._child:
                self._child.kill()

    # -- the loop ----------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while self._sleep():
                self.publish()
                self.passed_at = self._clock.now()
            if self._attempt == 0:
                self.publish()
        except Exception as exc:  # the outermost edge of the thread: /healthz shows it
            self.stopped_loop = LOOP
            log.LOGGER.error("loop.stopped", extra={"loop": LOOP}, exc_info=exc)
        finally:
            self._ended.set()

    def _sleep(self) -> bool:
        """Wait until there is something to write. Returns False when it is time to stop."""
        with self._wake:
            while self._stop_at is None:
                pause = self.pause_seconds()
                if pause is not None and pause <= 0:
                    return True
                if pause is None:
                    self._catch_up()
                self._wake.wait(pause)
            return False

    def pause_seconds(self) -> float | None:
        """Return seconds until the next write; None where there is nothing to write."""
        if not len(self._update(self._current)):
            return None
        return 0.0 if self._next_at is None else max(0.0, self._next_at - self._clock.monotonic())

    def _update(self, now: Snapshot) -> StatusUpdate:
        """Return what is not written yet."""
        wanted, shown = condition(now), self._shown
        if wanted and shown and (wanted.status, wanted.reason) == (shown.status, shown.reason):
            wanted = None
        fresh = tuple(one for one in events_between(self._written, now) if one not in self._counted)
        return StatusUpdate(api=self._api, condition=wanted, events=fresh)

    def _catch_up(self) -> None:
        """Remember a change that needs no write: fewer records wait, for example."""
        if self._written != self._current:
            self._remember(self._current)

    def _remember(self, written: Snapshot) -> None:
        self._written, self._counted = written, []
        self._restart_state.update(pod_status=asdict(written))

    def publish(self) -> None:
        """Write what is new, in one child."""
        with self._wake:
            now = self._current
            self._next_at = self._clock.monotonic() + PACE_SECONDS
        update = self._update(now)
        if not len(update):
            return
        try:
            current = self._start_child(update)
        except OSError as exc:
            log.error("child.failed", code=CHILD_FAILED, crash=type(exc).__name__)
            self._apply_results(
                update, now, [WriteResult(outcome=WriteOutcome.UNREACHABLE, reason=CHILD_FAILED)] * len(update)
            )
            return
        with self._wake:
            self._child = current
        try:
            results, failure = read_results(current, update, self._deadline())
        finally:
            with self._wake:
                self._child = None
        if failure is not None and failure.crash is not None:
            log.error("child.failed", code=failure.code, crash=failure.crash)
        self._apply_results(update, now, results)

    def _deadline(self) -> float:
        until = time.monotonic() + BUDGET_SECONDS
        return until if self._stop_at is None else min(until, self._stop_at)

    # -- what came of it ---------------------------------------------------------------------------

    def _apply_results(self, update: StatusUpdate, now: Snapshot, results: list[WriteResult]) -> None:
        """Remember what is written, log what is not, and schedule another attempt."""
        done = [one.outcome is WriteOutcome.DONE for one in results]
        of_events = done[len(done) - len(update.events) :]
        self._counted += [event for event, good in zip(update.events, of_events, strict=True) if good]
        if all(of_events):
            self._remember(now)
        if update.condition is not None and done[0]:
            self._shown = update.condition
        outcomes = {one.outcome for one in results}
        self._log_failures(results)
        self._schedule(outcomes)

    def _log_failures(self, results: list[WriteResult]) -> None:
        """Log each refusal and each silence once, and their end."""
        unreachable = next((one for one in results if one.outcome is WriteOutcome.UNREACHABLE), None)
        if unreachable and not self._held:
            log.warn(
                "kubernetes.held",
                code=unreachable.code or None,
                reason=unreachable.reason or None,
                hint=self._unreachable_hint(),
            )
        refused = {(one.code, one.verb, one.resource): one for one in results if one.outcome is WriteOutcome.REFUSED}
        for what, one in refused.items():
            if what not in self.refused:
                fields = {"code": one.code, "verb": one.verb, "resource": one.resource, "reason": one.reason or None}
                log.error("kubernetes.refused", **fields, hint=self._hint(*what))
        if (self._held or self.refused) and not unreachable and not refused:
            log.event("kubernetes.recovered")
        self._held = unreachable is not None
        kept = self.refused if unreachable else {}
        self.refused = {**kept, **{what: self._hint(*what) for what in refused}}

    def _hint(self, code: int, verb: str, resource: str) -> str:
        api = self._api
        return HINTS.get(code, OTHER).format(
            verb=verb,
            resource=resource,
            namespace=api.namespace,
            account=api.service_account or "of this pod",
            pod=api.pod,
            mount=api.mount,
        )

    def _unreachable_hint(self) -> str:
        return (
            f"The API server at {self._api.host}:{self._api.port} does not answer, or not in time; it is asked again."
            " If it lasts, look for a network policy, and for a token or ca.crt that is not readable under"
            f" {self._api.mount}."
        )

    def _schedule(self, outcomes: set[WriteOutcome]) -> None:
        """Schedule the rest. A gate that changed meanwhile does not wait."""
        if outcomes == {WriteOutcome.DONE}:
            self._attempt = 0
            return
        unreachable = WriteOutcome.UNREACHABLE in outcomes
        first, most = (
            (UNREACHABLE_SECONDS, UNREACHABLE_SECONDS_MAX) if unreachable else (REFUSED_SECONDS, REFUSED_SECONDS_MAX)
        )
        wait = full_jitter_seconds(self._attempt, self._chance(), first=first, most=most, floor=first / 2)
        self._attempt += 1
        with self._wake:
            if self._next_at is not None:
                self._next_at = self._clock.monotonic() + wait


def _restored(found: Any) -> Snapshot:
    """Return what an earlier worker of this process wrote last."""
    return Snapshot(**found) if isinstance(found, dict) else Snapshot()
