"""A sidecar whose product is sold by contract, and what is done to the emulator around it."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from sidecar.emulator import Emulator
from tests.acceptance.billing.metered import SLOW, Metered
from tests.acceptance.support import eventually

SKU: Final = "prod-4kq7example2x"
LICENSES: Final = json.dumps([{"name": "seats", "take": "seat"}])
OUTAGE: Final = "ServerInternalException"
CALLS: Final = ("CheckoutLicense", "ExtendLicenseConsumption")


class Contracted(Metered):
    """A sidecar whose product is sold by contract, with one seat for each copy."""

    def __init__(self, aws: Emulator, directory: Path, **given: str | None) -> None:
        directory.mkdir(exist_ok=True)
        contract: dict[str, str | None] = {
            "SIDECAR_ENTITLEMENT_CHECK": "checkout_license",
            "SIDECAR_PRODUCT_SKU": SKU,
            "SIDECAR_LICENSES": LICENSES,
            "SIDECAR_PUBLIC_KEY": None,
            "SIDECAR_DIMENSIONS": None,
            "SIDECAR_REASK_SECONDS": "1",
        }
        super().__init__(aws, directory, **(contract | given))

    def opened(self) -> Contracted:
        self.shows("entitled", SLOW)
        eventually(self.seats, SLOW)
        return self

    def licenses(self) -> dict[str, Any]:
        found = self.api("GET /v1/status")[1]["licenses"]
        assert isinstance(found, dict)
        return found

    def seats(self) -> list[dict[str, Any]]:
        found = self.licenses()["seats"]
        assert isinstance(found, list)
        return found

    def restarted(self) -> Contracted:
        """Another container of the same pod, on the same volume."""
        return Contracted(self.aws, self.directory, POD_UID=self.pod)


def later(aws: Emulator, **time: float) -> None:
    aws.set_clock(now=aws.clock.now() + timedelta(**time))


def away(aws: Emulator) -> None:
    for operation in CALLS:
        aws.fault(operation, OUTAGE, times=None)


def calls(aws: Emulator, operation: str) -> int:
    return len([one for one in aws.calls() if one.operation == operation])
