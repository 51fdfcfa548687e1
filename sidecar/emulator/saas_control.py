"""Parse the commands about SaaS customers: `customers`, `subscription`, `registration-token`.

Invariants:
- As in `control`: a body is read whole before anything changes.
- A customer is named by its id, which its definition gives or gets.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from sidecar.emulator import control_fields as read
from sidecar.emulator.customers import Subscription, parse_customer
from sidecar.emulator.refusals import BadCommand
from sidecar.emulator.state import EmulatorState

Answer = Mapping[str, object]
Command = Callable[[], Answer]
Verb = Callable[[EmulatorState, Mapping[str, object]], Command]


def _customers(emulated: EmulatorState, body: Mapping[str, object]) -> Command:
    known = {each.id: each for each in emulated.saas.customers()}
    present = known.get(str(body.get("id")))
    parse_customer(body, present, emulated.product_codes, emulated.clock.now())  # for its errors only
    return lambda: emulated.saas.define_customer(**body).as_json()


def _subscription(emulated: EmulatorState, body: Mapping[str, object]) -> Command:
    read.only(body, {"customer", "state"})
    customer, state = _named(body), read.choice(body, "state", Subscription)
    if state is None:
        raise BadCommand("state: is required")
    return lambda: emulated.saas.set_state(customer, state).as_json()


def _registration_token(emulated: EmulatorState, body: Mapping[str, object]) -> Command:
    read.only(body, {"customer", "seller", "age_seconds"})
    customer, seller = _named(body), read.text(body, "seller")
    age = read.number(body, "age_seconds") or 0.0
    return lambda: {"token": emulated.saas.make_token(customer, seller=seller, age_seconds=age)}


def _named(body: Mapping[str, object]) -> str:
    customer = read.text(body, "customer")
    if customer is None:
        raise BadCommand("customer: is required")
    return customer


SAAS_VERBS: Final[Mapping[str, Verb]] = {
    "customers": _customers,
    "subscription": _subscription,
    "registration-token": _registration_token,
}
