"""Draft the billing adjustments that would give back what AWS billed too much. Sends nothing.

Invariants:
- One entry for each account, agreement, currency and month, since an entry is about one invoice.
- What is unknown is null and named in `review`: a draft is completed by a person, never guessed. AWS refuses null, so a
  draft that nobody completed cannot be sent by mistake.
- An amount is cut to eight decimal places, never rounded up: no more is given back than was billed.
- The same findings make the same client token, so that a request sent twice counts once.

Sources: AWS Marketplace API Reference, Agreement Service, BatchCreateBillingAdjustmentRequest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from decimal import ROUND_DOWN, Decimal, InvalidOperation, localcontext
from itertools import groupby
from typing import Final

from sidecar.audit.overbilled import Overbilled
from sidecar.audit.rows import units
from sidecar.metering.quantities import MICROS_PER_UNIT, plain

OPERATION: Final = "BatchCreateBillingAdjustmentRequest"
ENTRIES: Final = "billingAdjustmentRequestEntries"
REASON: Final = "INCORRECT_METERING"
AMOUNT_PLACES: Final = Decimal("0.00000001")
DESCRIPTION_MAX: Final = 500
EVIDENCE_MAX: Final = 50
"""Findings that are listed of one entry."""
MADE_BY: Final = "entitlement-sidecar usage reconcile"
NOTE: Final = (
    "A draft for the seller to review. Nothing was sent. Complete what is null, check each amount against the invoice,"
    " and send `request` with the AWS Marketplace Agreement Service, from the seller's account."
)
UNKNOWN: Final[Mapping[str, str]] = {
    "agreementId": "The agreement is not in the feed. Look it up in the seller's portal or with SearchAgreements.",
    "originalInvoiceId": "No input has invoices. Take the id of that month's invoice from the Billing Event data feed.",
    "adjustmentAmount": "The price is not known. Multiply the quantity by the price of the offer.",
    "currencyCode": "The currency is not known. It is that of the offer.",
}
"""Field that is null → how to complete it."""


def draft(found: Iterable[Overbilled]) -> dict[str, object]:
    """Return the document for what AWS billed too much, which comes by month, account, agreement and currency."""
    entries, review = [], []
    for rows in _invoices(found):
        entry, about = _entry(rows)
        entries.append(entry)
        review.append({"entry": len(entries), **about})
    return {
        "made_by": MADE_BY,
        "operation": OPERATION,
        "sent": False,
        "note": NOTE,
        "request": {ENTRIES: entries},
        "review": review,
    }


def _invoices(found: Iterable[Overbilled]) -> Iterator[list[Overbilled]]:
    groups = groupby(found, key=lambda row: (row.month, row.account, row.agreement, row.currency))
    return (list(rows) for _, rows in groups)


def _entry(rows: list[Overbilled]) -> tuple[dict[str, str | None], dict[str, object]]:
    first = rows[0]
    entry: dict[str, str | None] = {
        "agreementId": first.agreement or None,
        "originalInvoiceId": None,
        "adjustmentAmount": _amount(rows),
        "currencyCode": first.currency or None,
        "adjustmentReasonCode": REASON,
        "description": _description(rows),
        "clientToken": _token(rows),
    }
    missing = {name: UNKNOWN[name] for name, value in entry.items() if value is None}
    about: dict[str, object] = {
        "month": first.month,
        "account": first.account or None,
        "missing": missing,
        "notes": sorted({row.note for row in rows if row.note}),
        "findings": [_finding(row) for row in rows[:EVIDENCE_MAX]],
        "findings_left_out": max(0, len(rows) - EVIDENCE_MAX),
    }
    return entry, about


def _amount(rows: Iterable[Overbilled]) -> str | None:
    """Return the amount, exact and then cut; None where a price is unknown or is none."""
    with localcontext(prec=200):
        total = Decimal(0)
        for row in rows:
            try:
                total += Decimal(int(row.micros)) / MICROS_PER_UNIT * Decimal(row.rate)
            except InvalidOperation:
                return None
        if not total.is_finite() or total <= 0:
            return None
        return plain(total.quantize(AMOUNT_PLACES, ROUND_DOWN))


def _description(rows: list[Overbilled]) -> str:
    quantities: dict[str, int] = {}
    for row in rows:
        quantities[row.dimension] = quantities.get(row.dimension, 0) + int(row.micros)
    parts = ", ".join(f"{units(micros)} of {dimension}" for dimension, micros in sorted(quantities.items()))
    words = f"Billed more than was used in {rows[0].month}: {parts}."
    return words if len(words) <= DESCRIPTION_MAX else words[: DESCRIPTION_MAX - 1] + "…"


def _token(rows: Iterable[Overbilled]) -> str:
    digest = hashlib.sha256()
    for row in rows:
        digest.update("\x1f".join((*row[:-1], "\x1e")).encode())
    return f"reconcile-{digest.hexdigest()[:40]}"


def _finding(row: Overbilled) -> dict[str, object]:
    return {
        "when": row.when,
        "dimension": row.dimension,
        "kind": row.kind,
        "quantity": units(int(row.micros)),
        "rate": row.rate or None,
        "metering_record_id": row.record_id or None,
    }
