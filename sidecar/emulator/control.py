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
from sidecar.emulator.license_control import LICENSE_VERBS
from sidecar.emulator.refusals import BadCommand
from sidecar.emulator.saas_control import SAAS_VERBS
from sidecar.emulator.state import OPERATIONS, EmulatorState

Answer = Mapping[str, object]
Command = Callable[[], Answer]


def parse_command(emulated: EmulatorState, verb: str, body: Mapping[str, object]) -> Command:
    """Return the command of a verb and its body, not yet run; running it returns its reply. Raises BadCommand."""
    if verb not in VERBS:
        raise BadCommand(f"do: {verb} is none of {', '.join(sorted(VERBS))}")
    return VERBS[verb](emulated, body)


def _subscription(change: Callable[[EmulatorState], Callable[[str | None, str | None], None]]) -> Verb:
    def parse(emulated: EmulatorState, body: Mapping[str, object]) -> Command:
        read.only(body, {"account", "product"})
        account, product = read.text(body, "account"), read.text(body, "product")
        if product is not None and product not in emulated.product_codes:
            raise BadCommand(f"product: {product} is none of {', '.join(emulated.product_codes)}")

        def run() -> Answer:
            change(emulated)(account, product)
            return {"subscriptions": emulated.state()["subscriptions"]}

        return run

    return parse


def _faults(emulated: EmulatorState, body: Mapping[str, object]) -> Command:
    fault = from_json(body, OPERATIONS)

    def run() -> Answer:
        emulated.faults.add(fault)
        return {"faults": emulated.faults.as_json()}

    return run


def _clear_faults(emulated: EmulatorState, body: Mapping[str, object]) -> Command:
    read.only(body, ())

    def run() -> Answer:
        emulated.clear_faults()
        return {"faults": emulated.faults.as_json()}

    return run


def _callers(emulated: EmulatorState, body: Mapping[str, object]) -> Command:
    Callers().define(body, emulated.behaviour)  # for its errors only

    def run() -> Answer:
        return {"access_key": body["access_key"], **emulated.callers.define(body, emulated.behaviour).as_json()}

    return run


def _behaviour(emulated: EmulatorState, body: Mapping[str, object]) -> Command:
    emulated.behaviour.changed(body)  # for its errors only
    return lambda: emulated.behave(**body).as_json()


def _rotate(emulated: EmulatorState, body: Mapping[str, object]) -> Command:
    read.only(body, ())
    return lambda: {"public_key_version": emulated.rotate()}


def _expire_keys(emulated: EmulatorState, body: Mapping[str, object]) -> Command:
    read.only(body, ())
    return lambda: {"expired": emulated.expire_keys()}


def _clock(emulated: EmulatorState, body: Mapping[str, object]) -> Command:
    read.only(body, {"now", "speed"})
    now, speed = read.instant(body, "now"), read.number(body, "speed")
    if now is None and speed is None:
        raise BadCommand("now: is required, or speed")
    EmulatedClock(emulated.clock.real, start=now, speed=1.0 if speed is None else speed)  # for its errors only

    def run() -> Answer:
        emulated.set_clock(now=now, speed=speed)
        return emulated.clock.as_json()

    return run


Verb = Callable[[EmulatorState, Mapping[str, object]], Command]

VERBS: Final[Mapping[str, Verb]] = {
    "subscribe": _subscription(lambda emulated: emulated.subscribe),
    "unsubscribe": _subscription(lambda emulated: emulated.unsubscribe),
    "faults": _faults,
    "clear-faults": _clear_faults,
    "callers": _callers,
    "behaviour": _behaviour,
    "rotate": _rotate,
    "expire-keys": _expire_keys,
    "clock": _clock,
    **LICENSE_VERBS,
    **SAAS_VERBS,
}
