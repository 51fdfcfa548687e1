"""Decide what the answers of License Manager mean for a contract. Pure.

Invariants:
- Only an answer that allows what was asked for counts: name and unit to the letter, and at least the value. A 200
  without a consumption token, or that allows something else or nothing, is a refusal.
- Each license is asked for by itself: AWS documents no rule for several in one call.
- Every license without a group is needed, and one of each group. A group's licenses are asked for in their order, the
  next one only where AWS allows nothing of the last; any other failure ends the check.
- Drawdowns are not asked for: they are billed as they are used.

Sources: AWS License Manager API Reference, CheckoutLicense, shapes EntitlementData and ISO8601DateTime; AWS
Marketplace seller guide, "Integrating your container products with License Manager".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from sidecar.entitlement.answer import AnsweredBy, ErrorRow
from sidecar.entitlement.classify import classify
from sidecar.quick_dataclasses import dataclass, field
from sidecar.settings import License, Take
from sidecar.settings.licenses import NO_UNIT

NOTHING_ALLOWED: Final = "no_entitlements_allowed"
NOT_IN_ANSWER: Final = "entitlement_not_in_answer"
TRY_NEXT: Final = (NOTHING_ALLOWED, NOT_IN_ANSWER)
"""Reasons after which the next license of a group is asked for."""
UNLIMITED: Final = "0"
"""Asks for a capability without a limit; no other value answers it."""
DIGITS: Final = re.compile(r"[0-9]{1,18}")


@dataclass(frozen=True, kw_only=True)
class Entitlement:
    """A name, unit and value of the contract, as asked for or as allowed."""

    name: str
    unit: str
    value: str
    """Digits; empty where there is none, as for a named feature."""


@dataclass(frozen=True, kw_only=True)
class CheckedOut:
    """CheckoutLicense answered 200. What that allows: `refusal`."""

    allowed: tuple[Entitlement, ...]
    consumption_token: str = field(repr=False)
    """Empty: AWS gave none."""
    expires_at: datetime | None
    """When a provisional checkout runs out; None where AWS gave no instant that can be read."""
    license_arn: str
    region: str
    """The region that answered; extend and check in there."""
    request_id: str


Answer = CheckedOut | ErrorRow
"""A 200, or the row of a failure."""


@dataclass(frozen=True, kw_only=True)
class Ask:
    """This license is to be asked for next."""

    license: License


@dataclass(frozen=True, kw_only=True)
class Granted:
    """AWS allows all that is needed."""

    licenses: tuple[License, ...]
    """Those that it allowed: of each group one."""


@dataclass(frozen=True, kw_only=True)
class Refused:
    """AWS does not allow all that is needed, or could not be asked."""

    license: License
    row: ErrorRow
    group: tuple[License, ...]
    """All that were asked for in its place."""


Verdict = Ask | Granted | Refused


def asked(license: License) -> Entitlement:
    """Return what is asked of AWS for a license."""
    return Entitlement(name=license.name, unit=license.unit, value=license.value)


def groups(licenses: Iterable[License]) -> tuple[tuple[License, ...], ...]:
    """Return the licenses of which one each is needed, in the order of their first; a drawdown is in none."""
    found: dict[object, list[License]] = {}
    for one in licenses:
        if one.take is not Take.DRAWDOWN:
            found.setdefault(one.any_of or one, []).append(one)
    return tuple(map(tuple, found.values()))


def verdict(licenses: Sequence[License], answers: Mapping[License, Answer]) -> Verdict:
    """Return what the answers so far come to: the license to ask for next, or how the check ends.

    The same license and answers give the same verdict each time.
    """
    granted: list[License] = []
    for group in groups(licenses):
        found = _of_group(group, answers)
        if not isinstance(found, License):
            return found
        granted.append(found)
    return Granted(licenses=tuple(granted))


def refusal(license: License, found: CheckedOut) -> ErrorRow | None:
    """Return why a 200 allows not what was asked for; None where it does."""
    if found.consumption_token and allows(asked(license), found.allowed):
        return None
    return classify(NOT_IN_ANSWER, AnsweredBy.CHECKOUT_LICENSE)


def allows(wanted: Entitlement, allowed: Iterable[Entitlement]) -> bool:
    """Return whether one of the allowed entitlements is the wanted one, with at least its value."""
    return any((one.name, one.unit) == (wanted.name, wanted.unit) and _enough(wanted, one.value) for one in allowed)


def read_instant(value: object) -> datetime | None:
    """Return an instant of License Manager's, in UTC: with `Z`, an offset or no zone, which is UTC. None: unreadable.

    The model demands a zone, and AWS's own samples have none.
    """
    if not isinstance(value, str):
        return None
    try:
        found = datetime.fromisoformat(value.strip())
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _of_group(group: tuple[License, ...], answers: Mapping[License, Answer]) -> License | Ask | Refused:
    """Return the license of a group that AWS allowed, or what follows where there is none."""
    rows: list[tuple[License, ErrorRow]] = []
    for one in group:
        if one not in answers:
            return Ask(license=one)
        row = _row(one, answers[one])
        if row is None:
            return one
        rows.append((one, row))
        if row.reason not in TRY_NEXT:
            break
    license, row = rows[-1]
    return Refused(license=license, row=row, group=group)


def _row(license: License, answer: Answer) -> ErrorRow | None:
    return answer if isinstance(answer, ErrorRow) else refusal(license, answer)


def _enough(wanted: Entitlement, value: str) -> bool:
    """Return whether the allowed value answers the wanted one. Of a feature no value counts: AWS may write Enabled."""
    if wanted.unit == NO_UNIT:
        return True
    if not DIGITS.fullmatch(value):
        return False
    return value == UNLIMITED if wanted.value == UNLIMITED else int(value) >= int(wanted.value)


def named(licenses: Iterable[License]) -> Iterator[str]:
    """Yield the licenses as a message names them."""
    for one in licenses:
        yield one.name if one.unit == NO_UNIT else f"{one.value} {one.unit} of {one.name}"
