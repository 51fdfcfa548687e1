"""Say what AWS billed too much, and at which price, as far as that is known. Pure.

Invariants:
- A price is known only where the feed has one agreement, currency and rate for the day, Region and dimension.
"""

from __future__ import annotations

from typing import NamedTuple

from sidecar.audit.days import DayBilled
from sidecar.audit.rows import Difference


class Overbilled(NamedTuple):
    """A quantity that AWS billed too much. What is unknown is ""."""

    month: str
    account: str
    agreement: str
    currency: str
    rate: str
    micros: str
    """Text: a sum may be more than a database holds as a number."""
    when: str
    dimension: str
    kind: str
    record_id: str
    note: str


def overbilled_by_hour(found: Difference) -> Overbilled:
    """Return what a difference from CloudTrail says; CloudTrail has no prices."""
    return _overbilled(found, ("", "", ""), "CloudTrail has neither agreement nor price.")


def overbilled_by_day(found: Difference, billed: DayBilled) -> Overbilled:
    """Return what a difference from the feed says."""
    prices = list(billed.prices)
    if len(prices) == 1:
        return _overbilled(found, prices[0], "")
    agreements = ", ".join(sorted({agreement or "none" for agreement, _, _ in prices})[:10])
    note = f"The day has lines of several agreements or prices ({agreements}): which was billed too much is unknown."
    return _overbilled(found, ("", "", ""), note)


def _overbilled(found: Difference, price: tuple[str, str, str], note: str) -> Overbilled:
    agreement, currency, rate = price
    return Overbilled(
        month=found.when[:7],
        account=found.account,
        agreement=agreement,
        currency=currency,
        rate=rate,
        micros=str(found.excess),
        when=found.when,
        dimension=found.dimension,
        kind=found.kind.value,
        record_id=found.record_id,
        note=note,
    )
