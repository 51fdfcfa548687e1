"""Run one life of the sidecar's process: the real gate and the real metering, driven by hand instead of by threads.

Invariants:
- The loops' own methods run, in the order of their times; no timer and no thread but the ledger's writer.
- A process that is killed leaves its files as they are: what its connection would still write is taken back.
"""

from __future__ import annotations

import functools
import random
import threading
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sidecar.billing import pause
from sidecar.billing.loop import BillingLoop
from sidecar.billing.service import MeteringService
from sidecar.errors import Exit
from sidecar.gate.loop import EntitlementLoop
from sidecar.gate.messages import CheckRequest, WorkloadIdentity
from sidecar.gate.observer import GateObserver
from sidecar.ledger import sealing, wal
from sidecar.ledger.ledger import Ledger
from sidecar.metering import schedule
from sidecar.metering.events import PushAccepted, PushRefused, UsageEvent
from sidecar.metering.hours import Hour
from sidecar.restart_state import RestartState
from sidecar.settings import Settings
from tests.simulation import child
from tests.simulation.aws import REGION, Aws
from tests.simulation.clock import HostClock
from tests.simulation.disk import Disk

NOWHERE = Path("/nonexistent/product.yaml")
PASSES_CLOSE = 4
"""Passes of one wait at their own times; those after it come ever more seldom, since they find the same."""
APART_SECONDS_MAX = 2 * 86400.0
"""Between two passes of a wait of weeks, beyond what the product waits itself."""


@functools.lru_cache(maxsize=4096)
def settings_of(env: tuple[tuple[str, str], ...]) -> Settings:
    """Return the settings that these variables make."""
    return Settings.load(dict(env), {}, NOWHERE)


class Memory(RestartState):
    """What a worker leaves to the next one, without a file that thousands of pods would leave open."""

    def __init__(self) -> None:
        self._facts: dict[str, Any] = {}

    def update(self, **facts: object) -> None:
        self._facts |= facts

    def read(self) -> dict[str, Any]:
        return dict(self._facts)


class Observer(GateObserver):
    """Tells metering what the gate finds out, as the wiring does."""

    def __init__(self, pod: Pod) -> None:
        self._pod = pod

    def identified(self, identity: WorkloadIdentity) -> None:
        self._pod.loop.set_identity(identity.workload, identity.region)

    def before_open(self) -> None:
        if self._pod.loop.ledger is None:
            self._pod.run_pass()

    def recheck_requested(self) -> None:
        self._pod.loop.send_now()


