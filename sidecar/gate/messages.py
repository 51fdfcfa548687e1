"""Define the messages between the worker and the child that checks the entitlement: values, as JSON.

Invariants:
- The child writes the workload's identity, then the check's result, then whether its answer was kept: one line each.
- The request holds no secret; the results hold no token, key or credential, but of a seat its consumption token, for
  what holds the seat: the restart state does not get it.
- Both sides are ours; a line that does not parse means a broken child, not an answer.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, Self

from sidecar.child.process import ChildFailure, ChildProcess, read_message
from sidecar.entitlement.answer import AnswerClass
from sidecar.quick_dataclasses import asdict, dataclass, field, replace
from sidecar.settings import Dimension, EntitlementCheck, License, OnDenied, PublicKey, QuantityField, Settings

if TYPE_CHECKING:
    from sidecar.entitlement.seats import HeldSeat
    from sidecar.gate.contract_messages import OpenCheckout

JOB: Final = "check"
"""The job's name in `child.main.JOBS`."""

BUDGET_SECONDS: Final = 20.0
BUDGET_SECONDS_PER_KEY: Final = 30.0
"""Two calls of at most 15 seconds for each key version."""
BUDGET_SECONDS_DRY_RUNS: Final = 120.0
"""For any number of dimensions: the first that is not answered ends the check."""
BUDGET_SECONDS_LICENSES: Final = 120.0
"""Likewise for licenses, each checked out and most checked in."""


@dataclass(frozen=True, kw_only=True)
class CheckRequest:
    """Everything a child needs to ask AWS once, beside its environment."""

    product_code: str
    public_keys: tuple[PublicKey, ...]
    state_dir: str
    endpoint_url: str | None
    workload_id: str | None
    spare_workload_id: str
    """Stands for a nameless workload whose state directory cannot hold a name."""
    entitlement_check: str = EntitlementCheck.REGISTER_USAGE.value
    dimensions: tuple[Dimension, ...] = ()
    """Name and decimals of each: what a dry run needs."""
    quantity_field: str = QuantityField.AUTO.value
    """The field that a dry run asks in."""
    product_sku: str = ""
    licenses: tuple[License, ...] = ()
    open_checkout: OpenCheckout | None = None
    """A checkout of the child before whose outcome is not known."""
    opened: bool = False
    """Whether AWS has let this workload run before, so that what it holds is in use."""
    clock_url: str | None = None
    on_denied: str = OnDenied.HOLD.value
    reask_seconds: int = 300
    """These two: what the hint of a denial says of what comes next."""

    @classmethod
    def of(cls, settings: Settings, spare_workload_id: str) -> Self:
        return cls(
            product_code=settings.product_code,
            public_keys=settings.public_keys,
            state_dir=str(settings.state_dir),
            endpoint_url=settings.endpoint_url,
            workload_id=settings.workload_id,
            spare_workload_id=spare_workload_id,
            entitlement_check=settings.entitlement_check.value,
            dimensions=tuple(Dimension(name=one.name, decimals=one.decimals) for one in settings.dimensions),
            quantity_field=settings.quantity_field.value,
            product_sku=settings.product_sku,
            licenses=settings.licenses,
            clock_url=settings.clock_url,
            on_denied=settings.on_denied.value,
            reask_seconds=settings.reask_seconds,
        )

    def as_json(self) -> str:
        dimensions = [{"name": one.name, "decimals": one.decimals} for one in self.dimensions]
        return json.dumps({"job": JOB, **asdict(self), "dimensions": dimensions, **self._contract()})

    def _contract(self) -> dict[str, object]:
        if not self.licenses:
            return {}
        from sidecar.gate.contract_messages import licenses_as_json

        return {"licenses": licenses_as_json(self.licenses)}

    def after(self, result: CheckResult) -> Self:
        """Return the next request: it repeats a checkout whose outcome this result does not know."""
        opened = self.opened or result.verdict is AnswerClass.ACCEPTED
        return replace(self, open_checkout=result.open_checkout, opened=opened)

    @classmethod
    def from_payload(cls, payload: Mapping[str, Any]) -> Self:
        """Return the request that a child was given."""
        keys = tuple(PublicKey(**key) for key in payload["public_keys"])
        dimensions = tuple(Dimension(**one) for one in payload["dimensions"])
        known = {**payload, "public_keys": keys, "dimensions": dimensions, "licenses": ()}
        if payload.get("licenses"):
            from sidecar.gate.contract_messages import OpenCheckout, licenses_from_json

            known["licenses"] = licenses_from_json(payload["licenses"])
            known["open_checkout"] = OpenCheckout(**payload["open_checkout"]) if payload.get("open_checkout") else None
        return cls(**known)

    @property
    def budget_seconds(self) -> float:
        """Return how long a child may take before it is killed."""
        if self.entitlement_check == EntitlementCheck.METER_USAGE.value:
            return BUDGET_SECONDS_DRY_RUNS
        if self.entitlement_check == EntitlementCheck.CHECKOUT_LICENSE.value:
            return BUDGET_SECONDS_LICENSES
        return BUDGET_SECONDS + BUDGET_SECONDS_PER_KEY * len(self.public_keys)


