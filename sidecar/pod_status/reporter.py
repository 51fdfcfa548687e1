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
from dataclasses import asdict
from typing import Any, Final

from sidecar import log
from sidecar.backoff import full_jitter_seconds
from sidecar.child import process
from sidecar.child.process import CHILD_FAILED, ChildProcess
from sidecar.clock import Clock
from sidecar.pod_status.access import ApiAccess
from sidecar.pod_status.changes import Snapshot, condition, events_between
from sidecar.pod_status.messages import BUDGET_SECONDS, StatusUpdate, answers
from sidecar.pod_status.types import Condition, PodEvent, WriteOutcome, WriteResult
from sidecar.restart_state import RestartState

LOOP: Final = "kubernetes"
"""The loop's name in `/healthz`, status and metrics."""
PACE_SECONDS: Final = 2.0
"""Between two children, unless the gate turns."""
UNREACHABLE_SECONDS: Final = 1.0
UNREACHABLE_SECONDS_MAX: Final = 60.0
REFUSED_SECONDS: Final = 30.0
REFUSED_SECONDS_MAX: Final = 600.0
"""First and longest ceiling of the backoff."""
FAREWELL_SECONDS: Final = 2.0

NOT_INSTALLED: Final = (
    "A token for the Kubernetes API is mounted, but the image has no package `kubernetes`: install"
    " entitlement-sidecar[kubernetes]. Pod condition and events are not written; everything else works."
)
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
    """Tells the cluster what is seen of gate and usage."""

    def __init__(
        self,
        *,
        api: ApiAccess,
        look: Callable[[], Snapshot],
        clock: Clock,
        restart_state: RestartState,
        start_child: Callable[[StatusUpdate], ChildProcess] = process.spawn,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """`look`: what there is to be told, from memory alone."""
        self._api, self._look, self._clock, self._restart_state = api, look, clock, restart_state
        self._start_child, self._chance = start_child, chance
        self._wake = threading.Condition()
        self._child: ChildProcess | None = None
        self._stop_at: float | None = None
        self._ended = threading.Event()
        self._given_up = False
        self._seen = self._told = _recalled(restart_state.read().get("told"))
        self._shown: Condition | None = None
        """The condition as it was last written by this worker."""
        self._counted: list[PodEvent] = []
        """Events since `_told` that are told, while others are not."""
        self._next_at: float | None = None
        self._attempt = 0
        self._held = False
        self.refused: dict[tuple[int, str, str], str] = {}
        """What the API server refuses now: code, verb, resource → hint."""
        self.stopped_loop: str | None = None

    # -- what others may do ------------------------------------------------------------------------

    def start(self) -> None:
        """Begin, with what there is to be seen now."""
        self.changed()
        threading.Thread(target=self._run, name=LOOP, daemon=True).start()

    def changed(self) -> None:
        """Something may have changed. Returns at once; called by the loops that change it."""
        with self._wake:
            before, now = self._seen, self._look()
            self._seen = now
            if now.entitled != before.entitled:
                self._next_at = None
            if now != before:
                self._wake.notify_all()

    def stop(self) -> None:
        """SIGTERM: tell what is not told yet, for a moment. Returns at once."""
        with self._wake:
            if self._stop_at is not None:
                return
            self._stop_at = time.monotonic() + FAREWELL_SECONDS
            self._wake.notify_all()
        timer = threading.Timer(FAREWELL_SECONDS, self._hurry)
        timer.daemon = True
        timer.start()

    def stopped(self) -> bool:
        """Return whether everything is told that will be."""
        return self._ended.is_set()

    def status(self) -> Mapping[str, object]:
        """For `GET /v1/status`."""
        refused = [
            {"code": code, "verb": verb or None, "resource": resource or None, "hint": hint}
            for (code, verb, resource), hint in sorted(self.refused.items())
        ]
        shown = self._shown
        return {"condition": None if shown is None else shown.status, "reachable": not self._held, "refused": refused}

    def _hurry(self) -> None:
        with self._wake:
            if self._child:
                self._child.kill()

    # -- the loop ----------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while self._sleep():
                self.publish()
            if self._attempt == 0:
                self.publish()
        except Exception as exc:  # the outermost edge of the thread: said, and shown by /healthz
            self.stopped_loop = LOOP
            log.LOGGER.error("loop.stopped", extra={"loop": LOOP}, exc_info=exc)
        finally:
            self._ended.set()

    def _sleep(self) -> bool:
        """Wait until something is to be told; False when it is time to stop."""
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
        """Return how long until something is told; None where there is nothing to tell."""
        if not len(self._notice(self._seen)):
            return None
        return 0.0 if self._next_at is None else max(0.0, self._next_at - self._clock.monotonic())

    def _notice(self, now: Snapshot) -> StatusUpdate:
        """Return what is not told yet."""
        if self._given_up:
            return StatusUpdate(api=self._api, condition=None)
        wanted, shown = condition(now), self._shown
        if wanted and shown and (wanted.status, wanted.reason) == (shown.status, shown.reason):
            wanted = None
        fresh = tuple(one for one in events_between(self._told, now) if one not in self._counted)
        return StatusUpdate(api=self._api, condition=wanted, events=fresh)

    def _catch_up(self) -> None:
        """What changed and is nothing to tell is known from here on: fewer records wait, say."""
        if self._told != self._seen:
            self._remember(self._seen)

    def _remember(self, told: Snapshot) -> None:
        self._told, self._counted = told, []
        self._restart_state.update(told=asdict(told))

    def publish(self) -> None:
        """Write what is new, in one child."""
        with self._wake:
            now = self._seen
            self._next_at = self._clock.monotonic() + PACE_SECONDS
        notice = self._notice(now)
        if not len(notice):
            return
        try:
            current = self._start_child(notice)
        except OSError as exc:
            log.error("child.failed", code=CHILD_FAILED, crash=type(exc).__name__)
            self._apply_results(
                notice, now, [WriteResult(outcome=WriteOutcome.UNREACHABLE, reason=CHILD_FAILED)] * len(notice)
            )
            return
        with self._wake:
            self._child = current
        try:
            told, failure = answers(current, notice, self._deadline())
        finally:
            with self._wake:
                self._child = None
        if failure is not None and failure.crash is not None:
            log.error("child.failed", code=failure.code, crash=failure.crash)
        self._apply_results(notice, now, told)

    def _deadline(self) -> float:
        until = time.monotonic() + BUDGET_SECONDS
        return until if self._stop_at is None else min(until, self._stop_at)

    # -- what came of it ---------------------------------------------------------------------------

    def _apply_results(self, notice: StatusUpdate, now: Snapshot, told: list[WriteResult]) -> None:
        """Remember what is told, say what is not, and when it is tried again."""
        done = [one.outcome is WriteOutcome.DONE for one in told]
        of_events = done[len(done) - len(notice.events) :]
        self._counted += [event for event, good in zip(notice.events, of_events, strict=True) if good]
        if all(of_events):
            self._remember(now)
        if notice.condition is not None and done[0]:
            self._shown = notice.condition
        outcomes = {one.outcome for one in told}
        if WriteOutcome.NOT_INSTALLED in outcomes:
            self._given_up = True
            log.error("kubernetes.not_installed", hint=NOT_INSTALLED)
            return
        self._log_failures(told)
        self._schedule(outcomes)

    def _log_failures(self, told: list[WriteResult]) -> None:
        """Refusals and silences, each once; and when they are over."""
        silent = next((one for one in told if one.outcome is WriteOutcome.UNREACHABLE), None)
        if silent and not self._held:
            log.warn("kubernetes.held", code=silent.code or None, reason=silent.reason or None, hint=self._silence())
        refused = {(one.code, one.verb, one.resource): one for one in told if one.outcome is WriteOutcome.REFUSED}
        for what, one in refused.items():
            if what not in self.refused:
                fields = {"code": one.code, "verb": one.verb, "resource": one.resource, "reason": one.reason or None}
                log.error("kubernetes.refused", **fields, hint=self._hint(*what))
        if (self._held or self.refused) and not silent and not refused:
            log.event("kubernetes.recovered")
        self._held = silent is not None
        kept = self.refused if silent else {}
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

    def _silence(self) -> str:
        return (
            f"The API server at {self._api.host}:{self._api.port} does not answer, or not in time; it is asked again."
            " If it lasts, look for a network policy, and for a token or ca.crt that is not readable under"
            f" {self._api.mount}."
        )

    def _schedule(self, outcomes: set[WriteOutcome]) -> None:
        """When the rest is tried again. A gate that turned meanwhile does not wait."""
        if outcomes == {WriteOutcome.DONE}:
            self._attempt = 0
            return
        silent = WriteOutcome.UNREACHABLE in outcomes
        first, most = (
            (UNREACHABLE_SECONDS, UNREACHABLE_SECONDS_MAX) if silent else (REFUSED_SECONDS, REFUSED_SECONDS_MAX)
        )
        wait = full_jitter_seconds(self._attempt, self._chance(), first=first, most=most, floor=first / 2)
        self._attempt += 1
        with self._wake:
            if self._next_at is not None:
                self._next_at = self._clock.monotonic() + wait


def _recalled(found: Any) -> Snapshot:
    """Return what an earlier worker of this process told last."""
    return Snapshot(**found) if isinstance(found, dict) else Snapshot()
