"""Hold what this AWS knows now: products, keys, subscriptions, callers, registrations, records, behaviour.

Elsewhere: the rules (`register_usage`, `meter_usage`, `sts`), the wire (`app`), the commands as others write them
(`control`). A test in the same process, the admin routes, a timeline and the command all call the same
methods.

Invariants:
- Nothing outlives the process, and no token, session token or private key can be read back.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Final

from sidecar.clock import Clock, SystemClock, iso
from sidecar.emulator.access_tokens import REFRESH_DAYS, AccessTokens
from sidecar.emulator.behaviour import Behaviour
from sidecar.emulator.callers import Caller, Callers
from sidecar.emulator.clock import EmulatedClock
from sidecar.emulator.faults import Fault, FaultQueue, from_json
from sidecar.emulator.keys import DEFAULT_BITS, SigningKeys
from sidecar.emulator.license_book import Consumption, LicenseBook
from sidecar.emulator.licenses import Grant, License, parse_license
from sidecar.emulator.queues import Queues
from sidecar.emulator.quotas import Quotas
from sidecar.emulator.records import BillLine, UsageRecord, UsageRecords, added, hour_of
from sidecar.emulator.refusals import BadCommand
from sidecar.emulator.saas import SaasState

DEFAULT_PRODUCT_CODE: Final = "demo-product"
CALLS_KEPT: Final = 1000
DEFAULT_DIMENSION: Final = "requests"
DIMENSIONS_MAX: Final = 24
"""Of a product (seller guide, `container-metering-meterusage`)."""
OPERATIONS: Final = (
    *("RegisterUsage", "MeterUsage", "AssumeRoleWithWebIdentity", "GetCallerIdentity"),
    *("CheckoutLicense", "CheckInLicense", "ExtendLicenseConsumption", "GetLicense", "GetLicenseUsage"),
    *("ListReceivedLicenses", "GetAccessToken", "BatchMeterUsage", "ResolveCustomer"),
    *("GetEntitlements", "ReceiveMessage", "DeleteMessage"),
)
"""What this AWS does; a fault can be ordered for each."""

Event = Mapping[str, object]


@dataclass(frozen=True, kw_only=True, order=True)
class Registered:
    """The identity of a registration: a workload and a product."""

    workload: str
    product_code: str


@dataclass(frozen=True, kw_only=True)
class Registration:
    """A workload that registered."""

    workload: str
    product_code: str
    at: datetime

    def as_json(self) -> dict[str, object]:
        return {"workload": self.workload, "product": self.product_code, "at": iso(self.at)}


@dataclass(frozen=True, kw_only=True)
class Call:
    """One operation call and how it was answered; never what the answer was."""

    operation: str
    workload: str | None
    """None where the request does not say who signed it."""
    at: datetime
    answer: str
    """`ok`, the AWS error code, or the kind of fault that took the place of an answer."""

    def as_json(self) -> dict[str, object]:
        return {
            "operation": self.operation,
            "workload": self.workload,
            "at": iso(self.at),
            "answer": self.answer,
        }


class EmulatorState:
    """Everything the emulator remembers. Safe to share between threads."""

    def __init__(
        self,
        *,
        product_codes: Iterable[str] = (DEFAULT_PRODUCT_CODE,),
        dimensions: Iterable[str] = (DEFAULT_DIMENSION,),
        subscribed: bool = True,
        behaviour: Behaviour | None = None,
        key_versions: Iterable[int] = (1,),
        key_bits: int = DEFAULT_BITS,
        keys: SigningKeys | None = None,
        clock: Clock | None = None,
        clock_start: datetime | None = None,
        clock_speed: float = 1.0,
        on_event: Callable[[Event], None] | None = None,
    ) -> None:
        """`clock` is the real one, from which the emulated one is moved. Raises BadCommand."""
        self.clock = EmulatedClock(clock or SystemClock(), start=clock_start, speed=clock_speed)
        self.started_at = self.clock.now()
        self.product_codes = tuple(product_codes)
        self.dimensions = _dimensions(dimensions)
        self.behaviour = Behaviour() if behaviour is None else behaviour
        self.keys = SigningKeys(key_versions, bits=key_bits) if keys is None else keys
        self.lock = threading.RLock()
        self.callers = Callers()
        self.faults = FaultQueue()
        self.subscriptions: set[tuple[str, str]] = set()
        self.registered: dict[Registered, datetime] = {}
        self.denied: set[Registered] = set()
        self.records = UsageRecords()
        self.metered: set[Registered] = set()
        """Workloads and products with a MeterUsage that was accepted."""
        self.meter_denied: set[Registered] = set()
        self.licenses = LicenseBook()
        self.tokens = AccessTokens()
        self.saas = SaasState(lock=self.lock, clock=self.clock, product_codes=self.product_codes)
        self.queues = Queues(self.clock.real)
        self.quotas = Quotas(self.clock.monotonic)
        self._calls: deque[Call] = deque(maxlen=CALLS_KEPT)
        self._on_event = on_event
        if subscribed:
            self.subscribe()

    def public_key(self, version: int | None = None) -> str:
        """Return the public key of a version (the newest), PEM."""
        return self.keys.public_pem(self.keys.newest() if version is None else version)

    def public_keys(self) -> list[dict[str, object]]:
        """Return every version with its PEM, oldest first."""
        return [{"version": each, "key": self.public_key(each)} for each in self.keys.versions()]

    def subscribe(self, account: str | None = None, product: str | None = None) -> None:
        """Subscribe an account (the default one) to a product (all). Raises BadCommand."""
        with self.lock:
            self.subscriptions |= self._pairs(account, product)

    def unsubscribe(self, account: str | None = None, product: str | None = None) -> None:
        """End the subscription of an account (the default one) to a product (all). Raises BadCommand."""
        with self.lock:
            self.subscriptions -= self._pairs(account, product)

    def fault(
        self,
        operation: str,
        kind: str,
        *,
        times: int | None = 1,
        seconds: float | None = None,
        message: str | None = None,
        status: int | None = None,
        retry_after: int | None = None,
    ) -> Fault:
        """Queue a fault: `times` None means always, `retry_after` is in ms. Raises BadCommand."""
        body = {
            "operation": operation,
            "kind": kind,
            "times": "forever" if times is None else times,
            "seconds": seconds,
            "message": message,
            "status": status,
            "retry_after": retry_after,
        }
        return self.order_fault(body)

    def order_fault(self, body: Mapping[str, object]) -> Fault:
        """Queue a fault given as an admin body. Raises BadCommand."""
        fault = from_json(body, OPERATIONS)
        self.faults.add(fault)
        return fault

    def clear_faults(self) -> None:
        """Drop every fault not yet played."""
        self.faults.clear()

    def define_caller(self, **caller: object) -> Caller:
        """Set who is behind `access_key`: workload, account, platform, region, allowed, role, started."""
        return self.callers.define(caller, self.behaviour)

    def behave(self, **changes: object) -> Behaviour:
        """Change settings of Behaviour, by their names and JSON values. Raises BadCommand."""
        with self.lock:
            self.behaviour = self.behaviour.changed(changes)
            return self.behaviour

    def rotate(self) -> int:
        """Make the next public key version, supersede all others, and return its number."""
        with self.lock:
            old = self.keys.versions()
            version = self.keys.add()
            self.behaviour = replace(self.behaviour, superseded=old)
            return version

    def expire_keys(self) -> int:
        """End every access key STS has issued so far, and return how many; the next one works."""
        return self.callers.expire_issued(self.clock.real.now())

    def define_license(self, **body: object) -> License:
        """Make a license, or the next version of the one with that id. Raises BadCommand."""
        with self.lock:
            present = self.licenses.license(str(body.get("id")))
            made = parse_license(body, present, self.behaviour.account, self.clock.now())
            self.licenses.keep(made)
            return made

    def grant_license(self, license_id: str, account: str | None = None, grant: Grant | None = None) -> License:
        """Set what an account (the default one) received of a license; active by default. Raises BadCommand."""
        with self.lock:
            return self.licenses.grant(license_id, account or self.behaviour.account, grant or Grant())

    def create_token(self, license_id: str, role: str | None = None, *, days: int = REFRESH_DAYS) -> tuple[str, str]:
        """Return the id of a new refresh token of a license and, this once, the token. Raises BadCommand."""
        with self.lock:
            known = self.licenses.license(license_id)
            if known is None:
                raise BadCommand(f"license: there is no {license_id}")
            return self.tokens.create(known.arn, (role,) if role else (), days, self.clock.real.now())

    def delete_token(self, token_id: str) -> bool:
        """Forget a refresh token, and return whether it was there."""
        with self.lock:
            return self.tokens.delete(token_id)

    def held(self, license_id: str, name: str) -> int:
        """Return how many seats of an entitlement are out now."""
        with self.lock:
            return self.licenses.held(license_id, name, self.clock.now())

    def drawn(self, license_id: str, name: str) -> int:
        """Return how much of an entitlement was drawn for good."""
        with self.lock:
            return self.licenses.drawn(license_id, name)

    def checkouts(self) -> list[Consumption]:
        """Return every checkout, oldest first."""
        with self.lock:
            return self.licenses.checkouts()

    def license_report(self) -> dict[str, object]:
        """Return licenses with what of them is held and drawn, every checkout, and who has refresh tokens; as JSON."""
        with self.lock:
            now = self.clock.now()
            checkouts = [each.as_json(now) for each in self.licenses.checkouts()]
            tokens = self.tokens.refresh_tokens()
            return {"licenses": self.licenses.report(now), "checkouts": checkouts, "refresh_tokens": tokens}

    def set_clock(self, *, now: datetime | None = None, speed: float | None = None) -> None:
        """Set the emulated clock to an instant, or change its speed, or both. Raises BadCommand."""
        self.clock.set(now=now, speed=speed)

    def calls(self) -> list[Call]:
        """Return the last thousand calls, oldest first."""
        with self.lock:
            return list(self._calls)

    def registrations(self) -> list[Registration]:
        """Return the registrations, oldest first."""
        with self.lock:
            return [
                Registration(workload=each.workload, product_code=each.product_code, at=at)
                for each, at in self.registered.items()
            ]

    def usage_records(self) -> list[UsageRecord]:
        """Return what has been metered, by product, dimension, hour and workload."""
        with self.lock:
            return self.records.all()

    def bill(self) -> list[BillLine]:
        """Return what has been metered, a line per product, account and dimension."""
        with self.lock:
            return self.records.bill()

    def recorded(
        self, hour: datetime, *, product: str | None = None, workload: str | None = None
    ) -> dict[str, Decimal]:
        """Return the quantity on record for the hour of an instant, by dimension; of all unless one is named."""
        found: dict[str, list[Decimal]] = {}
        for record in self.usage_records():
            slot = record.slot
            fits = product in (None, slot.product_code) and workload in (None, slot.workload)
            if fits and slot.hour == hour_of(hour):
                found.setdefault(slot.dimension, []).append(record.quantity)
        return {dimension: added(quantities) for dimension, quantities in found.items()}

    def state(self) -> dict[str, object]:
        """Return everything that may be shown, as JSON."""
        with self.lock:
            return {
                "product_codes": list(self.product_codes),
                "dimensions": list(self.dimensions),
                "public_key_versions": list(self.keys.versions()),
                "behaviour": self.behaviour.as_json(),
                "subscriptions": [
                    {"account": account, "product": product} for account, product in sorted(self.subscriptions)
                ],
                "callers": self.callers.as_json(self.behaviour),
                "registrations": [each.as_json() for each in self.registrations()],
                "metered": [{"workload": each.workload, "product": each.product_code} for each in sorted(self.metered)],
                "faults": self.faults.as_json(),
            }

    def note_call(self, operation: str, workload: str | None, answer: str) -> None:
        """Keep one call, and pass it to the listeners."""
        call = Call(operation=operation, workload=workload, at=self.clock.now(), answer=answer)
        with self.lock:
            self._calls.append(call)
        self.tell({"event": "call.answered", **call.as_json()})

    def tell(self, event: Event) -> None:
        """Pass an event on."""
        if self._on_event is not None:
            self._on_event(event)

    def _pairs(self, account: str | None, product: str | None) -> set[tuple[str, str]]:
        if product is not None and product not in self.product_codes:
            raise BadCommand(f"product: {product} is none of {', '.join(self.product_codes)}")
        products = self.product_codes if product is None else (product,)
        return {(account or self.behaviour.account, each) for each in products}


def _dimensions(names: Iterable[str]) -> tuple[str, ...]:
    """Return each name once. Raises BadCommand."""
    found = tuple(dict.fromkeys(names))
    if not all(found) or not 1 <= len(found) <= DIMENSIONS_MAX:
        raise BadCommand(f"dimensions: must be 1 to {DIMENSIONS_MAX} names, none of them empty")
    return found
