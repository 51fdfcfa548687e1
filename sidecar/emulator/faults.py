"""Queue faults, each for one operation (or all) and some number of calls.

Elsewhere: how a dropped or hanging connection is played (`transport`), what a forged token looks
like (`tokens`).

Invariants:
- The first fault in the queue that fits a call is used by it, once; a call uses at most one.
- A fault that replaces the answer (`drop_before`, `hang`, `empty_200`, `html_503`, `html_200`) comes
  before every rule. An AWS error comes where throttling stands in the order of precedence: after
  signature and permission. The others change one thing about a call that is answered by the rules.
- `x-amz-retry-after` is in milliseconds: so the standard retry mode of AWS SDKs reads it.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from sidecar.emulator import control_fields as read
from sidecar.emulator.behaviour import Algorithm, Behaviour, Claims
from sidecar.emulator.license_behaviour import CheckoutAnswer
from sidecar.emulator.refusals import BadCommand, Refusal, refusal
from sidecar.emulator.saas_behaviour import BatchAnswer

ANY_OPERATION: Final = "*"

REPLACING: Final[Mapping[str, str]] = MappingProxyType(
    {
        "drop_before": "closes the connection without doing or answering anything",
        "hang": "never answers, until the client goes or the emulator stops",
        "empty_200": "answers 200 without a body, and does nothing",
        "html_200": "answers 200 with a web page, and does nothing",
        "html_503": "answers 503 with a web page, and does nothing",
    }
)
AROUND: Final[Mapping[str, str]] = MappingProxyType(
    {
        "drop_after": "does the work, remembers it, then closes the connection without answering",
        "slow": "does the work, then waits `seconds` (30) before it answers",
        "expired_token": "refuses the credentials: ExpiredTokenException",
        "clock_skew": "judges the call by a clock `seconds` (3600) ahead; a negative number is behind",
    }
)
FORGING: Final[Mapping[str, Mapping[str, object]]] = MappingProxyType(
    {
        "wrong_nonce": {"wrong_nonce": True},
        "wrong_product": {"wrong_product": True},
        "wrong_version": {"wrong_version": True},
        "wrong_key": {"wrong_key": True},
        "truncated": {"truncated": True},
        "missing_signature": {"body": "missing_signature"},
        "missing_record_id": {"body": "missing_record_id"},
        "no_iat": {"iat": False},
        "exp_past": {"exp_past": True},
        "nbf_ahead": {"nbf_ahead": True},
        "version_as_text": {"version_as_text": True},
        **{f"claims_{claims.value}": {"claims": claims.value} for claims in Claims},
        **{f"alg_{each.value.lower()}": {"algorithm": each.value} for each in Algorithm},
        **{
            f"checkout_{each.value}": {"license_answer": each.value}
            for each in CheckoutAnswer
            if each is not CheckoutAnswer.WHOLE
        },
        "batch_unprocessed": {"saas_unprocessed_share": 1.0},
        **{f"batch_{each.value}": {"saas_answer": each.value} for each in BatchAnswer if each is not BatchAnswer.WHOLE},
    }
)
"""Faults of a success: the settings of `Behaviour` they change for one call. `iat_offset` takes seconds."""

IAT_OFFSET: Final = "iat_offset"
SECONDS: Final[Mapping[str, float]] = MappingProxyType({"slow": 30.0, "clock_skew": 3600.0, IAT_OFFSET: 3600.0})
"""Kinds that take `seconds`, each with what it is when left out."""

_ERROR_CODE = re.compile(r"[A-Z][A-Za-z0-9.]*")
_ORDER = re.compile(r"(?P<operation>[^:]+):(?P<kind>[^=*]+)(=(?P<value>[^*]+))?(\*(?P<times>.+))?")


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One kind of fault for one operation, a number of times."""

    operation: str
    kind: str
    """An AWS error code, or one of the kinds above."""
    times: int | None = 1
    """None: always."""
    seconds: float = 0.0
    message: str | None = None
    status: int | None = None
    retry_after: int | None = None
    """Milliseconds."""

    @property
    def is_error(self) -> bool:
        """Return whether the kind is an AWS error code: those alone start with a capital."""
        return self.kind[0].isupper()

    def as_refusal(self) -> Refusal:
        """Return the AWS error it stands for."""
        return refusal(self.kind, self.message, status=self.status, retry_after=self.retry_after)

    def bend(self, behaviour: Behaviour) -> Behaviour:
        """Return the behaviour with this fault."""
        if self.kind == IAT_OFFSET:
            return behaviour.changed({"iat_offset_seconds": self.seconds})
        return behaviour.changed(FORGING.get(self.kind, {}))

    def as_json(self) -> dict[str, object]:
        return {
            "operation": self.operation,
            "kind": self.kind,
            "times": "forever" if self.times is None else self.times,
            **({"seconds": self.seconds} if self.kind in SECONDS else {}),
        }


