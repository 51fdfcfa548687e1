"""Tell what the service-account token of IRSA says of itself: its audience, and when it expires.

Invariants:
- The token is not verified, and nothing else of it is shown.

Sources: kubernetes.io, "Managing Service Accounts" (claims `aud`, `exp`); EKS user guide, "IAM roles for service
accounts" (audience sts.amazonaws.com).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Self

from sidecar.clock import iso
from sidecar.platform import eks
from sidecar.quick_dataclasses import dataclass

AUDIENCE: Final = "sts.amazonaws.com"
"""What STS wants; in China with `.cn` behind it."""


@dataclass(frozen=True, kw_only=True)
class WebIdentity:
    """What a token says of itself."""

    audiences: tuple[str, ...] = ()
    expires_at: datetime | None = None

    @classmethod
    def of(cls, path: str) -> Self | None:
        """Return what the token in a file says; None where it says nothing that can be read."""
        claims = eks.token_claims(Path(path)) if path else {}
        audience = claims.get("aud")
        audiences = audience if isinstance(audience, list) else [audience]
        found = tuple(one for one in audiences if isinstance(one, str))
        return cls(audiences=found, expires_at=_instant(claims)) if found else None

    @property
    def for_sts(self) -> bool:
        """Whether STS is among its audiences."""
        return any(one.startswith(AUDIENCE) for one in self.audiences)

    def __str__(self) -> str:
        until = f", valid until {iso(self.expires_at)}" if self.expires_at else ""
        return f"its token is for {' and '.join(self.audiences)}{until}"


def _instant(claims: Mapping[str, Any]) -> datetime | None:
    try:
        return datetime.fromtimestamp(int(claims["exp"]), UTC)
    except (LookupError, TypeError, ValueError, OverflowError, OSError):
        return None
