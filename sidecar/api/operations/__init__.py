"""List the operations of the product's listener: the source of `GET /openapi.json` and of the reference on HTTP."""

from __future__ import annotations

from typing import Final

from sidecar.api.operations import gate, probes, records, usage
from sidecar.api.operations.operation import Operation

OPERATIONS: Final[tuple[Operation, ...]] = tuple(
    sorted(
        (*probes.OPERATIONS, *gate.OPERATIONS, *usage.OPERATIONS, *records.OPERATIONS),
        key=lambda one: (one.method, one.path),
    )
)
"""Every operation. A test compares them with what router and Flask serve."""
