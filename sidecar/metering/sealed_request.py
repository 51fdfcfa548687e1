"""Build the request that is sent for a record, frozen when its hour is sealed.

Invariants:
- A sealed request is frozen: timestamp, quantity, allocations and client token are the same at every resend, so that
  AWS counts them once.
- Its timestamp is in its hour and never in the future: the hour's last second, or now for the hour that is running,
  when the workload ends.
- Quantity and allocations are sent in one kind of field, which is chosen at sealing. AWS compares quantities by value:
  the other kind, sealed again after a refusal, counts once, too.
- A client token names one sealed request of one workload, product, dimension and hour; made again from the same content
  it is the same.

Sources: AWS Marketplace API Reference, MeterUsage (Timestamp, ClientToken, UsageQuantity, UsageQuantityAsDecimal: "Use
UsageQuantityAsDecimal instead", "quantities are compared by value").
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from enum import Enum
from typing import Final

from sidecar.digests import sha1, sha256
from sidecar.metering.drawdown import Drawdown
from sidecar.metering.hours import EPOCH, ONE_SECOND, Hour
from sidecar.metering.quantities import INTEGER_MAX, plain
from sidecar.metering.rollup import ALLOCATIONS_FEWER, Allocation, Owed, fewer
from sidecar.quick_dataclasses import asdict, dataclass, replace

TOKEN_NAMESPACE: Final = bytes.fromhex("5f0c6a1e4b7d5c2f9a3e8d1b6c4f7a20")
"""The sidecar's own; never changes: a token made again after an upgrade must be the same."""


class DecimalsUnsupported(ValueError):
    """A request for the decimal fields, and an SDK that knows none."""


class QuantityKind(Enum):
    """The kind of field that carries a quantity and its allocations."""

    DECIMAL = "decimal"
    """`UsageQuantityAsDecimal`, text: AWS wants it for whole numbers, too."""
    INTEGER = "integer"
    """`UsageQuantity`, which AWS calls deprecated since 2026-10-20."""


class Repair(Enum):
    """A change to a request that AWS refused; each at most once for a record."""

    FEWER_ALLOCATIONS = "fewer_allocations"
    """Merged to what an older text of AWS says it takes."""
    WITHOUT_ALLOCATIONS = "without_allocations"
    NEW_TOKEN = "new_token"  # noqa: S105 - a client token is no secret
    INTEGER_FIELD = "integer_field"
    """The same whole amounts in the integer fields."""


ALLOCATIONS_MIN: Final[Mapping[Repair, int]] = {
    Repair.FEWER_ALLOCATIONS: ALLOCATIONS_FEWER + 1,
    Repair.WITHOUT_ALLOCATIONS: 1,
    Repair.NEW_TOKEN: 0,
    Repair.INTEGER_FIELD: 0,
}
"""Shares a request must have for a repair to change it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SealedRequest:
    """The parameters of one MeterUsage call, as they are sent every time."""

    product_code: str
    dimension: str
    timestamp: int
    """Epoch seconds."""
    quantity: str
    """Plain notation."""
    decimals: int
    """Places of the dimension."""
    allocations: tuple[Allocation, ...]
    client_token: str
    sealed_kind: QuantityKind | None = None
    """None in a request of an earlier version, which chose the field by `decimals`, and in a drawdown."""
    drawdown: Drawdown | None = None
    """Where the quantity is drawn from, by CheckoutLicense; None: it is sent by MeterUsage."""

    def as_wire(self, decimal_fields: bool) -> dict[str, object]:
        """MeterUsage's parameters. `decimal_fields`: whether the SDK's model has UsageQuantityAsDecimal.

        Raises DecimalsUnsupported where they are needed and missing, ValueError for a drawdown.
        """
        if self.drawdown:
            raise ValueError(f"{self.dimension} is drawn from the license {self.drawdown.name}, and not metered.")
        if self.kind is QuantityKind.DECIMAL and not decimal_fields:
            raise DecimalsUnsupported(f"{self.dimension} is sealed for the decimal field; the SDK knows integers only.")
        suffix = "AsDecimal" if self.kind is QuantityKind.DECIMAL else ""
        wire: dict[str, object] = {
            "ProductCode": self.product_code,
            "Timestamp": self.timestamp,
            "UsageDimension": self.dimension,
            f"UsageQuantity{suffix}": self._number(Decimal(self.quantity)),
            "ClientToken": self.client_token,
        }
        if self.allocations:
            wire["UsageAllocations"] = [self._allocation(one, suffix) for one in self.allocations]
        return wire

    @property
    def kind(self) -> QuantityKind:
        """Return the kind of field that the quantity is sent in."""
        return self.sealed_kind or (QuantityKind.DECIMAL if self.decimals else QuantityKind.INTEGER)

    def _number(self, amount: Decimal) -> int | str:
        """Return an amount as its field wants it. Raises ValueError where the integer field cannot hold it."""
        if self.kind is QuantityKind.DECIMAL:
            return plain(amount)
        if amount != int(amount):
            raise ValueError(f"{amount} of {self.dimension} is no whole number.")
        return int(amount)

    def _allocation(self, one: Allocation, suffix: str) -> dict[str, object]:
        share: dict[str, object] = {f"AllocatedUsageQuantity{suffix}": self._number(one.quantity)}
        if one.tags:
            share["Tags"] = [{"Key": key, "Value": value} for key, value in one.tags]
        return share

    def as_json(self) -> str:
        """Return the frozen text: one line, always the same for the same request."""
        fields = {
            "product_code": self.product_code,
            "dimension": self.dimension,
            "timestamp": self.timestamp,
            "quantity": self.quantity,
            "decimals": self.decimals,
            "allocations": [[list(map(list, one.tags)), plain(one.quantity)] for one in self.allocations],
            "client_token": self.client_token,
        }
        if self.sealed_kind:  # a request of an earlier version stays as it was written, to the byte
            fields["quantity_kind"] = self.sealed_kind.value
        if self.drawdown:
            fields["drawdown"] = asdict(self.drawdown)
        return json.dumps(fields, sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> SealedRequest:
        """Return what `as_json` wrote. Raises ValueError, KeyError or TypeError for anything else."""
        fields = json.loads(text)
        allocations = tuple(
            Allocation(tags=tuple((str(key), str(value)) for key, value in tags), quantity=Decimal(share))
            for tags, share in fields.pop("allocations")
        )
        kind, pool = fields.pop("quantity_kind", None), fields.pop("drawdown", None)
        return cls(
            allocations=allocations,
            sealed_kind=None if kind is None else QuantityKind(kind),
            drawdown=None if pool is None else Drawdown(**pool),
            **fields,
        )

    def changed_by(self, repair: Repair) -> bool:
        """Return whether a repair would change this request."""
        if repair is Repair.INTEGER_FIELD and not (self.kind is QuantityKind.DECIMAL and self._fits_integers()):
            return False
        return len(self.allocations) >= ALLOCATIONS_MIN[repair]

    def _fits_integers(self) -> bool:
        amounts = (Decimal(self.quantity), *(one.quantity for one in self.allocations))
        return all(fits_integer(amount) for amount in amounts)

    def repaired(self, repair: Repair, client_token: str) -> SealedRequest:
        """Return the request that takes this one's place: same timestamp, same quantity."""
        allocations = self.allocations
        if repair is Repair.FEWER_ALLOCATIONS:
            allocations = fewer(allocations)
        elif repair is Repair.WITHOUT_ALLOCATIONS:
            allocations = ()
        kind = QuantityKind.INTEGER if repair is Repair.INTEGER_FIELD else self.sealed_kind
        return replace(self, allocations=allocations, client_token=client_token, sealed_kind=kind)

    @property
    def digest(self) -> str:
        """SHA-256 of the frozen text, in hex: an auditor compares it."""
        return sha256(self.as_json().encode()).hexdigest()


