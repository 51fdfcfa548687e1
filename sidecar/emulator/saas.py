"""Hold what this AWS knows of SaaS products: customers, registration tokens, records.

Elsewhere: the rules (`batch_meter_usage`, `resolve_customer`, `get_entitlements`), the commands as others write them
(`saas_control`).

Invariants:
- A registration token says nothing: what it stands for is kept here, and it is shown once, to who asked for it.
"""

from __future__ import annotations

import base64
import secrets
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from sidecar.clock import Clock
from sidecar.emulator.customers import Customer, Subscription, parse_customer
from sidecar.emulator.records import added, hour_of
from sidecar.emulator.refusals import BadCommand
from sidecar.emulator.saas_records import SaasBillLine, SaasRecord, SaasRecords

TOKEN_BYTES: Final = 48
LICENSE: Final = ""
"""In place of a product, where a license names the customer."""


@dataclass(kw_only=True)
class RegistrationToken:
    """What a registration token stands for."""

    customer_id: str
    seller: str | None
    """The account it can be resolved from; None for the default account."""
    made_at: datetime
    redeemed: int = 0


@dataclass(kw_only=True)
class SaasState:
    """Everything about SaaS products. Safe to share between threads."""

    lock: threading.RLock
    clock: Clock
    product_codes: Sequence[str]
    records: SaasRecords = field(default_factory=SaasRecords)
    _customers: dict[str, Customer] = field(default_factory=dict)
    _by_name: dict[tuple[str, str], str] = field(default_factory=dict)
    """License, or product and identifier → id."""
    _tokens: dict[str, RegistrationToken] = field(default_factory=dict, repr=False)

    def define_customer(self, **body: object) -> Customer:
        """Make a customer, or change the one with that id. Raises BadCommand."""
        with self.lock:
            present = self._customers.get(str(body.get("id")))
            made = parse_customer(body, present, self.product_codes, self.clock.now())
            for name in _names(made):
                holder = self._by_name.get(name, made.id)
                if holder != made.id:
                    field_name = "license" if name[0] == LICENSE else "identifier"
                    raise BadCommand(f"{field_name}: {name[1]} is customer {holder}'s")
            self._keep(made, present)
            return made

    def _keep(self, made: Customer, present: Customer | None) -> None:
        for name in _names(present):
            self._by_name.pop(name, None)
        self._by_name.update(dict.fromkeys(_names(made), made.id))
        self._customers[made.id] = made

    def set_state(self, customer_id: str, state: Subscription) -> Customer:
        """Change how far a subscription is. Raises BadCommand."""
        with self.lock:
            changed = self.customer(customer_id).in_state(state, self.clock.now())
            self._customers[customer_id] = changed
            return changed

    def customer(self, customer_id: str) -> Customer:
        """Return a customer by the emulator's name for it. Raises BadCommand."""
        with self.lock:
            if customer_id not in self._customers:
                raise BadCommand(f"customer: there is no {customer_id}")
            return self._customers[customer_id]

    def customers(self) -> list[Customer]:
        """Return every customer, in the order they were made."""
        with self.lock:
            return list(self._customers.values())

    def with_license(self, arn: str) -> Customer | None:
        """Return the customer of a license."""
        with self.lock:
            found = self._by_name.get((LICENSE, arn))
            return None if found is None else self._customers[found]

    def with_identifier(self, product_code: str, identifier: str) -> Customer | None:
        """Return the customer that has an identifier for a product."""
        with self.lock:
            found = self._by_name.get((product_code, identifier))
            return None if found is None else self._customers[found]

    def of_account(self, product_code: str, account: str) -> list[Customer]:
        """Return the customers of a product that an account is."""
        return [each for each in self.customers() if (each.product_code, each.account) == (product_code, account)]

    def make_token(self, customer_id: str, *, seller: str | None = None, age_seconds: float = 0.0) -> str:
        """Return a new registration token of a customer, which another `seller` may own. Raises BadCommand."""
        with self.lock:
            token = _token_text()
            made_at = self.clock.now() - timedelta(seconds=age_seconds)
            self._tokens[token] = RegistrationToken(
                customer_id=self.customer(customer_id).id, seller=seller, made_at=made_at
            )
            return token

    def token(self, text: str) -> RegistrationToken | None:
        """Return what a registration token stands for."""
        return self._tokens.get(text)

    def usage_records(self) -> list[SaasRecord]:
        """Return what has been metered, by region, product, account, license, dimension and hour."""
        with self.lock:
            return self.records.all()

    def bill(self) -> list[SaasBillLine]:
        """Return what has been metered, a line per region, product, account, license and dimension."""
        with self.lock:
            return self.records.bill()

    def billed(self, hour: datetime, *, license: str | None = None, account: str | None = None) -> dict[str, Decimal]:
        """Return the quantity on record for the hour of an instant, by dimension; of all unless one is named."""
        found: dict[str, list[Decimal]] = {}
        for record in self.usage_records():
            slot = record.slot
            fits = license in (None, slot.license_arn) and account in (None, slot.account)
            if fits and slot.hour == hour_of(hour):
                found.setdefault(slot.dimension, []).append(record.quantity)
        return {dimension: added(quantities) for dimension, quantities in found.items()}


def _names(customer: Customer | None) -> list[tuple[str, str]]:
    """Return what finds a customer at once."""
    if customer is None:
        return []
    by_license = [(LICENSE, customer.license_arn)] if customer.license_arn else []
    return by_license + ([(customer.product_code, customer.identifier)] if customer.identifier else [])


def _token_text() -> str:
    """Return a token with every kind of character that a form may lose: `+`, `/` and `=`."""
    return f"{base64.b64encode(secrets.token_bytes(TOKEN_BYTES)).decode()}+/=:_."


def in_order(customers: Iterable[Customer]) -> list[Customer]:
    """Return those that count first: not ended ones before ended ones, in the order they were made."""
    return sorted(customers, key=lambda each: each.state is Subscription.ENDED)
