"""Define the settings that `entitlement-sidecar saas` has beside those of `table`.

They are in no manifest: the service runs in the seller's own account, where no one has to be kept from them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from sidecar.settings import parsers
from sidecar.settings.setting import Setting

REGION: Final = re.compile(r"[a-z]{2,4}(-[a-z]+){1,3}-[0-9]{1,2}")
SCHEMES: Final = ("sqlite", "postgresql")


def product_codes(value: object) -> tuple[str, ...]:
    """Return product codes, comma-separated, each once."""
    codes = tuple(parsers.product_code(one.strip()) for one in parsers.text(value).split(","))
    if len(set(codes)) != len(codes):
        raise ValueError(f"{value!r} names a product twice.")
    return codes


def region(value: object) -> str:
    """Return a region's name."""
    name = parsers.text(value)
    if not REGION.fullmatch(name):
        raise ValueError(f"{name!r} is not a region's name: letters, digits and hyphens, as in us-east-1.")
    return name


def database_url(value: object) -> str:
    """Return a database's URL. The error never repeats it: it may hold a password."""
    url = parsers.text(value)
    scheme = url.partition(":")[0]
    try:
        found = urlsplit(url)
    except ValueError:
        found = None
    if scheme not in SCHEMES or found is None:
        raise ValueError("is no URL of a database: sqlite:///FILE or postgresql://USER:PASSWORD@HOST:PORT/NAME.")
    if scheme == "sqlite" and (found.netloc or not found.path.startswith("//")):
        raise ValueError("is no absolute path of a file: sqlite:////var/lib/saas.sqlite3, with four slashes.")
    if scheme == "postgresql" and url.count("@") > 1:  # what follows the first would be shown as the host
        raise ValueError("holds more than one @: write an @ of the user or the password as %40.")
    if scheme == "postgresql" and not found.path.strip("/"):
        raise ValueError("names no database: postgresql://USER:PASSWORD@HOST:PORT/NAME.")
    return url


SAAS_SETTINGS: Final[tuple[Setting, ...]] = (
    Setting(
        name="database_url",
        meaning="`saas` only: where customers and usage are kept: `sqlite:///FILE`, for one replica, or"
        " `postgresql://USER:PASSWORD@HOST:PORT/NAME`, for any number",
        example="postgresql://saas@db.internal/saas",
        default_text="`saas.sqlite3` in the state directory",
        parse=database_url,
        secret=True,
    ),
    Setting(
        name="saas_products",
        meaning="`saas` only: product codes, comma-separated, whose customers are resolved and billed; a token of"
        " another product is refused",
        example="8f7k2m1q9w3e5r7t0y2u4i6o8",
        default_text="`SIDECAR_PRODUCT_CODE`",
        parse=product_codes,
    ),
    Setting(
        name="saas_region",
        meaning="`saas` only: region whose metering service is called. AWS counts a record once in each region, so it"
        " is kept with each record: a change is for new hours alone",
        example="us-east-1",
        default="us-east-1",
        parse=region,
    ),
    Setting(
        name="saas_queue_url",
        meaning="`saas` only: URL of the SQS queue that gets the product's notices, from SNS or from EventBridge",
        example="https://sqs.us-east-1.amazonaws.com/210987654321/marketplace-notices",
        default_text="none: notices come to `POST /v1/notices`",
        parse=parsers.url,
    ),
)

SAAS_BY_NAME: Final[Mapping[str, Setting]] = {setting.name: setting for setting in SAAS_SETTINGS}

OF_A_SIDECAR: Final = (
    "public_key",
    "public_key_file",
    "public_key_version",
    "entitlement_check",
    "sources",
    "product_sku",
    "licenses",
    "on_seat_lost",
    "on_denied",
    "on_first_meter_denied",
    "on_metering_overdue",
    "metering_overdue_seconds",
    "on_ledger_unusable",
    "startup_retry_seconds",
    "reask_seconds",
    "workload_id",
    "platform",
    "termination_log",
)
"""Settings of a sidecar that the service does not read: it refuses them, so that no one relies on them."""
