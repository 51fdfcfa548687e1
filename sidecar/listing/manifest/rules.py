"""List the rules for a product manifest.

Sources: AWS Marketplace seller guide, "Container products billing, metering, and licensing integrations".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sidecar.listing.rule import BILLING, Rule, Severity
from sidecar.settings.manifest_risks import RiskKind

METER_USAGE: Final = (
    "https://docs.aws.amazon.com/marketplace/latest/APIReference/API_marketplace-metering_MeterUsage.html"
)

VALID: Final = Rule(
    id="manifest-valid",
    severity=Severity.ERROR,
    title="The product manifest can be read, and each of its fields is valid",
    aws="A rule of the sidecar: with any other manifest it does not start. `manifest check` says the same.",
    source=BILLING,
    fix="Correct what is named; docs/reference/product-manifest.schema.json is the form.",
)
KEY_OPEN: Final = Rule(
    id="manifest-key-open",
    severity=Severity.WARNING,
    title="A public key is sealed for each product",
    aws="AWS strongly recommends that customers cannot alter or override metering. With a key of their own they could"
    " sign an answer themselves.",
    source=BILLING,
    fix="Write the key that the AWS Marketplace Management Portal shows, with its version, into public_keys.",
)
CHECK_OPEN: Final = Rule(
    id="manifest-check-open",
    severity=Severity.WARNING,
    title="The entitlement check of each product is sealed",
    aws="AWS strongly recommends that customers cannot alter or override metering. Where the check is open, they may"
    " choose one whose answer AWS does not sign.",
    source=BILLING,
    fix="Seal entitlement_check: register_usage for hourly and monthly pricing, meter_usage for custom dimensions,"
    " checkout_license for contracts.",
)
UNSIGNED: Final = Rule(
    id="manifest-unsigned-check",
    severity=Severity.NOTE,
    title="The check is meter_usage or checkout_license, and AWS signs no answer to it that can be verified",
    aws="The answer of MeterUsage has no signature, and there is no public key for that of CheckoutLicense; the answer"
    " of RegisterUsage is signed with the product's key.",
    source=METER_USAGE,
    fix="Nothing where the product sells custom dimensions or contracts; register_usage for hourly and monthly"
    " pricing.",
)
LICENSES_OPEN: Final = Rule(
    id="manifest-licenses-open",
    severity=Severity.WARNING,
    title="Product ID and licenses of a product sold by contract are sealed",
    aws="AWS strongly recommends that customers cannot alter or override metering. Where they are open, a customer may"
    " ask for another contract, or for less than the workload needs.",
    source=BILLING,
    fix="Seal product_sku and licenses: write them into the product, or beside products.",
)
DIMENSIONS_OPEN: Final = Rule(
    id="manifest-dimensions-open",
    severity=Severity.NOTE,
    title="The settings choose the dimensions of a product",
    aws="AWS strongly recommends that customers cannot alter or override metering. A product without"
    " dimensions may seal an empty list.",
    source=BILLING,
    fix="Seal dimensions: a list of those of the listing, or [] where nothing is metered.",
)
ENDPOINT_OVERRIDE: Final = Rule(
    id="manifest-endpoint-override",
    severity=Severity.ERROR,
    title="No other server than AWS's may answer",
    aws="AWS strongly recommends that customers cannot alter or override metering. allow_endpoint_override is"
    " for tests.",
    source=BILLING,
    fix="Remove allow_endpoint_override.",
)
OPEN_SETTINGS: Final = Rule(
    id="manifest-open-settings",
    severity=Severity.NOTE,
    title="These settings are open to the customer's operator",
    aws="AWS strongly recommends that customers cannot alter or override metering. Most settings say where and how the"
    " sidecar runs, and may stay open.",
    source=BILLING,
    fix="Seal what must not change: write it into the manifest under its name.",
)

OF_RISK: Final[Mapping[RiskKind, Rule]] = {
    RiskKind.KEY_OPEN: KEY_OPEN,
    RiskKind.CHECK_OPEN: CHECK_OPEN,
    RiskKind.UNSIGNED: UNSIGNED,
    RiskKind.DIMENSIONS_OPEN: DIMENSIONS_OPEN,
    RiskKind.LICENSES_OPEN: LICENSES_OPEN,
    RiskKind.ENDPOINT_OVERRIDE: ENDPOINT_OVERRIDE,
}
RULES: Final[tuple[Rule, ...]] = (
    VALID,
    KEY_OPEN,
    CHECK_OPEN,
    UNSIGNED,
    DIMENSIONS_OPEN,
    LICENSES_OPEN,
    ENDPOINT_OVERRIDE,
    OPEN_SETTINGS,
)
