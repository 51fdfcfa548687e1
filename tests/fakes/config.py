"""Make settings and check requests."""

from __future__ import annotations

from pathlib import Path

from sidecar.gate.messages import CheckRequest
from sidecar.settings import Settings
from tests.fakes.keys import public_pem

PRODUCT = "8f7k2m1q9w3e5r7t0y2u4i6o8"
NOWHERE = Path("/nonexistent/product.yaml")
"""Where no manifest is."""


def settings(**env: str) -> Settings:
    """Settings that are good, with `SIDECAR_…` changed as given in lower case."""
    given = {"product_code": PRODUCT, "public_key": public_pem(), "termination_log": "/nonexistent/log"} | env
    return Settings.load({f"SIDECAR_{name.upper()}": value for name, value in given.items()}, {}, NOWHERE)


def check_request(of: Settings | None = None) -> CheckRequest:
    """Return the request of a check with these settings."""
    return CheckRequest.of(of or settings(), spare_workload_id="spare")