def fits_integer(amount: Decimal) -> bool:
    """Return whether the integer field can carry an amount exactly."""
    return amount == amount.to_integral_value() and amount <= INTEGER_MAX


def seal_timestamp(hour: Hour, now: datetime) -> int:
    """Return the instant that is sent for an hour, in epoch seconds. Raises ValueError for an hour not yet begun."""
    if hour.closed(now):
        return (hour.last_second - EPOCH) // ONE_SECOND
    if now < hour.start:
        raise ValueError(f"the hour {hour} has not begun; AWS takes nothing from the future.")
    return (now - EPOCH) // ONE_SECOND


def client_token(workload: str, product: str, dimension: str, hour: Hour, n: int) -> str:
    """UUIDv5 of what it names; `n` counts the requests sealed for this record, from 0."""
    name = json.dumps([workload, product, dimension, hour.number, n], separators=(",", ":"))
    return _uuid5(TOKEN_NAMESPACE, name)


def seal_request(
    workload: str,
    product: str,
    dimension: str,
    decimals: int,
    hour: Hour,
    owed: Owed,
    now: datetime,
    kind: QuantityKind = QuantityKind.DECIMAL,
) -> SealedRequest:
    """Return the first request of a record, to be frozen on disk before it is sent."""
    return SealedRequest(
        product_code=product,
        dimension=dimension,
        timestamp=seal_timestamp(hour, now),
        quantity=plain(owed.quantity),
        decimals=decimals,
        allocations=owed.allocations,
        client_token=client_token(workload, product, dimension, hour, 0),
        sealed_kind=kind,
    )


def seal_drawdown(
    product: str, dimension: str, drawdown: Drawdown, hour: Hour, owed: Owed, now: datetime, token: str
) -> SealedRequest:
    """Return the request of a record that is drawn from a license. `token` is new and random. Raises ValueError."""
    if not fits_integer(owed.quantity) or not owed.quantity:
        raise ValueError(f"{plain(owed.quantity)} of {dimension} is no whole quantity above 0 to draw from a license.")
    return SealedRequest(
        product_code=product,
        dimension=dimension,
        timestamp=seal_timestamp(hour, now),
        quantity=plain(owed.quantity),
        decimals=0,
        allocations=(),
        client_token=token,
        drawdown=drawdown,
    )


def _uuid5(namespace: bytes, name: str) -> str:
    """RFC 9562 §5.5. The standard module would load `platform` into every pod for these four lines."""
    raw = bytearray(sha1(namespace + name.encode()).digest()[:16])
    raw[6] = raw[6] & 0x0F | 0x50
    raw[8] = raw[8] & 0x3F | 0x80
    words = raw.hex()
    return "-".join((words[:8], words[8:12], words[12:16], words[16:20], words[20:]))
