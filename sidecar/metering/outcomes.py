"""Define what can come of one MeterUsage call.

`marketplace.meter_usage` finds it out, `decide` says what it means for the record.
"""

from __future__ import annotations

from sidecar.quick_dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Settled:
    """AWS gave a metering record id."""

    record_id: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Refused:
    """An error came back: AWS's code, or the name of the SDK's exception."""

    code: str
    message: str = ""
    """Only tells a bad clock from a bad signature; never kept."""
    retry_after_seconds: float | None = None
    sent: bool = True
    """False where MeterUsage was certainly not called, for example since STS refused credentials."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Unknown:
    """AWS may or may not have billed it: there was no answer, or one without a record id."""

    code: str


Outcome = Settled | Refused | Unknown
