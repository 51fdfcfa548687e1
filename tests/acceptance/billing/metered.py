"""A product that reports usage to a real sidecar, and keeps its own books: what was acknowledged must be billed."""

from __future__ import annotations

import http.client
import itertools
import json
import os
import random
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

from sidecar.emulator import Emulator
from sidecar.emulator.keys import SigningKeys
from sidecar.ledger.errors import LedgerError
from sidecar.ledger.ledger import Ledger
from sidecar.ledger.opening import Owner
from tests.acceptance.support import PRODUCT, Sidecar, eventually
from tests.fakes.config import settings as made_settings

DAY = datetime(2026, 1, 2, tzinfo=UTC)
SLOW = 40.0
"""Seconds for what needs several processes to start on a busy machine."""
SEALED_NOT_SENT = ":00:40"
"""Past an hour: every workload has sealed it by then (25 s), and none has sent it (60 s)."""


def at(words: str) -> datetime:
    """A time of the day all stories play on; `34:05` is in the morning of the next."""
    hours, minutes, *seconds = (int(part) for part in words.split(":"))
    return DAY + timedelta(hours=hours, minutes=minutes, seconds=seconds[0] if seconds else 0)


@contextmanager
def marketplace(keys: SigningKeys, start: str = "10:20", speed: float = 0.0, **more: Any) -> Iterator[Emulator]:
    """AWS with a clock of its own, which stands still until it is moved."""
    given: dict[str, Any] = {"product_codes": (PRODUCT,), "dimensions": ("requests",), "keys": keys} | more
    with Emulator(clock_start=at(start), clock_speed=speed, **given) as aws:
        try:
            yield aws
        finally:
            for sidecar in STARTED:
                sidecar.swept()
            STARTED.clear()


STARTED: list[Metered] = []
"""What a test that failed may have left running."""


class Metered(Sidecar):
    """A sidecar that meters `requests` by the emulator's clock, in a session of its own, like a container."""

    def __init__(self, aws: Emulator, directory: Path, **given: str | None) -> None:
        self.aws = aws
        more: dict[str, str | None] = {
            "SIDECAR_DIMENSIONS": "requests",
            "SIDECAR_CLOCK_URL": aws.url,
            "SIDECAR_FLUSH_SECONDS": "10",
        }
        super().__init__(aws, directory, **(more | given))

    def start(self, before: Any = ()) -> Metered:
        super().start([*before, "setsid"])
        STARTED.append(self)
        return self

    def __enter__(self) -> Metered:
        super().__enter__()
        return self

    def again(self, **given: str | None) -> Metered:
        """Another container of the same pod, on the same volume."""
        changed = {name: value for name, value in self.env.items() if name.startswith("SIDECAR_")}
        for name in ("SIDECAR_PROBE_BIND", "SIDECAR_API_BIND"):
            del changed[name]
        return Metered(self.aws, self.directory, POD_UID=self.pod, **(changed | given))

    # -- what is done to it

    def killed(self) -> None:
        """The whole container at once, as `kill -9` or the OOM killer does it."""
        assert self.process is not None
        known = self.processes()
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        eventually(lambda: not self.processes() and all(map(dead, known)))

    def swept(self) -> None:
        """End what is left of it, without a question."""
        if self.process and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def processes(self) -> list[int]:
        """Everything that still carries this pod in its environment."""
        found = []
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and f"POD_UID={self.pod}".encode() in (entry / "environ").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue
        return found

    def sender(self) -> int:
        """The short-lived child that talks to AWS. Raises ValueError while there is none."""
        assert self.process is not None
        rest = [pid for pid in self.processes() if pid not in (self.process.pid, self.worker())]
        if len(rest) != 1:
            raise ValueError(f"{rest} are neither master nor worker")
        return rest[0]

    # -- what it shows

    def listens(self) -> bool:
        """Whether SIGTERM would meet a handler, and not yet the end of an interpreter that only begins."""
        assert self.process is not None
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        caught = next(int(line.split()[1], 16) for line in lines if line.startswith("SigCgt"))
        return bool(caught >> (signal.SIGTERM - 1) & 1)

    def metering(self) -> dict[str, Any]:
        found = self.api("GET /v1/status")[1]["metering"]
        assert isinstance(found, dict)
        return found

    def takes_usage(self, seconds: float = SLOW) -> None:
        """Wait until the ledger is open."""
        eventually(lambda: self.metering()["ledger"]["path"] and self.metering()["passed_at"], seconds)

    def ready(self) -> Metered:
        self.shows("entitled", SLOW)
        self.takes_usage()
        return self

    def look(self) -> None:
        """Wait for a pass that began after this call: what was due by now is done, or was tried."""
        for _ in range(2):
            seen = self.passes()
            eventually(lambda seen=seen: self.passes() != seen, SLOW)  # type: ignore[misc]

    def passes(self) -> float:
        """Commits of the ledger: each pass makes some."""
        _, text = ask(self.probe_port, "GET", "/metrics")
        lines = [line for line in text.decode().splitlines() if line.startswith("entitlement_sidecar_ledger_commits_t")]
        return float(lines[0].split()[-1])

    def until_settled(self, seconds: float = SLOW) -> None:
        """Wait until nothing that was sealed waits for AWS, by the ledger itself and by the status of the last pass."""
        eventually(lambda: not self._sealed() and self.metering()["records"]["sealed"] == 0, seconds)

    def _sealed(self) -> list[dict[str, Any]]:
        status, body = self.api("GET /v1/usage")
        assert status == 200, body
        return [one for one in body["records"] if one["state"] == "sealed"]

    def until_sealed(self, hour: str) -> dict[str, Any]:
        """The event of an hour's sealing."""
        name = at(hour).strftime("%Y-%m-%dT%H:00:00.000Z")
        found = eventually(lambda: [one for one in self.events("hour.sealed") if one["hour"] == name], SLOW)
        return found[0]


