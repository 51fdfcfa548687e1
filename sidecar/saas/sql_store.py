"""Keep the SaaS service's state in SQLite or PostgreSQL, by one implementation of `store.Store`.

Invariants:
- Each method is one transaction, or several of which each leaves everything balanced.
- What the leader alone may do checks in its own transaction that it still leads.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from functools import partial
from typing import Final, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from sidecar.clock import SystemClock
from sidecar.metering.events import PushAccepted, PushRefused, UsageEvent
from sidecar.metering.hours import Hour
from sidecar.metering.push_group import PushResult
from sidecar.metering.quantities import MICROS_PER_UNIT
from sidecar.metering.states import State
from sidecar.quick_dataclasses import replace
from sidecar.saas import balance, customer_rows, export_pages, migrating, pruning, pushes, record_rows, sealing
from sidecar.saas.bounds import TooMany
from sidecar.saas.customers import Customer, CustomerKey, CustomerState, Reference, in_state
from sidecar.saas.database import TRIES, Database, out_of_range, store_error
from sidecar.saas.leadership import Leadership
from sidecar.saas.push_writer import PushWriter
from sidecar.saas.pushes import Aggregations, CustomerPush
from sidecar.saas.records import CustomerBalance, CustomerDecision, CustomerEvent, CustomerRecord
from sidecar.saas.store import ExportPage, MakeRecord, StoreError, StoreSummary
from sidecar.settings.dimensions import Dimension

T = TypeVar("T")
SUM_MAX: Final = 2**63 - 1
"""Micros that one hour, dimension and tag set of a customer can hold."""


class SqlStore:
    """The state of one replica's service."""

    def __init__(self, database: Database, dimensions: Sequence[Dimension]) -> None:
        """Take a database that `open_store` has prepared."""
        self.database = database
        self._dimensions: Mapping[str, Dimension] = {one.name: one for one in dimensions}
        self._aggregations = Aggregations(self._dimensions)
        self._leadership = Leadership(database)
        self._numbers: dict[CustomerKey, int] = {}
        self._writer: PushWriter[tuple[CustomerPush, datetime], PushResult] = PushWriter(self._commit)

    def keep_customer(self, customer: Customer) -> Customer:
        """See `Store.keep_customer`."""
        return self.database.run(lambda connection: customer_rows.keep(connection, customer))

    def customers(self, reference: Reference | None = None) -> tuple[Customer, ...]:
        """See `Store.customers`."""
        return self.database.read(lambda connection: customer_rows.find(connection, reference))

    def named(self, keys: Iterable[CustomerKey]) -> Mapping[CustomerKey, Customer]:
        """See `Store.named`."""
        return self.database.read(lambda connection: customer_rows.named(connection, keys))

    def leaving(self, since: datetime) -> tuple[Customer, ...]:
        """See `Store.leaving`."""
        return self.database.read(lambda connection: customer_rows.leaving(connection, since))

    def set_state(self, key: CustomerKey, state: CustomerState, at: datetime) -> Customer | None:
        """See `Store.set_state`."""

        def work(connection: Connection) -> Customer | None:
            pushes.close_intake(connection)
            found = customer_rows.by_key(connection, key, lock=True)
            if found is None:
                return None
            kept = in_state(found[1], state, at)
            customer_rows.save(connection, found[0], kept)
            return kept

        return self.database.run(work)

    def accept(self, events: Sequence[CustomerEvent], now: datetime) -> PushAccepted | PushRefused:
        """See `Store.accept`. What the database cannot keep is refused with 503 and its reason."""
        try:
            numbered = self._numbered(events)
            if isinstance(numbered, PushRefused):
                return numbered
            result = self._writer.push((pushes.customer_push(numbered, now), now))
        except StoreError as exc:
            return PushRefused(status=503, reason=exc.reason, detail=exc.hint)
        return result or PushRefused(status=503, reason="shutting_down", detail="The service is shutting down.")

    def leader(self) -> AbstractContextManager[bool]:
        """See `Store.leader`."""
        return self._leadership.leading(SystemClock().now())

    def seal(self, hour: Hour, now: datetime, make: MakeRecord) -> tuple[CustomerRecord, ...]:
        """See `Store.seal`."""
        self._lead(lambda connection: sealing.close(connection, hour))
        records = self._seal_hours(hour, now, make)
        while self._lead(lambda connection: pruning.prune(connection, now)):
            pass
        return records

    def seal_customer(self, key: CustomerKey, now: datetime, make: MakeRecord) -> tuple[CustomerRecord, ...]:
        """See `Store.seal_customer`."""
        hour = Hour.at(now)

        def close(connection: Connection) -> int:
            pushes.close_intake(connection)
            found = customer_rows.by_key(connection, key, lock=True)
            if found is None:
                raise KeyError(key.text)
            number, customer = found
            closed = replace(customer, closed_at=customer.closed_at or now)
            customer_rows.save(connection, number, closed, open_from=hour.number + 1)
            return number

        return self._seal_hours(hour, now, make, self._lead(close))

    def due(self, now: datetime, limit: int = 1000) -> tuple[CustomerRecord, ...]:
        """See `Store.due`."""
        epoch = self._leadership.epoch
        return self.database.read(lambda connection: record_rows.due(connection, now, limit, epoch))

    def mark_sending(self, records: Sequence[CustomerRecord], now: datetime) -> None:
        """See `Store.mark_sending`."""

        def work(connection: Connection) -> None:
            record_rows.mark_sending(connection, records, now, self._leadership.check(connection))

        self.database.run(work)

    def save(self, decisions: Iterable[CustomerDecision], now: datetime) -> tuple[CustomerRecord, ...]:
        """See `Store.save`."""
        every = tuple(decisions)
        return self._lead(lambda connection: tuple(record_rows.save(connection, one, now) for one in every))

    def records(
        self, reference: Reference | None = None, limit: int = 10_000, states: Collection[State] = ()
    ) -> tuple[CustomerRecord, ...]:
        """See `Store.records`."""

        def work(connection: Connection) -> tuple[CustomerRecord, ...]:
            shows_open = not states or State.OPEN in states
            opened = balance.open_records(connection, self._dimensions) if shows_open else ()
            if reference is None:
                return (*opened, *record_rows.newest(connection, None, limit, states))[:limit]
            keys = [one.key for one in customer_rows.find(connection, reference)]
            numbers = customer_rows.numbers(connection, keys)
            mine = [one for one in opened if one.customer in numbers]
            return (*mine, *record_rows.newest(connection, numbers.values(), limit, states))[:limit]

        return self.database.read(work)

    def export(self, after: str = "", size: int | None = None) -> ExportPage:
        """See `Store.export`."""
        place = export_pages.place_of(after)
        return self.database.read(
            lambda connection: export_pages.page(connection, self._dimensions, place, size or export_pages.PAGE)
        )

    def report(self) -> tuple[CustomerBalance, ...]:
        """See `Store.report`."""
        return self.database.read(lambda connection: balance.balances(connection, self._dimensions))

    def summary(self) -> StoreSummary:
        """See `Store.summary`."""
        leading = self._leadership.epoch is not None
        return self.database.read(lambda connection: balance.summary(connection, leading))

    def close(self) -> None:
        """See `Store.close`."""
        self._writer.stop()
        self.database.close()

    def _lead(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in a transaction in which no other replica begins to lead. Raises LeadershipLost."""

        def checked(connection: Connection) -> T:
            self._leadership.check(connection)
            return work(connection)

        return self.database.run(checked)

    def _seal_hours(
        self, hour: Hour, now: datetime, make: MakeRecord, number: int | None = None
    ) -> tuple[CustomerRecord, ...]:
        """Seal closed hours up to `hour`, oldest first; of one customer, or of all."""
        wanted = self.database.read(lambda connection: sealing.hours_with_usage(connection, hour, number))
        records: list[CustomerRecord] = []
        for one in sorted({*wanted, hour}):
            slots = self._slots(one, one == hour, number)
            for at in range(0, len(slots), sealing.PAGE):
                last = number is not None and one == hour
                page = sealing.Page(hour=one, slots=slots[at : at + sealing.PAGE], last=last)
                seal = partial(sealing.seal_page, page=page, dimensions=self._dimensions, make=make, now=now)
                records += self._lead(seal)
        return tuple(records)

    def _slots(self, hour: Hour, newest: bool, number: int | None) -> list[sealing.Slot]:
        dimensions = self._dimensions
        return self.database.read(
            lambda connection: sealing.slots(connection, hour, dimensions, newest=newest, number=number)
        )

    def _numbered(self, events: Sequence[CustomerEvent]) -> list[tuple[int, UsageEvent]] | PushRefused:
        """Return each event with its customer's number, which never changes; a refusal for an unknown customer."""
        missing = sorted({one.customer for one in events} - self._numbers.keys())
        if missing:
            self._numbers |= self.database.read(lambda connection: customer_rows.numbers(connection, missing))
        for index, one in enumerate(events):
            if one.customer not in self._numbers:
                rule = "the customer is unknown; send its token to /v1/customers/resolve first."
                return PushRefused(status=404, reason="customer_unknown", detail=f"Event {index}: {rule}", index=index)
        return [(self._numbers[one.customer], one.event) for one in events]

    def _commit(self, group: Sequence[tuple[CustomerPush, datetime]]) -> Sequence[PushResult]:
        """Commit a group; where a number leaves 64 bits, each request alone, so that only its own is refused."""
        requests = [one for one, _ in group]
        now = max(at for _, at in group)
        try:
            return self._count(requests, now)
        except (StoreError, OverflowError) as exc:
            if not _left_64_bits(exc):
                raise
        if len(group) > 1:
            return [result for one in group for result in self._commit([one])]
        index = self._first_beyond(requests[0], now)
        rule = f"quantity takes the hour's sum above {SUM_MAX // MICROS_PER_UNIT}."
        detail = f"Event {index}: {rule}"
        return [PushRefused(status=422, reason="quantity_out_of_range", detail=detail, index=index)]

    def _count(self, requests: Sequence[CustomerPush], now: datetime) -> Sequence[PushResult]:
        """Commit a group; where an hour would have too much, only the requests that have room. Raises StoreError."""
        for tries in range(TRIES):
            count = partial(
                pushes.count, requests=requests, aggregations=self._aggregations, now=now, by_room=tries > 0
            )
            try:
                return self.database.run(count)
            except TooMany:
                continue  # at first nothing was judged by room; later another replica took the last of it meanwhile
        raise store_error("database_busy", f"{self.database.name}:")

    def _first_beyond(self, request: CustomerPush, now: datetime) -> int:
        """Return the event at which a sum leaves 64 bits, by halving: only a push that is refused pays for it."""
        low, high = 0, len(request.events) - 1
        while low < high:
            middle = (low + high) // 2
            fits = self._fits(CustomerPush(request.events[: middle + 1]), now)
            low, high = (middle + 1, high) if fits else (low, middle)
        return low

    def _fits(self, request: CustomerPush, now: datetime) -> bool:
        """Return whether the sums of a request stay in 64 bits. Nothing is kept of it."""

        def tried(connection: Connection) -> None:
            pushes.count(connection, [request], self._aggregations, now)
            raise _Fits

        try:
            self.database.run(tried)
        except (_Fits, TooMany):  # too many are found once the sums are written
            return True
        except (StoreError, OverflowError) as exc:
            if not _left_64_bits(exc):
                raise
        return False


class _Fits(Exception):
    """Rolls back what was only tried."""


def _left_64_bits(exc: StoreError | OverflowError) -> bool:
    """Return whether a number left 64 bits: SQLite's driver says so itself, before the database sees the number."""
    if isinstance(exc, OverflowError):
        return True
    return isinstance(exc.__cause__, DBAPIError) and out_of_range(exc.__cause__)


def open_store(url: str, dimensions: Sequence[Dimension], now: datetime) -> SqlStore:
    """Connect to a database, bring it to this version's schema, and return the state in it. Raises StoreError."""
    database = Database(url)
    try:
        migrating.migrate(database)
        database.run(lambda connection: sealing.begin(connection, now))
    except BaseException:
        database.close()
        raise
    return SqlStore(database, dimensions)
