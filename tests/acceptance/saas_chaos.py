"""Replicas of the SaaS service that are killed at random while clients push and records are sent to AWS.

Invariants:
- Every choice comes from one seed; it waits for a count of pushes or of AWS's records, never for a time.
- A client sends the same events, with their ids, until they are acknowledged; so what is owed is known to the unit.
"""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import threading
from collections import Counter
from contextlib import suppress
from datetime import timedelta
from decimal import Decimal
from http.client import HTTPException
from pathlib import Path

from sidecar.emulator import Emulator
from sidecar.emulator.faults import Fault
from tests.acceptance.saas import Service
from tests.acceptance.support import eventually
from tests.postgresql import Server

DIMENSIONS = ("requests", "gb")
CUSTOMERS, CLIENTS, EVENTS = 30, 3, 10
FOLLOWED_SECONDS = 60.0
"""A killed leader is followed within a minute."""
ANSWERS = ("drop_after", "drop_after", "slow", "drop_before", "batch_unprocessed", "ThrottlingException")
SLOW_SECONDS = 0.5
UNHEARD = 0.2
"""Share of pushes whose answer the client does not hear: it sends them again, mostly to another replica."""
Slot = tuple[str, str]
"""License, dimension."""


def license_of(number: int) -> str:
    """Return the license of a customer."""
    return f"arn:aws:license-manager::294406891311:license:l-{number}"


class Replica(Service):
    """One replica, started again when it has ended."""

    def kill(self, *, worker_alone: bool = False) -> None:
        """End its worker with SIGKILL, and the process itself, as a container ends."""
        assert self.process is not None
        with suppress(ValueError, OSError):  # it has no worker yet
            os.kill(self.worker(), signal.SIGKILL)
        if not worker_alone:
            self.process.kill()
            self.process.wait()

    def running(self) -> bool:
        """Return whether it runs; start it where it does not."""
        if self.process is None or self.process.poll() is not None:
            self.start()
        return True

    def post_unheard(self, events: object) -> None:
        """Send a push, and close the connection before its answer."""
        body = json.dumps(events).encode()
        head = f"POST /v1/usage HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n\r\n"
        with socket.create_connection(("127.0.0.1", self.api_port), 5) as connection:
            connection.sendall(head.encode() + body)

    def leads(self) -> bool:
        """Return whether it leads; False where it does not answer."""
        try:
            return bool(self.ask("GET", "/v1/status")[1]["leads"])
        except (OSError, HTTPException, ValueError, KeyError):
            return False


class Client(threading.Thread):
    """Pushes random usage, each push until one replica has acknowledged it."""

    def __init__(self, number: int, seed: int, replicas: list[Replica], stop: threading.Event) -> None:
        super().__init__(name=f"client-{number}")
        self.choice = random.Random(f"{seed}/{number}")
        self.number, self.replicas, self.over = number, replicas, stop
        self.owed: Counter[Slot] = Counter()
        self.pushes = self.again = 0
        self.wrong: object = None

    def run(self) -> None:
        while not self.over.is_set() and self.wrong is None:
            events = [self._event(f"{self.number}-{self.pushes}-{n}") for n in range(EVENTS)]
            while not self._acknowledged(events):
                self.again += 1
                self.over.wait(0.05)
            for one in events:
                self.owed[one["customer"]["license_arn"], one["dimension"]] += one["quantity"]
            self.pushes += 1

    def _event(self, name: str) -> dict:
        customer = {"license_arn": license_of(self.choice.randrange(CUSTOMERS))}
        used = {"dimension": self.choice.choice(DIMENSIONS), "quantity": self.choice.randint(1, 9)}
        return {"customer": customer, **used, "id": name}

    def _acknowledged(self, events: list[dict]) -> bool:
        replica = self.choice.choice(self.replicas)
        try:
            if self.choice.random() < UNHEARD:
                replica.post_unheard(events)
                return False
            status, answer = replica.ask("POST", "/v1/usage", events)
        except (OSError, HTTPException, ValueError):
            return False
        if status not in (200, 503):
            self.wrong = status, answer
        return status != 503