class Product:
    """Reports usage, with an id each, and remembers what it was told."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self.acknowledged: dict[str, Decimal] = {}
        self.unanswered: dict[str, dict[str, object]] = {}

    @property
    def owed(self) -> Decimal:
        return sum(self.acknowledged.values(), Decimal(0))

    @property
    def doubtful(self) -> Decimal:
        """What was pushed without an answer: it may count or not."""
        return sum((Decimal(str(event["quantity"])) for event in self.unanswered.values()), Decimal(0))

    def named(self) -> str:
        """An id that was not used before."""
        with self._lock:
            return f"event-{next(self._numbers)}"

    def use(self, sidecar: Sidecar, quantity: int | str = 1, name: str | None = None, **more: object) -> int:
        """One push; its status, 0 where there was no answer."""
        name = name or self.named()
        event = {"dimension": "requests", "quantity": quantity, "id": name, **more}
        try:
            status, _ = ask(sidecar.api_port, "POST", "/v1/usage", event)
        except (OSError, http.client.HTTPException):
            status = 0
        with self._lock:
            if status == 200:
                self.acknowledged[name] = Decimal(str(quantity))
                self.unanswered.pop(name, None)
            else:
                self.unanswered[name] = event
        return status

    def used(self, sidecar: Sidecar, quantity: int = 1) -> None:
        """One push that is taken."""
        assert self.use(sidecar, quantity) == 200

    def send_again(self, sidecar: Sidecar) -> None:
        """Everything that was not acknowledged, with the ids it had."""
        for event in list(self.unanswered.values()):
            eventually(partial(self._taken, sidecar, event))

    def _taken(self, sidecar: Sidecar, event: dict[str, object]) -> bool:
        more = {key: value for key, value in event.items() if key not in ("dimension", "quantity", "id")}
        return self.use(sidecar, str(event["quantity"]), str(event["id"]), **more) == 200

    @contextmanager
    def busy(
        self, sidecar: Callable[[], Sidecar], seed: int = 0, clients: int = 3, teams: bool = False
    ) -> Iterator[None]:
        """Several clients while this lasts, each with one event at a time, sent until it is acknowledged.

        With `teams` quantities have decimals, down to what no record can hold, and each client its own tag.
        """
        over = threading.Event()

        def run(number: int) -> None:
            chance = random.Random(f"{seed}-{number}")
            while not over.is_set():
                name, quantity = self.named(), str(chance.randint(1, 9))
                if teams:
                    quantity = f"{Decimal(chance.randint(1, 9_999_999)) / 1_000_000:f}"
                more = {"tags": {"team": f"team-{number}"}} if teams else {}
                while self.use(sidecar(), quantity, name, **more) != 200 and not over.wait(0.05):
                    pass
                over.wait(chance.uniform(0.005, 0.03))

        threads = [threading.Thread(target=run, args=(number,)) for number in range(clients)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            over.set()
            for thread in threads:
                thread.join()


def dead(pid: int) -> bool:
    """Whether a process has let go of its files and locks; its environment is gone a little before them."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def ask(port: int, method: str, path: str, body: object = None) -> tuple[int, bytes]:
    """One request on a connection of its own; status and body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path, None if body is None else json.dumps(body))
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def problem(sidecar: Sidecar, quantity: int = 1) -> tuple[int, str]:
    """Status and reason of a push that is refused."""
    event = {"dimension": "requests", "quantity": quantity}
    status, body = ask(sidecar.api_port, "POST", "/v1/usage", event)
    return status, json.loads(body).get("reason", "")


def billed(aws: Emulator) -> Decimal:
    return sum((line.total for line in aws.bill()), Decimal(0))


def hours(aws: Emulator, workload: str | None = None) -> dict[str, int]:
    """What each hour came to: {"10": 12}."""
    found: dict[str, int] = {}
    for record in aws.usage_records():
        if workload in (None, record.slot.workload):
            name = f"{int((record.slot.hour - DAY).total_seconds()) // 3600:02d}"
            found[name] = found.get(name, 0) + int(record.quantity)
    return dict(sorted(found.items()))


@contextmanager
def books(sidecar: Sidecar) -> Iterator[Ledger]:
    """The ledger of a workload that has ended."""
    owner = Owner(workload=sidecar.pod, product_code=PRODUCT, region="us-east-1")
    dimensions = made_settings(dimensions=sidecar.env["SIDECAR_DIMENSIONS"]).dimensions

    def opened() -> Ledger | None:
        try:
            return Ledger.open(Path(sidecar.env["SIDECAR_STATE_DIR"]), owner, dimensions, at("10:20"))
        except LedgerError as exc:
            if exc.reason != "ledger_locked":
                raise
            return None  # a process that was killed is still letting go

    ledger = eventually(opened)
    assert ledger is not None
    try:
        yield ledger
    finally:
        ledger.close()


def waiting(sidecar: Sidecar) -> Decimal:
    """What the ledger of a workload that has ended still holds; its books must balance."""
    with books(sidecar) as ledger:
        balances = ledger.balances()
        assert all(one.balanced for one in balances), balances
        return sum((one.waiting for one in balances), Decimal(0))


def none_too_early(aws: Emulator) -> bool:
    """Whether no record was stamped later than AWS took it, and each in its hour."""
    return all(
        one.timestamp <= one.at and one.slot.hour <= one.timestamp < one.slot.hour + timedelta(hours=1)
        for one in aws.usage_records()
    )


def refused_as_other(aws: Emulator) -> list[str]:
    """Answers that say that a repeat was not the same as what was sent first."""
    wrong = ("DuplicateRequestException", "IdempotencyConflictException")
    return [call.answer for call in aws.calls() if call.answer in wrong]


SLUGGISH = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>
static void drag(void) {
    const char *flag = getenv("DRAG_FILE"), *micros = getenv("DRAG_MICROS");
    while (flag && access(flag, F_OK) == 0) { usleep(micros ? atoi(micros) : 10000); if (micros) return; }
}
int fsync(int fd) { drag(); return ((int (*)(int))dlsym(RTLD_NEXT, "fsync"))(fd); }
int fdatasync(int fd) { drag(); return ((int (*)(int))dlsym(RTLD_NEXT, "fdatasync"))(fd); }
"""
"""A disk that takes DRAG_MICROS for every fsync while DRAG_FILE exists; without DRAG_MICROS it hangs until then."""
