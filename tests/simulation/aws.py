"""Answer as AWS Marketplace does, in this process, through a network that loses, delays and repeats.

The rules are the emulator's own (`sidecar.emulator.meter_usage`, `register_usage`); only its HTTP is left out.

Invariants:
- What AWS bills is added up here, apart from the sidecar: that is what the ledger's books are compared with.
- Each request of a slot is compared with the one before it: a repeat is the same to the last field, and another one is
  a repair that follows a refusal.
- Nothing is taken that the sidecar had not sealed, and marked as sending, before.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from botocore.exceptions import ClientError, ConnectTimeoutError, ReadTimeoutError

from sidecar.emulator import meter_usage, register_usage
from sidecar.emulator.behaviour import Behaviour, Platform
from sidecar.emulator.callers import Caller
from sidecar.emulator.keys import SigningKeys
from sidecar.emulator.records import Slot, hour_of
from sidecar.emulator.refusals import Refusal
from sidecar.emulator.state import EmulatorState
from sidecar.emulator.usage_request import parse_usage_request
from sidecar.quick_dataclasses import dataclass, field
from tests.simulation.clock import HostClock
from tests.simulation.disk import Disk
from tests.simulation.violation import Violation
from tests.simulation.weather import UNCERTAIN, Fate, fate

ACCOUNT, REGION, PRODUCT = "123456789012", "us-east-1", "simulated-product"
SKEW_SECONDS_MAX = 300.0
"""AWS refuses a signature that is older or newer."""
LATE_SECONDS_MAX = 3 * 3600.0
WHERE = "https://metering.marketplace.us-east-1.amazonaws.com"

Key = tuple[str, str, int]
"""Workload, dimension and number of the hour: one record."""


class ChildDied(BaseException):
    """The child was killed before it could write what came of its call."""


@dataclass
class Sent:
    """The last request of a slot."""

    wire: str
    refused: bool = False
    """AWS gave a definite refusal to that one, at least once."""


@dataclass
class Aws:
    """AWS, and the network before it."""

    clock: HostClock
    disk: Disk
    keys: SigningKeys
    dimensions: tuple[str, ...]
    weather: str = "clear"
    chance: random.Random = field(default_factory=random.Random)
    forging: str = ""
    """A setting of `Behaviour` that makes answers which prove nothing; empty: AWS itself answers."""
    sealed: Callable[[Mapping[str, Any]], str] = lambda wire: ""
    """Returns what is wrong with a request that is about to leave; empty where it is on disk."""
    billed: dict[Key, Decimal] = field(default_factory=dict)
    """What AWS took from the sidecar."""
    foreign: dict[Key, Decimal] = field(default_factory=dict)
    """What another reporter sent in a workload's name."""
    grants: Counter[str] = field(default_factory=Counter)
    """How often AWS itself let a workload run."""
    fresh_late: list[Key] = field(default_factory=list)
    """What was billed by a late delivery, and was not looked at yet."""
    reported: set[Key] = field(default_factory=set)
    """For what another reporter ever sent something."""
    doubtful: set[Key] = field(default_factory=set)
    """Records of which a call had no certain answer, or one that was perhaps not kept."""
    sent: dict[Key, Sent] = field(default_factory=dict)
    calls: int = 0
    _late: list[tuple[datetime, str, dict[str, object]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.state = EmulatorState(
            product_codes=[PRODUCT], dimensions=self.dimensions, keys=self.keys, clock=self.clock.true
        )
        self.by_dimension: dict[str, Decimal] = dict.fromkeys(self.dimensions, Decimal(0))

    # -- calls -------------------------------------------------------------------------------------

    def credentials(self) -> None:
        """Fetch credentials; the fate of the whole call is drawn here."""
        self.clock.advance(1.5)
        self._fate = fate(self.weather, self.chance)
        if self._fate is Fate.NO_CREDENTIALS:
            raise client_error("InvalidIdentityToken", "AssumeRoleWithWebIdentity")

    def meter(self, workload: str, wire: dict[str, Any]) -> dict[str, object]:
        """Answer MeterUsage."""
        if wire.get("DryRun"):
            return self._dry_run(workload, wire)
        if fault := self.sealed(wire):
            raise Violation(f"sent before it was sealed: {fault}")
        key = self._compare(workload, wire)
        return self._call("MeterUsage", lambda: self._take(workload, wire), lambda: self._delay(workload, wire), key)

    def register(self, workload: str, body: dict[str, Any]) -> dict[str, object]:
        """Answer RegisterUsage."""
        self._fate = fate(self.weather, self.chance)
        return self._call("RegisterUsage", lambda: self._sign(workload, body), lambda: None)

    def _call(
        self, operation: str, take: Callable[[], dict[str, object]], delay: Callable[[], None], key: Key | None = None
    ) -> dict[str, object]:
        self.calls += 1
        self.disk.step()  # killed before the request left
        fated = self._fate
        if key is not None and fated in UNCERTAIN:
            self.doubtful.add(key)
        self.clock.advance(10.0 if fated in (Fate.LOST_AFTER, Fate.LOST_BEFORE, Fate.LATE) else 0.2)
        if fated is Fate.UNREACHABLE:
            raise ConnectTimeoutError(endpoint_url=WHERE)
        if fated is Fate.LOST_BEFORE:
            raise ReadTimeoutError(endpoint_url=WHERE)
        if fated is Fate.LATE:
            delay()
            raise ReadTimeoutError(endpoint_url=WHERE)
        reply = self._answer(operation, take, key)
        self.disk.step()  # killed before the answer was read
        if fated is Fate.TWICE:
            again = self._answer(operation, take, key)
            reply = again if self.chance.random() < 0.5 else reply
        if fated is Fate.LOST_AFTER:
            raise ReadTimeoutError(endpoint_url=WHERE)
        if fated is Fate.ERROR_AFTER:
            raise client_error("InternalServiceErrorException", operation, status=500)
        if fated is Fate.CHILD_DIED:
            raise ChildDied
        return {"ResponseMetadata": {}} if fated is Fate.NO_RECORD_ID else reply

    def _answer(self, operation: str, take: Callable[[], dict[str, object]], key: Key | None) -> dict[str, object]:
        try:
            self._admit(operation)
            return take()
        except Refusal as refused:
            if key is not None:
                self.sent[key].refused = True
            raise client_error(refused.code, operation, refused.message, refused.status) from refused

    def _admit(self, operation: str) -> None:
        if abs(self.clock.offset.total_seconds()) > SKEW_SECONDS_MAX:
            raise Refusal(code="InvalidSignatureException", message="Signature expired: it is now earlier", status=403)
        if self._fate is Fate.EXPIRED:
            raise Refusal(code="ExpiredTokenException", message="expired", status=403)
        if self._fate is Fate.THROTTLED:
            raise Refusal(code="ThrottlingException", message="Rate exceeded", status=400)
        if self._fate is Fate.ERROR_BEFORE:
            raise Refusal(code="InternalServiceErrorException", message="again", status=500)

    # -- what AWS knows ----------------------------------------------------------------------------

    def _sign(self, workload: str, body: dict[str, Any]) -> dict[str, object]:
        if self.forging:  # not AWS: whoever it is signs what it likes
            behaviour = Behaviour().changed({self.forging: True})
            self.state.subscribe()
            forged = EmulatorState(product_codes=[PRODUCT], keys=self.keys, clock=self.clock.true)
            return register_usage.answer(forged, caller_of(workload), REGION, body, behaviour, self._now())
        reply = register_usage.answer(self.state, caller_of(workload), REGION, body, self.state.behaviour, self._now())
        self.grants[workload] += 1
        return reply

    def _dry_run(self, workload: str, wire: dict[str, Any]) -> dict[str, object]:
        self._fate = fate(self.weather, self.chance)

        def take() -> dict[str, object]:
            try:
                return self._meter(workload, wire)
            except Refusal as refused:
                if refused.code == "DryRunOperation":
                    self.grants[workload] += 1
                raise

        return self._call("MeterUsage", take, lambda: None)

    def _take(self, workload: str, wire: dict[str, Any]) -> dict[str, object]:
        reply = self._meter(workload, wire)
        key = key_of(workload, wire)
        self.grants[workload] += 1
        if key not in self.billed:
            self.foreign.pop(key, None)  # the same quantity: from now on it is the workload's own
            self.billed[key] = quantity_of(wire)
            self.by_dimension[key[1]] += self.billed[key]
        return reply

    def _meter(self, workload: str, wire: dict[str, Any]) -> dict[str, object]:
        return meter_usage.answer(self.state, caller_of(workload), REGION, wire, self.state.behaviour, self._now())

    def _now(self) -> datetime:
        return self.clock.true.now()

    def _delay(self, workload: str, wire: dict[str, Any]) -> None:
        at = self._now() + timedelta(seconds=self.chance.uniform(1, LATE_SECONDS_MAX))
        self._late.append((at, workload, wire))

    def deliver(self) -> None:
        """Take what was on its way until now."""
        now = self._now()
        due = sorted((one for one in self._late if one[0] <= now), key=lambda one: one[0])
        self._late = [one for one in self._late if one[0] > now]
        for _, workload, wire in due:
            known = key_of(workload, wire) in self.billed
            try:
                self._take(workload, wire)
            except Refusal:
                continue  # its answer reaches nobody
            if not known:
                self.fresh_late.append(key_of(workload, wire))

    def report_elsewhere(self, workload: str, dimension: str, instant: datetime, quantity: Decimal) -> bool:
        """Have another reporter send a quantity in a workload's name; return whether AWS had none yet."""
        wire = {
            "ProductCode": PRODUCT,
            "Timestamp": int(instant.timestamp()),
            "UsageDimension": dimension,
            "UsageQuantityAsDecimal": f"{quantity:f}",
        }
        slot = Slot(workload=workload, product_code=PRODUCT, dimension=dimension, hour=hour_of(instant))
        if self.state.records.at(slot) is not None:
            return False
        self.state.records.write(slot, ACCOUNT, parse_usage_request(wire), self._now())
        self.foreign[key_of(workload, wire)] = quantity
        self.reported.add(key_of(workload, wire))
        return True

    # -- what must hold ----------------------------------------------------------------------------

    def _compare(self, workload: str, wire: dict[str, Any]) -> Key:
        """Raise Violation where this is neither a repeat of the last request of its slot nor a repair of it."""
        key, text = key_of(workload, wire), json.dumps(wire, sort_keys=True)
        before = self.sent.get(key)
        if before is not None and before.wire != text:
            last = json.loads(before.wire)
            same = last["Timestamp"] == wire["Timestamp"] and quantity_of(last) == quantity_of(wire)
            if not same or last["ClientToken"] == wire["ClientToken"]:
                raise Violation(f"a repeat differs: {before.wire} then {text}")
            if not before.refused:
                raise Violation(f"a repair follows no refusal: {before.wire} then {text}")
        if before is None or before.wire != text:
            self.sent[key] = Sent(text)
        return key


def key_of(workload: str, wire: Mapping[str, Any]) -> Key:
    """Return the record that a request is for."""
    return workload, str(wire["UsageDimension"]), int(wire["Timestamp"]) // 3600


def quantity_of(wire: Mapping[str, Any]) -> Decimal:
    """Return a request's quantity."""
    return Decimal(str(wire.get("UsageQuantityAsDecimal", wire.get("UsageQuantity", 0))))


def caller_of(workload: str) -> Caller:
    """Return a workload as AWS sees it."""
    return Caller(
        workload=workload, account=ACCOUNT, platform=Platform.EKS, region=REGION, allowed=True, role="simulated"
    )


def client_error(code: str, operation: str, message: str = "", status: int = 400) -> ClientError:
    """Return what the SDK raises for an error of AWS."""
    said = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(said, operation)  # type: ignore[arg-type]


def hour_start(key: Key) -> datetime:
    """Return when a record's hour begins."""
    return datetime.fromtimestamp(key[2] * 3600, UTC)
