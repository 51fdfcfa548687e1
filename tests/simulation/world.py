"""Put a pod, its volume, its product, AWS and people together, and let steps happen to them.

Invariants:
- Everything that is left to chance comes from the seed of the step that is being done.
- After every step, and after a crash before anything is started again, everything that must hold is compared.
"""

from __future__ import annotations

import contextlib
import functools
import json
import random
import shutil
import sqlite3
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest import mock

from sidecar.emulator.keys import SigningKeys
from sidecar.ledger import integrity, opening, records, sealing, statements, volume
from sidecar.metering.hours import Hour
from sidecar.metering.resolution import Resolution
from tests.simulation import happenings, invariants
from tests.simulation.aws import REGION, Aws, key_of
from tests.simulation.books import Book, Shelf, read
from tests.simulation.checked import Checks
from tests.simulation.child import SimulatedMarketplace
from tests.simulation.clock import BEGIN, HostClock
from tests.simulation.configuration import DIMENSIONS, Configuration
from tests.simulation.disk import Crash, Disk, under
from tests.simulation.inline import InlineWriter
from tests.simulation.invariants import Auditor, Finder
from tests.simulation.model import Batch, Model
from tests.simulation.pod import Pod
from tests.simulation.product import Product
from tests.simulation.steps import Step

RESTARTS_MAX = 4
"""Starts in one wait; then the container stays down for the rest of it, as the kubelet's back-off has it."""


migrations = functools.cache(statements.migrations)
"""The files do not change meanwhile."""


class Down(Exception):
    """The container ends as soon as it is started: what needs it does not happen."""


@functools.cache
def keys() -> SigningKeys:
    """Return the keys AWS signs with; one pair for all worlds."""
    return SigningKeys((1,))