class Chaos:
    """Some replicas on one state, their clients, and what happens to them."""

    def __init__(self, aws: Emulator, directory: Path, seed: int, count: int, server: Server | None) -> None:
        self.aws, self.server, self.choice = aws, server, random.Random(seed)
        url = {"SIDECAR_DATABASE_URL": server.url()} if server else {}
        self.replicas: list[Replica] = []
        for number in range(count):
            place = directory / str(number)
            place.mkdir()
            self.replicas.append(Replica(aws, place, **url))
        self.over = threading.Event()
        self.clients = [Client(number, seed, self.replicas, self.over) for number in range(CLIENTS)]
        self.kills: Counter[str] = Counter()

    def start(self) -> None:
        """Start everything, and make the customers known."""
        for one in self.replicas:
            one.start()
        eventually(self.leader, FOLLOWED_SECONDS)
        for number in range(CUSTOMERS):
            name = f"c{number}"
            self.aws.saas.define_customer(id=name, account=f"{number:012}", license=license_of(number))
            status, answer = self.leader_now().resolve(self.aws, name)
            assert status == 200, answer
        for client in self.clients:
            client.start()

    def end(self) -> None:
        """End everything."""
        self.over.set()
        for client in self.clients:
            client.join()
        for one in self.replicas:
            one.__exit__()

    def leader(self) -> Replica | None:
        """Return the replica that leads; what has ended is started again."""
        return next((one for one in self.replicas if one.running() and one.leads()), None)

    def leader_now(self) -> Replica:
        """Wait for a leader, for a minute at most."""
        return eventually(self.leader, FOLLOWED_SECONDS)

    def pushed(self, more: int) -> None:
        """Wait until clients have had some more pushes acknowledged."""
        wanted = self._pushes() + more

        def enough() -> bool:
            every = [one.running() for one in self.replicas]
            assert not self._wrong(), self._wrong()
            return all(every) and self._pushes() >= wanted

        eventually(enough, FOLLOWED_SECONDS)

    def hour(self) -> None:
        """Kill in the middle of an hour's pushes, then in the middle of its sending."""
        for _ in range(2):
            self.pushed(self.choice.randint(1, 15))
            self._kill_some()
        leader = self.leader_now()
        before = len(self.aws.saas.usage_records())
        for _ in range(self.choice.randint(1, 4)):
            self._lose_an_answer()
        self.aws.clock.set(now=self.aws.clock.now() + timedelta(hours=1))
        sent = before + self.choice.randint(1, CUSTOMERS)
        eventually(lambda: self.leader() is not None and len(self.aws.saas.usage_records()) >= sent, FOLLOWED_SECONDS)
        (self._stop_database if self.server and self.choice.random() < 0.4 else self._kill)(leader)
        self.leader_now()

    def settle(self) -> None:
        """Stop the clients and wait until every record is on AWS's bill."""
        self.over.set()
        for client in self.clients:
            eventually(lambda client=client: self.leader() is not None and not client.is_alive(), FOLLOWED_SECONDS)
        self.aws.faults.clear()
        self.aws.clock.set(now=self.aws.clock.now() + timedelta(hours=1))
        eventually(self._settled, 2 * FOLLOWED_SECONDS)

    def owed(self) -> dict[Slot, Decimal]:
        """Return what was acknowledged."""
        total = sum((client.owed for client in self.clients), Counter())
        return {slot: Decimal(quantity) for slot, quantity in total.items()}

    def billed(self) -> dict[Slot, Decimal]:
        """Return AWS's bill."""
        return {(line.license_arn, line.dimension): line.total for line in self.aws.saas.bill()}

    def _settled(self) -> bool:
        """Return whether all is settled; else move the clock on, since failed calls are repeated by it."""
        leader = self.leader_now()
        records = leader.ask("GET", "/v1/usage")[1]["records"]
        states = Counter(one["state"] for one in records)
        assert not states.keys() - {"open", "sealed", "settled"}, states
        if set(states) == {"settled"}:
            return True
        self.aws.clock.set(now=self.aws.clock.now() + timedelta(seconds=20))
        return False

    def _kill_some(self) -> None:
        if self.server and self.choice.random() < 0.3:
            self._stop_database()
        else:
            self._kill(self.choice.choice(self.replicas))

    def _kill(self, one: Replica) -> None:
        worker_alone = self.choice.random() < 0.3
        self.kills["worker" if worker_alone else "replica"] += 1
        one.kill(worker_alone=worker_alone)

    def _stop_database(self, _: Replica | None = None) -> None:
        assert self.server is not None
        self.kills["database"] += 1
        self.server.kill()
        self.server.start()

    def _lose_an_answer(self) -> None:
        kind = self.choice.choice(ANSWERS)
        self.aws.faults.add(
            Fault(operation="BatchMeterUsage", kind=kind, seconds=SLOW_SECONDS if kind == "slow" else 0)
        )

    def _pushes(self) -> int:
        return sum(client.pushes for client in self.clients)

    def _wrong(self) -> list[object]:
        return [client.wrong for client in self.clients if client.wrong is not None]
