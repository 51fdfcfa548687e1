"""Say what the SaaS service asks of its state, whichever database keeps it.

Invariants:
- What a method returns is committed. A failure of the database raises StoreError, and nothing of the call is kept.
- An event counts once for its customer and id, for at least 24 hours, whichever replica takes it.
- An event counts in exactly one hour: its own while that is open, else the first open one of its customer.
- accepted = settled + waiting, for each customer and dimension, at every instant.
- Only the leader seals, sends and keeps outcomes: the methods that do raise LeadershipLost once another replica has
  begun to lead, in the transaction that would have written.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import NamedTuple, Protocol

from sidecar.errors import SidecarError
from sidecar.metering.events import PushAccepted, PushRefused
from sidecar.metering.hours import Hour
from sidecar.metering.rollup import Owed
from sidecar.metering.states import State
from sidecar.saas.customers import Customer, CustomerKey, CustomerState, Reference
from sidecar.saas.records import CustomerBalance, CustomerDecision, CustomerEvent, CustomerRecord
from sidecar.settings.dimensions import Dimension

MakeRecord = Callable[[Customer, Dimension, Hour, Owed], CustomerRecord]
"""A function that makes the sealed record of an hour, with its request, region and the time it is due."""


class StoreError(SidecarError):
    """The database does not keep what it should. `hint` never holds a password."""


class LeadershipLost(StoreError):
    """Another replica leads: nothing was written, and nothing may be sent."""

    def __init__(self) -> None:
        super().__init__("leadership_lost", "Another replica seals and sends now; this one only takes usage.")


class StoreSummary(NamedTuple):
    """What status and metrics show."""

    open_from: Hour
    """The first hour that is not closed for every customer."""
    states: Mapping[State, int]
    """Records by state; a state without any is missing."""
    customers: Mapping[CustomerState, int]
    oldest_unsettled: Hour | None
    last_settled_at: datetime | None
    leading: bool
    """Whether this replica leads."""


class ExportPage(NamedTuple):
    """A page of the audit copy."""

    records: tuple[CustomerRecord, ...]
    balances: tuple[CustomerBalance, ...]
    """Those of the last page."""
    after: str
    """What the next page follows; empty behind the last one."""


class Store(Protocol):
    """The state of the service."""

    def keep_customer(self, customer: Customer) -> Customer:
        """Keep ResolveCustomer's answer; return the customer as it is kept, which may have been known already."""
        ...

    def customers(self, reference: Reference | None = None) -> tuple[Customer, ...]:
        """Return the customers that a reference could mean, or all; see `customers.chosen`."""
        ...

    def named(self, keys: Iterable[CustomerKey]) -> Mapping[CustomerKey, Customer]:
        """Return those of these customers that are known: no more than are needed, however many there are."""
        ...

    def leaving(self, since: datetime) -> tuple[Customer, ...]:
        """Return the customers whose last hours are not sealed yet, and those that ended after `since`."""
        ...

    def set_state(self, key: CustomerKey, state: CustomerState, at: datetime) -> Customer | None:
        """Keep what a notice says of a customer; None for an unknown one."""
        ...

    def accept(self, events: Sequence[CustomerEvent], now: datetime) -> PushAccepted | PushRefused:
        """Count the events of one request, all or nothing.

        Refusals are the ledger's, and 404 `customer_unknown` and 422 `customer_closed`.
        """
        ...

    def leader(self) -> AbstractContextManager[bool]:
        """Try to lead; True where this replica does, until the block ends or the database takes it away."""
        ...

    def seal(self, hour: Hour, now: datetime, make: MakeRecord) -> tuple[CustomerRecord, ...]:
        """Close every hour up to `hour` for all customers and seal them; return the new records. Leader only."""
        ...

    def seal_customer(self, key: CustomerKey, now: datetime, make: MakeRecord) -> tuple[CustomerRecord, ...]:
        """Close a customer and seal its hours, the running one included; return the new records. Leader only."""
        ...

    def due(self, now: datetime, limit: int = 1000) -> tuple[CustomerRecord, ...]:
        """Return sealed records whose time has come, oldest hour first.

        Not those that a replica which led before may still be sending. `usage.definite` is False where a request left
        and no outcome was kept.
        """
        ...

    def mark_sending(self, records: Sequence[CustomerRecord], now: datetime) -> None:
        """Note that these requests are about to leave. Leader only. Raises IllegalTransition for one not in force."""
        ...

    def save(self, decisions: Iterable[CustomerDecision], now: datetime) -> tuple[CustomerRecord, ...]:
        """Keep what outcomes mean, with their lines in the audit trail; roll forward what they say. Leader only.

        Return the records as they are kept now. Raises IllegalTransition for one that is final already.
        """
        ...

    def records(
        self, reference: Reference | None = None, limit: int = 10_000, states: Collection[State] = ()
    ) -> tuple[CustomerRecord, ...]:
        """Return records, newest hour first: open ones as they come to so far, then sealed ones.

        `states`: those alone; empty: all. `limit` counts after that.
        """
        ...

    def export(self, after: str = "", size: int | None = None) -> ExportPage:
        """Return a page of the audit copy: `size` records, oldest hour first; behind the last one the totals.

        `after`: that of the page before. Raises ValueError for any other text.
        """
        ...

    def report(self) -> tuple[CustomerBalance, ...]:
        """Return the balance of every customer and dimension that was ever counted."""
        ...

    def summary(self) -> StoreSummary:
        """Return what waits."""
        ...

    def close(self) -> None:
        """End what is under way and close the connections."""
        ...
