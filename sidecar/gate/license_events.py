"""Log what happens to seats and to the contract's end.

Invariants:
- A failed extension is told once for each reason, and a loss once; an extension that works again ends both.
- No event has a consumption token.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from sidecar import log
from sidecar.clock import iso
from sidecar.entitlement.contract_end import Stage
from sidecar.entitlement.seat_schedule import SeatFault
from sidecar.gate.held_seats import Seat

FAILING: Final = "The seat is held until it expires, and is extended as soon as AWS answers."
ENDING: Final = (
    "Renew the contract in AWS Marketplace. What runs goes on, seats too as long as AWS extends them; after the end AWS"
    " lets no new copy start."
)
ENDED: Final = (
    "The contract is over, as far as GetLicense tells. Renew it in AWS Marketplace; nothing has to be restarted then."
)
LEFT: Final = "The seat comes back by itself when it expires; until then it counts as used."


class LicenseEvents:
    """Logs what is news."""

    def __init__(self, product_sku: str) -> None:
        self._sku = product_sku
        self._told: dict[tuple[str, str, str], str] = {}
        """Seat → reason of the failure that was told last."""
        self._end_told = ""
        """Why the contract's end is not known, as it was told last."""

    def renewed(self, seat: Seat, *, again: bool, request_id: str) -> None:
        """Log an extension, or that the seat is held again."""
        self._told.pop(seat.held.key, None)
        fields = self._of(seat) | {"expires_at": iso(seat.held.expires_at), "aws_request_id": request_id or None}
        if again:
            log.event("seat.taken_again", **fields)
        else:
            log.event("seat.extended", **fields)

    def failed(self, seat: Seat, fault: SeatFault, now: datetime) -> None:
        """Log that a seat was not extended; the same reason once."""
        if self._told.get(seat.held.key) == fault.reason:
            return
        self._told[seat.held.key] = fault.reason
        ask_at = seat.state.ask_at
        log.warn(
            "seat.extension_failed",
            **self._of(seat),
            reason=fault.reason,
            hint=f"{fault.hint} {FAILING}",
            aws_error=fault.code or None,
            expires_at=iso(seat.state.expires_at),
            retry_in_seconds=round((ask_at - now).total_seconds(), 1) if ask_at else None,
        )

    def lost(self, seat: Seat, policy: str, hint: str) -> None:
        """Log that a seat is lost. `policy`: what is set for that."""
        fault = seat.state.fault
        log.error(
            "seat.lost",
            **self._of(seat),
            reason=fault.reason if fault else None,
            hint=hint,
            aws_error=fault.code or None if fault else None,
            expired_at=iso(seat.state.expires_at),
            on_seat_lost=policy,
        )

    def checked_in(self, seat: Seat, already: bool) -> None:
        """Log that a seat is free again. `already`: AWS knew it no more."""
        log.event("seat.checked_in", **self._of(seat), already=already or None)

    def left(self, seat: Seat, reason: str) -> None:
        """Log that a seat could not be checked in at the end, or is kept on purpose."""
        log.warn("seat.left", **self._of(seat), reason=reason, hint=LEFT, expires_at=iso(seat.state.expires_at))

    def clock_jumped(self, seconds: float) -> None:
        """Log that AWS is asked about the seats because the clock jumped."""
        log.warn("seat.clock_jumped", seconds=round(seconds, 1))

    def not_kept(self, fault: str) -> None:
        """Log that the seats' file could not be written: a restart would take other seats."""
        log.warn("seat.save_failed", fault=fault)

    def term(self, stage: Stage, ends_at: datetime | None, *, renewed: bool) -> None:
        """Log how near the contract's end is, or that the contract was extended."""
        ends = iso(ends_at) if ends_at else None
        if renewed:
            log.event("contract.renewed", product_sku=self._sku, ends_at=ends)
        if stage is Stage.ENDED:
            log.error("contract.ended", product_sku=self._sku, ends_at=ends, hint=ENDED)
        elif stage is not Stage.FAR:
            log.warn("contract.ending", product_sku=self._sku, ends_at=ends, within_days=int(stage), hint=ENDING)

    def term_unknown(self, reason: str, hint: str) -> None:
        """Log once why the contract's end is not known."""
        if self._end_told != reason:
            self._end_told = reason
            log.event("contract.end_unknown", product_sku=self._sku, reason=reason, hint=hint)

    def _of(self, seat: Seat) -> dict[str, object]:
        one = seat.held
        return {
            "product_sku": self._sku,
            "license": one.name,
            "unit": one.unit,
            "value": one.value or None,
            "license_arn": one.license_arn or None,
        }
