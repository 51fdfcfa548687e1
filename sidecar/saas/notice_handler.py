"""Apply notices to the customers that are kept.

Invariants:
- A notice is done once its change is committed: it may be deleted then, and has to be delivered again otherwise.
- A notice about a product that is not ours, or a customer that was never resolved, changes nothing and is logged.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Sequence
from datetime import datetime

from sidecar import log
from sidecar.clock import iso
from sidecar.saas import notices
from sidecar.saas.customers import CustomerKey, CustomerState
from sidecar.saas.log_events import customer_fields
from sidecar.saas.notices import Kind, Notice
from sidecar.saas.store import Store


class NoticeHandler:
    """Applies notices. Any thread may call it."""

    def __init__(self, store: Store, products: Collection[str]) -> None:
        self._store, self._products = store, products
        self._guard = threading.Lock()
        self._active_again: set[CustomerKey] = set()

    def handle(self, text: str, now: datetime) -> Sequence[tuple[CustomerKey, CustomerState]]:
        """Apply one notice; return each customer that changed, and its state. Raises NotANotice and StoreError."""
        return self.apply(notices.read(text), now)

    def apply(self, notice: Notice, now: datetime) -> Sequence[tuple[CustomerKey, CustomerState]]:
        """Apply one notice that was read. Raises StoreError."""
        if notice.product_code and notice.product_code not in self._products:
            log.event("notice.ignored", action=notice.action, product_code=notice.product_code, reason="other_product")
            return ()
        found = notices.customers_of(notice, self._store.customers())
        if not found:
            log.event("notice.ignored", action=notice.action, reason="customer_not_resolved")
        at = min(notice.at or now, now)
        changed = []
        for customer in found:
            state = notices.next_state(notice, customer, at)
            if notice.kind is Kind.ACTIVE:
                with self._guard:
                    self._active_again.add(customer.key)
            if state is not None:
                self._store.set_state(customer.key, state, at)
                if state is not customer.state:
                    changed.append((customer.key, state))
            log.event(
                "notice.applied",
                action=notice.action,
                at=iso(at),
                state=(state or customer.state).value,
                changed=state not in (None, customer.state),
                **customer_fields(customer.key),
            )
        return changed

    def take_active_again(self) -> frozenset[CustomerKey]:
        """Return the customers that a notice has called active since the last call."""
        with self._guard:
            found, self._active_again = frozenset(self._active_again), set()
        return found
