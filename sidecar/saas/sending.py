"""Seal closed hours and send what is due, as the one replica that leads.

When to pack, halve and match: `batches`. What an answer means: `decisions`. What is kept: `store`.

Invariants:
- An hour is sealed within a minute of its end, and sent at once, oldest first, at most ten calls a second.
- A request is marked as sending in the store before it leaves, and every resend is identical.
- A customer whose subscription ends is sealed, with the running hour, while AWS still takes its records: within the
  hour after the notice, or at once where the subscription has ended.
- Where a whole call is held for what every call meets (no route, no credentials, throttling), this pass sends no more;
  the next tries again. Where it is about its product or region alone, the others are sent, and what else is due of it
  is held with it, so that it never fills the pages of what is due.
- Losing the lead stops everything here: the store raises LeadershipLost before it writes.

Sources: AWS Marketplace API Reference, BatchMeterUsage; seller guide, SaaS notifications (the last hour).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, Protocol

from sidecar.metering.batch_call import Answered, BatchRequest
from sidecar.metering.batch_dispositions import Concern, classify, concerns, isolates
from sidecar.metering.decide import Decision
from sidecar.metering.hours import Hour
from sidecar.metering.outcomes import Outcome, Refused, Unknown
from sidecar.metering.records import sent_again
from sidecar.metering.rollup import Owed
from sidecar.metering.sealed_request import QuantityKind, Repair, fits_integer
from sidecar.metering.states import Disposition, State
from sidecar.saas import batches
from sidecar.saas.batches import Batch
from sidecar.saas.customers import Customer, CustomerKey, CustomerState, last_seal_at
from sidecar.saas.decisions import Rules, decide, decide_if_late
from sidecar.saas.log_events import SaasEvents
from sidecar.saas.records import CustomerDecision, CustomerRecord, sealed_record, too_late
from sidecar.saas.store import Store
from sidecar.settings import Dimension, QuantityField

SEAL_AFTER: Final = timedelta(seconds=10)
"""Replicas' clocks differ a little, and a push may be under way."""
ROUNDS_MAX: Final = 50
DUE_MAX: Final = 500
FLUSH_AFTER_END: Final = timedelta(hours=2)
"""How long after a subscription's end its hours are still sealed at once; later hours are sealed as every other."""
NOT_SUBSCRIBED: Final = "CustomerNotSubscribed"
Customers = Mapping[CustomerKey, Customer]
AGAIN: Final = ("active_again", "The customer's subscription is active: the record is sent again.")


class Sent(Protocol):
    """What `marketplace.batch_meter_usage.Batched` has."""

    @property
    def outcome(self) -> Answered | Refused | Unknown: ...

    @property
    def request_id(self) -> str: ...


class Caller(Protocol):
    """Calls BatchMeterUsage."""

    def send(self, region: str, request: BatchRequest) -> Sent:
        """Send one batch in one region. Raises nothing."""

    def refresh(self, region: str) -> None:
        """Have the next call in a region use fresh credentials."""


class Pacing(Protocol):
    """Spaces the calls."""

    def wait(self) -> None:
        """Return once the next call may leave."""


