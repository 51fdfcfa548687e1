"""Name what a product manifest leaves open, and what that allows to the operator of the pod.

Invariants:
- One list for `manifest check` and for `listing check`: both say the same of one manifest.
- A manifest with a risk is valid; what is wrong with it is a Problem of `manifest.read`.

Sources: AWS Marketplace seller guide, "Container products billing, metering, and licensing integrations" (metering that
customers can alter); AWS Marketplace Metering API Reference, MeterUsage (its answer has no signature); AWS License
Manager API Reference, CheckoutLicense (no page has a key for its `SignedToken`).
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import Final

from sidecar.quick_dataclasses import dataclass
from sidecar.settings.choices import EntitlementCheck
from sidecar.settings.manifest import Manifest, Product, has_key

UNSIGNED_CHECKS: Final = (EntitlementCheck.METER_USAGE.value, EntitlementCheck.CHECKOUT_LICENSE.value)
"""Checks whose answers nothing but TLS proves."""
OPEN_LICENSES: Final = {
    "product_sku": "the settings may then name another product that the customer has a contract for",
    "licenses": "the settings may then ask for less than the workload needs",
}


class RiskKind(Enum):
    """What is open. The values are words of `listing check`'s rules."""

    KEY_OPEN = "key-open"
    CHECK_OPEN = "check-open"
    UNSIGNED = "unsigned"
    DIMENSIONS_OPEN = "dimensions-open"
    LICENSES_OPEN = "licenses-open"
    ENDPOINT_OVERRIDE = "endpoint-override"


@dataclass(frozen=True, kw_only=True)
class Risk:
    """One thing that is open."""

    kind: RiskKind
    text: str
    """What is open and what that allows, without a full stop."""
    product: str = ""
    """Product code; empty where it is about the manifest as a whole."""


def of_manifest(found: Manifest) -> Iterator[Risk]:
    """Yield the risks of the manifest as a whole; those of its products: `of_product`."""
    if found.allow_endpoint_override:
        text = "allow_endpoint_override is for tests: with SIDECAR_ENDPOINT_URL another server answers in place of AWS"
        yield Risk(kind=RiskKind.ENDPOINT_OVERRIDE, text=text)
    if not found.products:
        yield from _of_contract(Product(code=""), found)


def check_of(product: Product, found: Manifest) -> str:
    """Return the entitlement check that is sealed for a product; empty where outside chooses it."""
    written = product.entitlement_check or found.sealed.get("entitlement_check")
    return written.value if isinstance(written, EntitlementCheck) else str(written or "")


def of_product(product: Product, found: Manifest) -> Iterator[Risk]:
    """Yield open settings that change whether the product runs or what is billed for it."""
    code, check = product.code, check_of(product, found)
    if not has_key(product, found.sealed) and check not in UNSIGNED_CHECKS:
        text = f"no key is sealed for {code}; the settings may then give any"
        yield Risk(kind=RiskKind.KEY_OPEN, product=code, text=text)
    if not check:
        text = f"no entitlement_check is sealed for {code}; the settings may then choose meter_usage"
        yield Risk(kind=RiskKind.CHECK_OPEN, product=code, text=text)
    if check in UNSIGNED_CHECKS:
        yield _unsigned(code, check)
    if check == EntitlementCheck.CHECKOUT_LICENSE.value:
        yield from _open_licenses(product, found)
    if product.dimensions is None and "dimensions" not in found.sealed:
        text = f"no dimensions are sealed for {code}; the settings may then meter any, or none"
        yield Risk(kind=RiskKind.DIMENSIONS_OPEN, product=code, text=text)


def _of_contract(product: Product, found: Manifest) -> Iterator[Risk]:
    """Yield the risks of a manifest without products, whose one product is sold by contract."""
    yield _unsigned("the product", EntitlementCheck.CHECKOUT_LICENSE.value)
    yield from _open_licenses(product, found)


def _unsigned(product: str, check: str) -> Risk:
    text = (
        f"AWS signs no answer to {check}: an operator who sets the pod's CA bundle, and its proxy, hosts file"
        f" or DNS, can forge the one for {product}"
    )
    return Risk(kind=RiskKind.UNSIGNED, product=product, text=text)


def _open_licenses(product: Product, found: Manifest) -> Iterator[Risk]:
    """Yield one risk for each of product ID and licenses that the settings may choose."""
    for name, effect in OPEN_LICENSES.items():
        if getattr(product, name) is None and name not in found.sealed:
            of = f" for {product.code}" if product.code else ""
            yield Risk(kind=RiskKind.LICENSES_OPEN, product=product.code, text=f"no {name} is sealed{of}; {effect}")
