"""Draft the billing adjustments that would give back what AWS billed too much. Sends nothing.

Invariants:
- One entry for each account, agreement, currency and month, since an entry is about one invoice.
- What is unknown is null and named in `review`: a draft is completed by a person, never guessed. AWS refuses null, so a
  draft that is incomplete cannot be sent by mistake.
- An amount is cut to eight decimal places, never rounded up: no more is given back than was billed.
- The same findings make the same client token, so that a request sent twice counts once.

Sources: AWS Marketplace API Reference, Agreement Service, BatchCreateBillingAdjustmentRequest.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Final

from sidecar.audit.overbilled import Overbilled
from sidecar.audit.rows import units
from sidecar.metering.quantities import EXACT, floor_to, plain
from sidecar.settings.dimensions import PLACES

OPERATION: Final = "BatchCreateBillingAdjustmentRequest"
ENTRIES: Final = "billingAdjustmentRequestEntries"
REASON: Final = "INCORRECT_METERING"
AMOUNT_PLACES: Final = 8
RATE: Final = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,12})?")
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


class Invoice:
    """What was billed too much on one invoice, added up as it comes."""

    def __init__(self, first: Overbilled) -> None:
        self._first, self.key = first, _key(first)
        self._amount: Decimal | None = Decimal(0)
        self._quantities: dict[str, int] = {}
        self._notes: set[str] = set()
        self._digest = hashlib.sha256()
        self._findings: list[dict[str, object]] = []
        self._count = 0

    def add(self, row: Overbilled) -> None:
        """Add a finding."""
        micros = int(row.micros)
        self._amount = _more(self._amount, micros, row.rate)
        self._quantities[row.dimension] = self._quantities.get(row.dimension, 0) + micros
        self._digest.update("\x1f".join((*row[:-1], "\x1e")).encode())
        self._count += 1
        if row.note and len(self._notes) < EVIDENCE_MAX:
            self._notes.add(row.note)
        if len(self._findings) < EVIDENCE_MAX:
            self._findings.append(_finding(row))

    def entry(self) -> dict[str, str | None]:
        """Return the entry of the request."""
        return {
            "agreementId": self._first.agreement or None,
            "originalInvoiceId": None,
            "adjustmentAmount": plain(floor_to(self._amount, AMOUNT_PLACES)) if self._amount else None,
            "currencyCode": self._first.currency or None,
            "adjustmentReasonCode": REASON,
            "description": self._description(),
            "clientToken": f"reconcile-{self._digest.hexdigest()[:40]}",
        }

    def review(self, number: int) -> dict[str, object]:
        """Return what a person should know about the entry of that number."""
        return {
            "entry": number,
            "month": self._first.month,
            "account": self._first.account or None,
            "missing": {name: UNKNOWN[name] for name, value in self.entry().items() if value is None},
            "notes": sorted(self._notes),
            "findings": self._findings,
            "findings_left_out": self._count - len(self._findings),
        }

    def _description(self) -> str:
        parts = ", ".join(f"{units(micros)} of {dimension}" for dimension, micros in sorted(self._quantities.items()))
        words = f"Billed more than was used in {self._first.month}: {parts}."
        return words if len(words) <= DESCRIPTION_MAX else words[: DESCRIPTION_MAX - 1] + "…"


def draft(found: Iterable[Overbilled]) -> dict[str, object]:
    """Return the document for what AWS billed too much, which comes by month, account, agreement and currency."""
    invoices = list(_invoices(found))
    return {
        "made_by": MADE_BY,
        "operation": OPERATION,
        "sent": False,
        "note": NOTE,
        "request": {ENTRIES: [one.entry() for one in invoices]},
        "review": [one.review(number) for number, one in enumerate(invoices, start=1)],
    }


def _invoices(found: Iterable[Overbilled]) -> Iterator[Invoice]:
    invoice: Invoice | None = None
    for row in found:
        if invoice is None or invoice.key != _key(row):
            if invoice is not None:
                yield invoice
            invoice = Invoice(row)
        invoice.add(row)
    if invoice is not None:
        yield invoice


def _key(row: Overbilled) -> tuple[str, str, str, str]:
    return row.month, row.account, row.agreement, row.currency


def _more(amount: Decimal | None, micros: int, rate: str) -> Decimal | None:
    """Return the amount with another one added, exactly; None once a price is unknown or is none."""
    if amount is None or not RATE.fullmatch(rate):
        return None
    return EXACT.fma(Decimal(micros).scaleb(-PLACES), Decimal(rate), amount)


def _finding(row: Overbilled) -> dict[str, object]:
    return {
        "when": row.when,
        "dimension": row.dimension,
        "kind": row.kind,
        "quantity": units(int(row.micros)),
        "rate": row.rate or None,
        "metering_record_id": row.record_id or None,
    }