class Sender:
    """Seals and sends. Its methods belong to the thread that leads; they raise StoreError and LeadershipLost."""

    def __init__(
        self,
        store: Store,
        caller: Caller,
        pace: Pacing,
        events: SaasEvents,
        *,
        region: str,
        quantity_field: QuantityField,
        roll_forward_disputed: bool,
        chance: Callable[[], float],
    ) -> None:
        """`region` is for hours that are sealed from now on. `chance` returns a number in [0, 1), new each time."""
        self._store, self._caller, self._pace, self._events = store, caller, pace, events
        self._region, self._field, self._chance = region, quantity_field, chance
        self._roll_forward_disputed = roll_forward_disputed
        self._sealed: Hour | None = None
        self._flushed: set[tuple[CustomerKey, datetime]] = set()
        """Customers whose end was flushed, and since when they are ended."""
        self._decimals_refused = False

    def run(self, now: datetime, stopping: Callable[[], bool] = lambda: False) -> None:
        """Run one pass."""
        self.seal_closed(now)
        self.seal_ending(now)
        self.send_due(now, stopping)

    # -- sealing

    def seal_closed(self, now: datetime) -> None:
        """Seal every hour that has closed."""
        hour = Hour.at(now).previous
        if now < hour.end + SEAL_AFTER:
            hour = hour.previous
        if self._sealed is None or self._sealed < hour:
            self._events.sealed(self._store.seal(hour, now, self._recorder(now)))
            self._sealed = hour

    def seal_ending(self, now: datetime) -> None:
        """Seal the customers whose last records are due."""
        for customer in self._store.leaving(now - FLUSH_AFTER_END):
            if self._ends(customer, now):
                self._events.sealed(self._store.seal_customer(customer.key, now, self._recorder(now)))
                self._flushed.add((customer.key, customer.state_since))

    def _ends(self, customer: Customer, now: datetime) -> bool:
        if (customer.key, customer.state_since) in self._flushed:
            return False
        at = last_seal_at(customer)
        if at is not None:
            return now >= at
        return customer.state is CustomerState.ENDED and now < customer.state_since + FLUSH_AFTER_END

    def _recorder(self, now: datetime) -> Callable[[Customer, Dimension, Hour, Owed], CustomerRecord]:
        def record(customer: Customer, dimension: Dimension, hour: Hour, owed: Owed) -> CustomerRecord:
            return sealed_record(
                customer.key, dimension, hour, owed, region=self._region, now=now, kind=self._kind(owed)
            )

        return record

    def _kind(self, owed: Owed) -> QuantityKind:
        if self._field is QuantityField.INTEGER:
            return QuantityKind.INTEGER
        whole = all(map(fits_integer, (owed.quantity, *(one.quantity for one in owed.allocations))))
        return QuantityKind.INTEGER if self._decimals_refused and whole else QuantityKind.DECIMAL

    # -- sending

    def send_due(self, now: datetime, stopping: Callable[[], bool]) -> None:
        """Send what is due, oldest first."""
        held: dict[tuple[str, str | None], Refused | Unknown] = {}
        for _ in range(ROUNDS_MAX):
            due = self._store.due(now, DUE_MAX)
            if not due:
                return
            customers = self._store.named(one.customer for one in due)
            late = [one for one in due if too_late(one.usage.hour, now)]
            self._save_late(late, now, customers)
            packed = batches.pack((one for one in due if one not in late), _product_of(customers))
            self._save(packed.refused, now, customers)
            for batch in packed.batches:
                if stopping():
                    return
                known = held.get((batch.region, batch.product_code)) or held.get((batch.region, None))
                if known:
                    self._release([batch], now, customers, known)
                    continue
                outcome = self._send(batch, now, customers)
                if outcome is None:
                    continue
                concern = concerns(outcome.code)
                if concern is Concern.EVERYTHING:
                    return
                held[batch.region, batch.product_code if concern is Concern.PRODUCT else None] = outcome

    def _send(self, batch: Batch, now: datetime, customers: Customers) -> Refused | Unknown | None:
        """Send a batch, halved as often as its refusals want. Return why the call is held, where it is."""
        waiting = [batch]
        while waiting:
            part = waiting.pop()
            self._pace.wait()
            self._store.mark_sending(part.records, now)
            sent = self._caller.send(part.region, part.request())
            outcome = sent.outcome
            if isinstance(outcome, Answered):
                self._save(batches.outcomes(part, outcome), now, customers, sent.request_id)
                continue
            message = outcome.message if isinstance(outcome, Refused) else ""
            halves = part.halves() if isinstance(outcome, Refused) and isolates(outcome.code, message) else ()
            if halves:
                self._events.halved(len(part.records), outcome.code)
                waiting.extend(reversed(halves))
                continue
            self._save([(one, outcome) for one in part.records], now, customers, sent.request_id)
            row = classify(outcome.code, message)
            if row.once_more:
                self._caller.refresh(part.region)
            if row.disposition is Disposition.HOLD and not isolates(outcome.code, message):
                self._release(waiting, now, customers, outcome)
                return outcome
        return None

    def _release(
        self,
        waiting: Sequence[Batch],
        now: datetime,
        customers: Customers,
        outcome: Refused | Unknown,
    ) -> None:
        """Hold what would meet the answer of another call, and was not sent in this pass: certainly not billed."""
        held = Refused(code=outcome.code, sent=False)
        self._save([(one, held) for part in waiting for one in part.records], now, customers)

    def _save(
        self,
        found: Iterable[tuple[CustomerRecord, Outcome]],
        now: datetime,
        customers: Customers,
        request_id: str = "",
    ) -> None:
        decisions = [
            decide(record, outcome, now, self._rules(customers.get(record.customer)), self._chance())
            for record, outcome in found
        ]
        self._keep(decisions, now, request_id)

    def _save_late(self, late: Iterable[CustomerRecord], now: datetime, customers: Customers) -> None:
        found = (decide_if_late(one, now, self._rules(customers.get(one.customer))) for one in late)
        self._keep([one for one in found if one is not None], now)

    def _keep(self, decisions: Sequence[CustomerDecision], now: datetime, request_id: str = "") -> None:
        if not decisions:
            return
        self._store.save(decisions, now)
        for record, decision in decisions:
            self._events.decided(record, decision, request_id)
            settled = decision.record.state is State.SETTLED
            if settled and decision.record.repairs[-1:] == (Repair.INTEGER_FIELD,):
                self._decimals_refused = self._field is QuantityField.AUTO

    def _rules(self, customer: Customer | None) -> Rules:
        without = {Repair.INTEGER_FIELD} if self._field is QuantityField.DECIMAL else set()
        return Rules(
            roll_forward_disputed=self._roll_forward_disputed,
            repairs=frozenset(Repair) - without,
            closed=customer is not None and customer.closed_at is not None,
        )

    # -- after a notice

    def send_again(self, records: Iterable[CustomerRecord], now: datetime) -> None:
        """Send the records again that AWS refused since their customer was not subscribed: it is now."""
        reason, hint = AGAIN
        decisions = [
            CustomerDecision(
                one,
                Decision(
                    record=sent_again(one.usage, now),
                    disposition=Disposition.HOLD,
                    code=reason,
                    reason=reason,
                    hint=hint,
                ),
            )
            for one in records
            if one.usage.state is State.REJECTED
            and one.usage.last_error == NOT_SUBSCRIBED
            and not too_late(one.usage.hour, now)
        ]
        self._keep(decisions, now)


def _product_of(customers: Customers) -> Callable[[CustomerKey], str]:
    def product(key: CustomerKey) -> str:
        return customers[key].product_code if key in customers else ""

    return product