TEXT_MAX: Final = 512
LONG: Final[Mapping[str, int]] = {"hint": 2048, "settings_fault": 4096}
"""Characters of a message's texts."""


def _cut(value: Any, most: int) -> Any:
    if isinstance(value, str):
        return value[:most]
    if isinstance(value, dict):
        return {str(name)[:most]: _cut(one, most) for name, one in value.items()}
    return value


def _fields(given: Any) -> dict[str, Any]:
    """Return a message's fields, every text cut to a sensible length: AWS, or who plays it, may say anything."""
    return {name: _cut(value, LONG.get(name, TEXT_MAX)) for name, value in given.items()}


def _of_contract(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return a result's fields with those of a contract as values, where there are any."""
    if not any(fields.get(name) for name in ("granted", "held", "open_checkout", "not_returned")):
        return {name: value for name, value in fields.items() if name not in ("granted", "held", "not_returned")}
    from sidecar.entitlement.seats import HeldSeat
    from sidecar.gate.contract_messages import OpenCheckout

    opened = fields.get("open_checkout")
    return {
        **fields,
        "granted": tuple(_cut(dict(one), TEXT_MAX) for one in fields["granted"]),
        "held": tuple(HeldSeat.from_json(one) for one in fields["held"]),
        "open_checkout": OpenCheckout(**opened) if opened else None,
        "not_returned": tuple(str(one)[:TEXT_MAX] for one in fields["not_returned"]),
    }


@dataclass(frozen=True, kw_only=True)
class WorkloadIdentity:
    """The child's first line: the workload, and the region it is in. Empty texts: not known."""

    workload: str = ""
    workload_kind: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    region: str = ""
    region_source: str = ""
    region_disagreement: str | None = None

    def as_json(self) -> str:
        return json.dumps(asdict(self))


@dataclass(frozen=True, kw_only=True)
class CheckResult:
    """The child's second line: what AWS answered, and who asked it."""

    answer: str
    """An `AnswerClass` by value."""
    reason: str
    hint: str
    code: str = ""
    """The error's code, as AWS or the SDK says it; empty for an accepted answer."""
    asked: str = ""
    request_id: str = ""
    from_kept_answer: bool = False
    """Whether a kept answer, not a fresh one, opened the gate."""
    kept_refused: str = ""
    """Why a kept answer did not open it; empty where there was none."""
    public_key_version: int | None = None
    rotation_at: str | None = None
    weak_key_bits: int | None = None
    retry_after_seconds: float | None = None
    granted: tuple[Mapping[str, str], ...] = ()
    """Licenses that AWS allowed: name, unit, value, take, license_arn. This and the next three: of a contract."""
    held: tuple[HeldSeat, ...] = ()
    """Seats that are checked out, with their tokens."""
    open_checkout: OpenCheckout | None = None
    not_returned: tuple[str, ...] = ()
    """Licenses that could not be checked in, each with code and when it comes back by itself."""
    settings_fault: str = ""
    """Set where the workload contradicts the settings: the process ends with 78."""
    partition: str = ""
    host: str = ""
    credential_source: str = ""
    credential_caution: str = ""
    role: str = ""

    @property
    def verdict(self) -> AnswerClass:
        return AnswerClass(self.answer)

    def as_json(self) -> str:
        return json.dumps(asdict(self) | {"held": [one.as_json() for one in self.held]})

    def without_tokens(self) -> Self:
        """Return the result as others than what holds the seats may have it."""
        return replace(self, held=())

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Return a result. Raises ValueError."""
        try:
            result = cls.from_fields(_fields(json.loads(text)))
            AnswerClass(result.answer)
        except (TypeError, ValueError, AttributeError, KeyError, RecursionError) as exc:
            raise ValueError("not a result") from exc
        return result

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any]) -> Self:
        """Return the result with these fields of JSON. Raises TypeError, ValueError or KeyError."""
        return cls(**_of_contract(fields))


def parse_message(text: str | bytes) -> WorkloadIdentity | CheckResult:
    """Return the identity, or the result of a child that could not find one. Raises ValueError."""
    try:
        return WorkloadIdentity(**_fields(json.loads(text)))
    except (TypeError, ValueError, AttributeError, RecursionError):
        return CheckResult.from_json(text)


def read_result(
    child: ChildProcess, deadline: float, identified: Callable[[WorkloadIdentity], None]
) -> tuple[CheckResult | None, ChildFailure | None]:
    """Return a check's result, or why there is none. Calls `identified` with the identity as soon as it is there."""
    message, failure = read_message(child, parse_message, deadline)
    if isinstance(message, WorkloadIdentity):
        identified(message)
        return read_message(child, CheckResult.from_json, deadline)
    return message, failure


@dataclass(frozen=True, kw_only=True)
class KeptStatus:
    """The child's last line: whether the answer is on disk."""

    kept: bool
    fault: str = ""

    def as_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Return a status. Raises ValueError."""
        try:
            return cls(**json.loads(text))
        except (TypeError, ValueError, RecursionError) as exc:
            raise ValueError("not a kept status") from exc
