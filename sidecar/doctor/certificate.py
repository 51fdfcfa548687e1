"""Read whose certificate a server shows, verified or not."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from sidecar.quick_dataclasses import dataclass

CN: Final = "2.5.4.3"
ORGANIZATION: Final = "2.5.4.10"


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """What a certificate says of itself."""

    subject: str
    issuer: str
    begins_at: datetime
    ends_at: datetime


def read(der: bytes) -> Certificate | None:
    """Return what a certificate says; None where it cannot be read."""
    from cryptography import x509

    try:
        found = x509.load_der_x509_certificate(der)
        return Certificate(
            subject=_name(found.subject),
            issuer=_name(found.issuer),
            begins_at=found.not_valid_before_utc,
            ends_at=found.not_valid_after_utc,
        )
    except ValueError:
        return None


def _name(name: object) -> str:
    """Return the common name, and the organization where there is one."""
    attributes = {one.oid.dotted_string: str(one.value) for one in name}  # type: ignore[attr-defined]
    common, organization = attributes.get(CN, ""), attributes.get(ORGANIZATION, "")
    return f"{common} ({organization})" if common and organization else common or organization or "no name"
