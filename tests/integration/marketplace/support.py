"""Sealed requests, and sending them as the short-lived child would."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final

from sidecar.marketplace.client import Marketplace
from sidecar.marketplace.meter_usage import Metered, meter_usage
from sidecar.metering.sealed_request import SealedRequest
from sidecar.quick_dataclasses import replace
from tests.integration.gate.support import KEYS, PRODUCT, REGION, Rig

LAST_HOUR: Final = int(time.time()) // 3600 * 3600 - 1
"""The last second of the hour that went by."""
REQUEST: Final = SealedRequest(
    product_code=PRODUCT,
    dimension="requests",
    timestamp=LAST_HOUR,
    quantity="7",
    decimals=0,
    allocations=(),
    client_token="11111111-2222-5333-8444-555555555555",
)


def sealed(**changed: Any) -> SealedRequest:
    return replace(REQUEST, **changed)


def metered(
    rig: Rig, url: str | None, env: Mapping[str, str] = KEYS, request: SealedRequest = REQUEST, region: str = REGION
) -> Metered:
    """Sent once, in this process."""
    with rig.seen_by_sdk(url, env) as seen:
        return meter_usage(Marketplace(region=region, endpoint_url=url, env=seen), request)