class World:
    """One volume, and the pods that use it one after the other."""

    def __init__(self, seed: int, directory: Path) -> None:
        """Begin a world that `seed` makes, in an empty directory of its own."""
        self.chance = random.Random(seed)
        self.volume = directory / "state"
        shutil.rmtree(directory, ignore_errors=True)
        self.volume.mkdir(parents=True)
        self.clock, self.disk = HostClock(), Disk()
        self.disk.chance = self.chance
        self.aws = Aws(self.clock, self.disk, keys(), tuple(one["name"] for one in DIMENSIONS), chance=self.chance)
        self.aws.sealed = self._fault_of_unsealed
        self.configuration = Configuration.drawn(self.chance, self.volume, self.aws.state.public_key())
        self.model, self.product = Model(), Product(self.chance)
        self.auditor = Auditor(self.aws, self.model)
        self.shelf, self.finder = Shelf(directory, self.disk.versions), Finder(self.connection)
        self.person: Resolution | None = None
        self.pods = self.starts = self.pushes = self.crashes = self.calms = 0
        self.workload = ""
        self.pod: Pod | None = None
        self.grants_before = 0
        self._stack = contextlib.ExitStack()

    # -- the run -----------------------------------------------------------------------------------

    def __enter__(self) -> World:
        self._stack.enter_context(under(self.disk, self.chance))
        self._stack.enter_context(mock.patch("sidecar.gate.job.Marketplace", self._marketplace))
        self._stack.callback(self.shelf.close)
        self._stack.enter_context(mock.patch.object(integrity, "check", Checks(self.disk)))
        self._stack.enter_context(mock.patch("sidecar.ledger.ledger.Writer", InlineWriter))
        self._stack.enter_context(mock.patch.object(volume, "written_lately", return_value=True))
        self._stack.enter_context(mock.patch.object(opening, "migrations", migrations))
        self._stack.enter_context(mock.patch.object(volume, "file_system", return_value="tmpfs"))
        self.next_workload()
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.disk.revive()
            if self.pod:
                self.disk.dead = True
                self.pod.kill()
        finally:
            self._stack.close()

    @property
    def age(self) -> timedelta:
        """Return how much time has passed in this world."""
        return self.clock.true.at - BEGIN

    def do(self, step: Step) -> None:
        """Do one step. Raises Violation."""
        self.chance.seed(step.seed)
        self.person = None
        try:
            getattr(happenings, step.kind)(self)
        except Down:
            pass
        except Crash:
            self._recover()
        self._end_pod()
        self.check()

    def _recover(self) -> None:
        """Start a container again that was killed, as often as it takes."""
        while True:
            self.crashes += 1
            if self.pod:
                self.pod.kill()
            self.pod = None
            self.disk.revive()
            self.check()
            self.person = None
            try:
                self.start()
            except Crash:
                continue
            return

    def _end_pod(self) -> None:
        if self.pod is not None and self.pod.ended:
            self.pod = None

    # -- time --------------------------------------------------------------------------------------

    def advance(self, seconds: float) -> None:
        """Let time pass, with everything that the loops do meanwhile."""
        end, starts = self.clock.seconds + seconds, self.starts
        self._end_pod()
        if self.pod:
            self.pod.quietly()
        while self.clock.seconds < end:
            self._end_pod()
            if self.pod is None:
                if self.starts - starts >= RESTARTS_MAX:
                    break
                self.clock.advance(self.chance.uniform(1, 60))
                self.start()
                continue
            at = self.pod.next_at()
            if at > end:
                break
            self.clock.advance(at - self.clock.seconds)
            self.aws.deliver()
            self.pod.run_next()
        self.clock.advance(end - self.clock.seconds)
        self.aws.deliver()

    # -- pods --------------------------------------------------------------------------------------

    def next_workload(self) -> None:
        """Name another pod."""
        self.pods += 1
        self.workload = f"pod-{self.pods}"

    def start(self) -> None:
        """Start the container of the workload that is metered now."""
        self.starts += 1
        self.grants_before = self.aws.grants[self.workload]
        self.pod = Pod(self.workload, self.configuration.env(), self.clock, self.disk, self.aws, self.chance)
        self.model.configure({one.name: one for one in self.pod.settings.dimensions})
        self.pod.start()

    def running(self) -> Pod:
        """Return the pod, started if it was down. Raises Down where it ends again at once."""
        self._end_pod()
        if self.pod is None:
            self.start()
            self._end_pod()  # SIGTERM may come while it starts, or AWS denies it
        if self.pod is None:
            raise Down
        return self.pod

    def _marketplace(self, **fields: Any) -> SimulatedMarketplace:
        return SimulatedMarketplace(**{**fields, "region": REGION}, aws=self.aws, workload=self.workload)

    # -- what is on disk ---------------------------------------------------------------------------

    def live(self) -> sqlite3.Connection | None:
        """Return the connection of the ledger that is open."""
        ledger = self.pod.ledger if self.pod and not self.pod.ended else None
        return ledger._writer._connection if ledger else None

    def books(self) -> list[Book]:
        """Return what every ledger on the volume holds."""
        connection, found = self.live(), []
        if connection is not None and self.pod is not None:
            found.append(read(connection, {one.name: one for one in self.pod.settings.dimensions}))
        path = volume.ledger_path(self.volume, self.workload) if connection is not None else None
        return [*found, *self.shelf.books(self.volume, self.clock.now(), path)]

    def connection(self, workload: str) -> sqlite3.Connection | None:
        """Return a connection to the ledger of a workload, if it is there, for reading it now."""
        live = self.live()
        path = volume.ledger_path(self.volume, workload)
        if live is not None and workload == self.workload:
            return live
        return self.shelf.connection(path, self.clock.now()) if path.exists() else None

    def open_from(self) -> Hour:
        """Return the first hour that takes usage."""
        connection = self.live()
        return sealing.open_from(connection) if connection is not None else Hour.at(self.clock.now())

    def _fault_of_unsealed(self, wire: Mapping[str, Any]) -> str:
        connection = self.live()
        if connection is None:
            return "no ledger is open"
        if connection.in_transaction:
            return "what seals it is not committed"
        key = key_of(self.workload, wire)
        record = records.find(connection, Hour.numbered(key[2]), key[1])
        if record is None or record.request is None:
            return f"no record of {invariants.named(key)}"
        if not record.interrupted:
            return f"{invariants.named(key)} is not marked as sending"
        return "" if record.request.as_wire(decimal_fields=True) == wire else f"{invariants.named(key)} is another one"

    # -- what must hold ----------------------------------------------------------------------------

    def check(self) -> None:
        """Raise Violation unless everything holds now."""
        rolls = self.configuration.rolls or (self.pod is not None and invariants.may_roll(self.pod))
        self.auditor.check(self.books(), self.finder, self.person, rolls)
        self.model.forget(self.clock.forward)
        if self.pod is not None and not self.pod.ended:
            invariants.check_gate(self.pod, self.aws, self.grants_before)

    def batch(self, events: Sequence[Any]) -> Batch:
        """Return a push of these events, as it is made now."""
        return Batch(self.workload, events, self.clock.now(), self.clock.forward, self.open_from())

    def dump(self) -> str:
        """Return where the world is, for who reads a failing seed."""
        return json.dumps(
            {
                "now": self.clock.now().isoformat(),
                "offset_seconds": self.clock.offset.total_seconds(),
                "weather": self.aws.weather,
                "disk": self.disk.fault,
                "workload": self.workload,
                "settings": {k: v for k, v in self.configuration.env().items() if k != "SIDECAR_PUBLIC_KEY"},
                "gate": self.pod.gate.state.status.value if self.pod else None,
            },
            indent=2,
        )