class Pod:
    """One process."""

    def __init__(
        self, workload: str, env: Mapping[str, str], clock: HostClock, disk: Disk, aws: Aws, chance: random.Random
    ) -> None:
        self.workload, self._clock, self._disk, self._aws = workload, clock, disk, aws
        self.settings = settings = settings_of(tuple(sorted(env.items())))
        self.exit: Exit | None = None
        self.ended = False
        self.stop_wanted = False
        self.opened_once = False
        self.gate = EntitlementLoop(
            settings=settings,
            request=CheckRequest.of(settings, spare_workload_id="spare"),
            clock=clock,
            restart_state=Memory(),
            end=self._end,
            start_child=lambda request: child.check(aws, clock, request, workload),  # type: ignore[arg-type, return-value]
            chance=chance.random,
            observer=Observer(self),
            identity=WorkloadIdentity(workload=workload, region=REGION),
        )
        self.service = MeteringService(
            settings,
            clock,
            self.gate,
            self._end,
            start_child=lambda submission: child.submit(aws, submission),  # type: ignore[arg-type, return-value]
            chance=chance.random,
            sleep=clock.sleep,
        )
        self.loop._policy.wait_for_ledger()
        self._next_pass = 0.0
        self._in_a_row = 0

    @property
    def loop(self) -> BillingLoop:
        return self.service.loop

    @property
    def ledger(self) -> Ledger | None:
        return self.loop.ledger

    def _end(self, code: Exit, _text: str) -> None:
        self.exit = self.exit or code

    # -- the loops ---------------------------------------------------------------------------------

    def start(self) -> None:
        """Do what the process does at once."""
        self.loop.set_identity(self.workload, REGION)  # the environment says both, as on EKS
        self.check_gate()
        self.run_pass()

    def next_at(self) -> float:
        """Return when (monotonic) the next loop wants to run."""
        asks = self.gate.next_ask_at
        return self._next_pass if asks is None else min(asks, self._next_pass)

    def run_next(self) -> None:
        """Run the loop whose time has come."""
        asks = self.gate.next_ask_at
        if asks is not None and asks <= self._next_pass:
            self.check_gate()
        else:
            self.run_pass()

    def check_gate(self) -> None:
        """Ask AWS whether this workload may run."""
        self._in_a_row += 1
        self.gate.check_once()
        if self.gate.next_ask_at is not None:
            self.gate.next_ask_at += self._thinned()

    def run_pass(self) -> None:
        """Run one pass of metering; end the process where SIGTERM came meanwhile."""
        self._in_a_row += 1
        self.loop.run_once()
        self._next_pass = self._clock.monotonic() + self._pause()
        if self.stop_wanted or self.exit is not None:
            self.finish()

    def quietly(self) -> None:
        """Begin another wait: the next pass comes at its own time again."""
        self._in_a_row = 0
        self._next_pass = min(self._next_pass, self._clock.monotonic() + self._pause())

    def _thinned(self) -> float:
        beyond = self._in_a_row - PASSES_CLOSE
        return 0.0 if beyond < 0 else min(APART_SECONDS_MAX, 30.0 * 2.0 ** min(beyond, 20))

    def _pause(self) -> float:
        """Return the seconds until a pass would find something other than this one."""
        loop, now = self.loop, self._clock.now()
        if loop._at_once:  # a person decided, or had AWS asked again
            return pause.PASS_SECONDS_MIN
        if loop.ledger is None or loop.fault is not None:
            return pause.PASS_SECONDS_UNUSABLE + self._thinned()
        found = loop.snapshot
        due = pause.next_due(found.sealed, now, self.workload) - now
        if not found.sealed and not any(one.report_zero for one in self.settings.dimensions):
            due = timedelta(days=4)
        seconds = [due.total_seconds() + self._thinned(), *((at - now).total_seconds() for at in self._firsts(now))]
        return max(pause.PASS_SECONDS_MIN, min(seconds))

    def _firsts(self, now: datetime) -> list[datetime]:
        """Return when something is done for the first time, which no wait of weeks puts off: sealing, and sending."""
        found = self.loop.snapshot
        firsts = [one.retry_at for one in found.sealed if one.retry_at and not one.attempts]
        connection = self.ledger._writer._connection if self.ledger else None
        if connection is not None:
            open_from, hours = sealing.open_from(connection), list(sealing.open_hours(connection))
            configured = [one.name for one in self.settings.dimensions]
            carried = any(one.unsealed and one.dimension in configured for one in found.balances)
            if carried or (found.waiting and found.waiting.rolled):
                hours.append(Hour.at(now))
            firsts += [schedule.seal_at(max(hour, open_from), self.workload) for hour in hours]
        return [at for at in firsts if at > now]

    def pushed(self) -> None:
        """Take note that there is something to seal."""
        self._next_pass = min(self._next_pass, self._clock.monotonic() + self._pause())
        due = pause.next_due((), self._clock.now(), self.workload) - self._clock.now()
        self._next_pass = min(self._next_pass, self._clock.monotonic() + max(0.5, due.total_seconds()))

    # -- pushes ------------------------------------------------------------------------------------

    def push(self, requests: list[tuple[UsageEvent, ...]]) -> list[PushAccepted | PushRefused | None]:
        """Push several requests that arrive together; None where the process died before it answered."""
        results: list[PushAccepted | PushRefused | None] = [None] * len(requests)
        left, done = [len(requests)], threading.Event()

        def on_result(number: int) -> Callable[[PushAccepted | PushRefused], None]:
            def keep(result: PushAccepted | PushRefused) -> None:
                results[number] = None if self._disk.dead else result
                left[0] -= 1
                if not left[0]:
                    done.set()

            return keep

        now = self._clock.now()
        for number, events in enumerate(requests):
            self.service.usage.push(events, now, on_result(number))
        self.service.usage.commit_pending()
        done.wait()
        if self._disk.dead:
            results = [None] * len(requests)
        return results

    # -- the end -----------------------------------------------------------------------------------

    def sigterm(self) -> None:
        """Have the process end at its next step."""
        self.stop_wanted = True
        self.loop._stop_at = self._clock.monotonic()

    def finish(self) -> None:
        """End as after SIGTERM."""
        if not self.ended:
            self.loop._stop_at = self.loop._stop_at or self._clock.monotonic()
            self.loop.finish()
            self._release()

    def kill(self) -> None:
        """End as after SIGKILL."""
        if self.ended:
            return
        ledger = self.ledger
        if ledger is not None:
            files = {one: one.read_bytes() for one in (ledger.path, wal.path_of(ledger.path)) if one.exists()}
            ledger.close()
            for path, content in files.items():
                path.write_bytes(content)
        self._release()

    def _release(self) -> None:
        self.ended = True
