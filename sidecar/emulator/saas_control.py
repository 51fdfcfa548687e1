"""Parse the commands about SaaS customers: `customers`, `subscription`, `registration-token`, `notices`.

Invariants:
- As in `control`: a body is read whole before anything changes.
- A customer is named by its id, which its definition gives or gets.
- A subscription that changes is told in a queue, as AWS would tell it; `notices` tells anything else, in any order and
  any number of times.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from sidecar.emulator import control_fields as read
from sidecar.emulator.customers import Customer, Subscription, parse_customer
from sidecar.emulator.notices import Notice, Role, told_of, written
from sidecar.emulator.queues import DEFAULT_QUEUE
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
    read.only(body, {"customer", "state", "notify", "queue", "role", "raw"})
    customer, state, delivery = _named(body), read.choice(body, "state", Subscription), _delivery(body, 1)
    notify = read.flag(body, "notify")
    if state is None:
        raise BadCommand("state: is required")

    def run() -> Answer:
        changed = emulated.saas.set_state(customer, state)
        notices = () if notify is False else told_of(changed)
        return {**changed.as_json(), "notices": [_told(emulated, changed, each, delivery) for each in notices]}

    return run


def _notices(emulated: EmulatorState, body: Mapping[str, object]) -> Command:
    read.only(body, {"customer", "notice", "text", "queue", "role", "raw", "times", "delay_seconds"})
    times = read.whole(body, "times", least=0)
    delivery, notice = _delivery(body, 1 if times is None else times), read.choice(body, "notice", Notice)
    text = read.text(body, "text")
    if (notice is None) == (text is None):
        raise BadCommand("notice: is required, or text for a message of any other kind")
    if notice is None:
        return lambda: {"text": _sent(emulated, str(text), delivery)}
    customer = _named(body)
    return lambda: {"text": _told(emulated, emulated.saas.customer(customer), notice, delivery)}


@dataclass(frozen=True, kw_only=True)
class _Delivery:
    """Where a notice goes, and in which form."""

    queue: str
    role: Role
    raw: bool
    times: int
    delay_seconds: float


def _delivery(body: Mapping[str, object], times: int) -> _Delivery:
    return _Delivery(
        queue=read.text(body, "queue") or DEFAULT_QUEUE,
        role=read.choice(body, "role", Role) or Role.MANUFACTURER,
        raw=read.flag(body, "raw") or False,
        times=times,
        delay_seconds=read.number(body, "delay_seconds") or 0.0,
    )


def _told(emulated: EmulatorState, customer: Customer, notice: Notice, delivery: _Delivery) -> str:
    """Send a notice of a customer, and return its text."""
    text = written(
        notice,
        customer,
        emulated.clock.now(),
        seller=emulated.behaviour.account,
        role=delivery.role,
        raw=delivery.raw,
        license_form=emulated.behaviour.saas_notice_license,
    )
    return _sent(emulated, text, delivery)


def _sent(emulated: EmulatorState, text: str, delivery: _Delivery) -> str:
    for _ in range(delivery.times):
        emulated.queues.send(text, delivery.queue, delay_seconds=delivery.delay_seconds)
    return text


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
    "notices": _notices,
}
