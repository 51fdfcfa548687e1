"""Hold the error table as data: code → class, reason and hint, by who gave the answer.

Invariants:
- One row per code and operation; a test compares the rows with botocore's service models, so that an error AWS adds
  fails the build until it has a row.
- Hints are for the operator at 3 a.m.: what to change, where. `{host}`, `{metering_host}`, `{sts_host}`, `{region}`,
  `{role}`, `{partition}`, `{dimension}` are filled in with what was really used.
- Rows of MeterUsage are for a dry run, which has no row where it passes; what an error means for a usage record is
  another table (`metering.dispositions`).
"""

from __future__ import annotations

from typing import Final

from sidecar.entitlement import aws_errors, client_errors, license_access_errors, license_errors
from sidecar.entitlement.answer import ErrorRow

ROWS: Final[tuple[ErrorRow, ...]] = (
    *aws_errors.ROWS,
    *license_errors.ROWS,
    *license_access_errors.ROWS,
    *client_errors.ROWS,
)