class FaultQueue:
    """Faults that are still queued, oldest first. Safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[tuple[Fault, int | None]] = []

    def add(self, fault: Fault) -> None:
        with self._lock:
            self._waiting.append((fault, fault.times))

    def clear(self) -> None:
        with self._lock:
            self._waiting.clear()

    def take(self, operation: str, *, errors: bool) -> Fault | None:
        """Return the call's fault, used up by one, if it is an AWS error (or is not, as asked)."""
        with self._lock:
            for place, (fault, left) in enumerate(self._waiting):
                if fault.operation not in (operation, ANY_OPERATION):
                    continue
                if fault.is_error != errors:
                    return None
                if left == 1:
                    del self._waiting[place]
                elif left is not None:
                    self._waiting[place] = (fault, left - 1)
                return fault
        return None

    def as_json(self) -> list[dict[str, object]]:
        """Return what is left, with `times` counted down."""
        with self._lock:
            return [{**fault.as_json(), "times": "forever" if left is None else left} for fault, left in self._waiting]


def from_json(body: Mapping[str, object], operations: Collection[str]) -> Fault:
    """Return a fault from an admin body. Raises BadCommand, which names the field."""
    read.only(body, {"operation", "kind", "times", "seconds", "message", "status", "retry_after"})
    operation, kind = read.text(body, "operation"), read.text(body, "kind")
    if operation not in (*operations, ANY_OPERATION):
        raise BadCommand(f"operation: must be one of {', '.join(operations)} or {ANY_OPERATION}")
    if kind is None or not (_known(kind) or _ERROR_CODE.fullmatch(kind)):
        raise BadCommand(f"kind: must be an AWS error code or one of {', '.join(kinds())}")
    for name in ("message", "status", "retry_after"):
        if body.get(name) is not None and _known(kind):
            raise BadCommand(f"{name}: only an AWS error takes it, not {kind}")
    if body.get("seconds") is not None and kind not in SECONDS:
        raise BadCommand(f"seconds: only {', '.join(SECONDS)} take it, not {kind}")
    return Fault(
        operation=operation,
        kind=kind,
        times=_times(body),
        seconds=_seconds(body, kind),
        message=read.text(body, "message"),
        status=_status(body),
        retry_after=read.whole(body, "retry_after", least=0),
    )


def from_text(order: str, operations: Collection[str]) -> Fault:
    """Return a fault from `OPERATION:KIND[=VALUE][*TIMES]`; VALUE is seconds, or an error's retry_after in ms."""
    found = _ORDER.fullmatch(order.strip())
    if found is None:
        raise BadCommand(f"fault {order!r}: must read OPERATION:KIND[=VALUE][*TIMES]")
    body: dict[str, object] = {"operation": found["operation"], "kind": found["kind"]}
    if found["value"] is not None:
        body["seconds" if _known(found["kind"]) else "retry_after"] = _figure(found["value"])
    if found["times"] is not None:
        body["times"] = _figure(found["times"])
    return from_json(body, operations)


def kinds() -> tuple[str, ...]:
    """Return every kind but the AWS error codes."""
    return (*REPLACING, *AROUND, *FORGING, IAT_OFFSET)


def _known(kind: str) -> bool:
    return kind in kinds()


def _times(body: Mapping[str, object]) -> int | None:
    if body.get("times") == "forever":
        return None
    if isinstance(body.get("times"), str):
        raise BadCommand("times: must be a whole number of at least 1, or forever")
    times = read.whole(body, "times", least=1)
    return 1 if times is None else times


def _seconds(body: Mapping[str, object], kind: str) -> float:
    seconds = read.number(body, "seconds")
    if seconds is None:
        return SECONDS.get(kind, 0.0)
    if kind == "slow" and seconds < 0:
        raise BadCommand("seconds: must not be negative for slow")
    return seconds


def _status(body: Mapping[str, object]) -> int | None:
    status = read.whole(body, "status", least=400)
    if status is not None and status > 599:
        raise BadCommand("status: must be 400 to 599")
    return status


def _figure(text: str) -> int | float | str:
    """Return a number where the text is one."""
    try:
        return int(text) if text.lstrip("-").isdigit() else float(text)
    except ValueError:
        return text
