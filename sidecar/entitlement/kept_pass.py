"""Check a kept pass, so that it may open the gate again while AWS cannot be reached.

`MeterUsage` signs nothing, so what is kept is our own note: AWS took usage of these dimensions from this workload, in a
dry run or as a real record.

Invariants:
- It holds for the same workload and product only; a digest over its content binds it, so that a copy, or a copy with
  other content, opens nothing elsewhere.
- Every dimension that is set now must have been taken then: a new one was never asked about. A dimension that is no
  longer set does no harm.
- Its age does not matter: it is bound to a workload, and a workload does not come back.
- It is a note and no proof: any process that may write to the state directory may write it. It holds no secret.
- A record that settled is added to what is known; a dry run replaces it.

Sources: AWS Marketplace seller guide, "Configuring custom metering with MeterUsage".
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from enum import Enum
from typing import Final

from sidecar.digests import compare_digest, sha256
from sidecar.entitlement.registration import ProductCode, WorkloadId
from sidecar.errors import TokenRejected
from sidecar.quick_dataclasses import dataclass

FORMAT: Final = 1
DOMAIN: Final = "entitlement-sidecar kept pass 1"
"""Keeps this digest from meaning anything elsewhere."""
HINT: Final = "The kept pass opens nothing; AWS has to be asked."


class Kind(Enum):
    """How AWS took the usage."""

    DRY_RUN = "dry_run"
    SETTLED = "settled"
    """A real record has its metering record id."""


@dataclass(frozen=True, kw_only=True)
class KeptPass:
    """A pass as it lies on disk."""

    kind: Kind
    product_code: str
    dimensions: tuple[str, ...]
    """Names, in order."""
    binding: str
    """A digest of all this and the workload."""

    def as_text(self) -> str:
        """Return one line of JSON."""
        said = {
            "kind": self.kind.value,
            "product_code": self.product_code,
            "dimensions": self.dimensions,
            "binding": self.binding,
        }
        return json.dumps({"format": FORMAT, **said}) + "\n"


def passed(kind: Kind, workload: WorkloadId, product_code: ProductCode, dimensions: Iterable[str]) -> KeptPass:
    """Return what to keep once AWS took usage of `dimensions`."""
    names = tuple(sorted(set(dimensions)))
    binding = _binding(kind, workload, product_code, names)
    return KeptPass(kind=kind, product_code=product_code, dimensions=names, binding=binding)


def settled(
    before: str | None, workload: WorkloadId, product_code: ProductCode, dimensions: Iterable[str]
) -> str | None:
    """Return the file's new text once records of `dimensions` have settled; None where it says so already.

    `before` is its text until now. What that proves for this workload and product stays.
    """
    names, known = set(dimensions), _known(before, workload, product_code)
    if known and known.kind is Kind.SETTLED and names <= set(known.dimensions):
        return None
    return passed(Kind.SETTLED, workload, product_code, names | set(known.dimensions if known else ())).as_text()


def from_text(text: str) -> KeptPass:
    """Raises TokenRejected `kept_unreadable`."""
    try:
        found = json.loads(text)
        if found.pop("format") != FORMAT:
            raise ValueError("another format")
        kept = KeptPass(**{**found, "kind": Kind(found["kind"]), "dimensions": tuple(found["dimensions"])})
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError) as exc:
        raise TokenRejected("kept_unreadable", HINT) from exc
    if not all(isinstance(one, str) for one in (kept.product_code, kept.binding, *kept.dimensions)):
        raise TokenRejected("kept_unreadable", HINT)
    return kept


def verify_kept(kept: KeptPass, workload: WorkloadId, product_code: ProductCode, dimensions: Iterable[str]) -> None:
    """Raise TokenRejected unless AWS accepted all of this from this very workload before."""
    if kept.product_code != product_code:
        raise TokenRejected("kept_other_product", HINT)
    wanted = _binding(kept.kind, workload, kept.product_code, kept.dimensions)
    if not compare_digest(kept.binding.encode("utf-8", "surrogatepass"), wanted.encode()):
        raise TokenRejected("kept_other_workload", HINT)
    if not set(dimensions) <= set(kept.dimensions):
        raise TokenRejected("kept_other_dimensions", HINT)


def _known(text: str | None, workload: WorkloadId, product_code: ProductCode) -> KeptPass | None:
    """Return what an earlier text proves, if anything."""
    try:
        kept = from_text(text or "")
        verify_kept(kept, workload, product_code, ())
    except TokenRejected:
        return None
    return kept


def _binding(kind: Kind, workload: str, product_code: str, dimensions: tuple[str, ...]) -> str:
    said = json.dumps([DOMAIN, kind.value, workload, product_code, dimensions])
    return sha256(said.encode()).hexdigest()
