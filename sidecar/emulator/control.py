"""Parse the commands that admin routes and timelines share.

Invariants:
- A verb is parsed before it is run: `parse_command` reads the whole body and complains, and only what
  it returns changes the state. So a timeline is refused at its start, not in its middle.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from sidecar.emulator import control_fields as read
from sidecar.emulator.callers import Callers
from sidecar.emulator.clock import EmulatedClock
from sidecar.emulator.faults import from_json
from sidecar.emulator.refusals import BadOrder
from sidecar.emulator.state import OPERATIONS, EmulatorState

Answer = Mapping[str, object]
Command = Callable[[], Answer]


def parse_command(world: EmulatorState, verb: str, body: Mapping[str, object]) -> Command:
    """Return the command that a verb and its body name, not yet run; running it returns its reply. Raises BadOrder."""
    if verb not in VERBS:
        raise BadOrder(f"do: {verb} is none of {', '.join(sorted(VERBS))}")
    return VERBS[verb](world, body)


def _subscription(change: Callable[[EmulatorState], Callable[[str | None, str | None], None]]) -> Verb:
    def understand(world: EmulatorState, body: Mapping[str, object]) -> Command:
        read.only(body, {"account", "product"})
        account, product = read.text(body, "account"), read.text(body, "product")
        if product is not None and product not in world.product_codes:
            raise BadOrder(f"product: {product} is none of {', '.join(world.product_codes)}")

        def deed() -> Answer:
            change(world)(account, product)
            return {"subscriptions": world.state()["subscriptions"]}

        return deed

    return understand


def _faults(world: EmulatorState, body: Mapping[str, object]) -> Command:
    fault = from_json(body, OPERATIONS)

    def deed() -> Answer:
        world.faults.add(fault)
        return {"faults": world.faults.as_json()}

    return deed


def _clear_faults(world: EmulatorState, body: Mapping[str, object]) -> Command:
    read.only(body, ())

    def deed() -> Answer:
        world.clear_faults()
        return {"faults": world.faults.as_json()}

    return deed


def _callers(world: EmulatorState, body: Mapping[str, object]) -> Command:
    Callers().define(body, world.behaviour)  # a rehearsal, for its complaints

    def deed() -> Answer:
        return {"access_key": body["access_key"], **world.callers.define(body, world.behaviour).as_json()}

    return deed


def _behaviour(world: EmulatorState, body: Mapping[str, object]) -> Command:
    world.behaviour.changed(body)  # a rehearsal, for its complaints
    return lambda: world.behave(**body).as_json()


def _rotate(world: EmulatorState, body: Mapping[str, object]) -> Command:
    read.only(body, ())
    return lambda: {"public_key_version": world.rotate()}


def _expire_keys(world: EmulatorState, body: Mapping[str, object]) -> Command:
    read.only(body, ())
    return lambda: {"expired": world.expire_keys()}


def _clock(world: EmulatorState, body: Mapping[str, object]) -> Command:
    read.only(body, {"now", "speed"})
    now, speed = read.instant(body, "now"), read.number(body, "speed")
    if now is None and speed is None:
        raise BadOrder("now: is required, or speed")
    EmulatedClock(world.clock.real, start=now, speed=1.0 if speed is None else speed)  # a rehearsal

    def deed() -> Answer:
        world.set_clock(now=now, speed=speed)
        return world.clock.as_json()

    return deed


Verb = Callable[[EmulatorState, Mapping[str, object]], Command]

VERBS: Final[Mapping[str, Verb]] = {
    "subscribe": _subscription(lambda world: world.subscribe),
    "unsubscribe": _subscription(lambda world: world.unsubscribe),
    "faults": _faults,
    "clear-faults": _clear_faults,
    "callers": _callers,
    "behaviour": _behaviour,
    "rotate": _rotate,
    "expire-keys": _expire_keys,
    "clock": _clock,
}
