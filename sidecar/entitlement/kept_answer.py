"""Verify a kept answer, so that it may open the gate again while AWS cannot be reached.

After a restart, what AWS signed before still says that this workload may run: AWS documents that a workload which
registered is not refused later.

Invariants:
- It must verify again, with the key it verified with then, for the same product code.
- Its nonce must be bound to this workload; a copy in another workload opens nothing.
- Its age does not matter: the nonce binds it to a workload, and a workload does not come back.
- It is a secret like the token inside; only the short-lived child reads and writes it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final

from sidecar.entitlement import token
from sidecar.entitlement.registration import (
    ProductCode,
    PublicKeyVersion,
    Registration,
    VerifiedRegistration,
    WorkloadId,
    nonce_fits,
)
from sidecar.errors import TokenRejected
from sidecar.quick_dataclasses import asdict, dataclass, field
from sidecar.settings import PublicKey

FORMAT: Final = 1
HINT: Final = "The kept answer opens nothing; AWS has to be asked."


@dataclass(frozen=True, kw_only=True)
class KeptAnswer:
    """An answer as it lies on disk."""

    product_code: str
    public_key_version: int
    nonce: str
    token: str = field(repr=False)

    def as_text(self) -> str:
        """Return one line of JSON. Secret."""
        return json.dumps({"format": FORMAT, **asdict(self)}) + "\n"


def from_text(text: str) -> KeptAnswer:
    """Raises TokenRejected `kept_unreadable`."""
    try:
        found = json.loads(text)
        if found.pop("format") != FORMAT:
            raise ValueError("another format")
        kept = KeptAnswer(**found)
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError) as exc:
        raise TokenRejected("kept_unreadable", HINT) from exc
    if not isinstance(kept.nonce, str) or not isinstance(kept.product_code, str):
        raise TokenRejected("kept_unreadable", HINT)
    return kept


def verify_kept(
    kept: KeptAnswer, workload: WorkloadId, product_code: ProductCode, keys: Sequence[PublicKey]
) -> VerifiedRegistration:
    """Prove again that AWS let this very workload run. Raises TokenRejected."""
    if kept.product_code != product_code:
        raise TokenRejected("kept_other_product", HINT)
    key = next((one for one in keys if one.version == kept.public_key_version), None)
    if key is None:
        raise TokenRejected("kept_other_key_version", HINT)
    if not nonce_fits(kept.nonce, workload):
        raise TokenRejected("kept_other_workload", HINT)
    asked = Registration(product_code=product_code, public_key_version=PublicKeyVersion(key.version), nonce=kept.nonce)
    return token.verify(kept.token, token.public_key(key.pem), asked, now=None)
