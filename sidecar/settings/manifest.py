"""Read the product manifest: what the seller sealed into the image.

A YAML file of the form

    products:
      - code: 8f7k2m1q9w3e5r7t0y2u4i6o8
        public_keys:
          - version: 1
            key: |
              -----BEGIN PUBLIC KEY-----
              …
        entitlement_check: register_usage
        dimensions: [requests]
        product_sku: prod-4kq7example2x   # these two: of a product sold by contract
        licenses: [{name: pro, take: check}]
    on_denied: exit                  # any lower-case setting but those of NOT_SEALED may be sealed
    allow_endpoint_override: false   # the default

Invariants:
- What the manifest names cannot be changed from outside; outside only chooses among its products.
- It seals content, never a file beside it: `seal` has the digest of the manifest alone. `public_key_file` is refused.
- An unknown key is an error: a seller must not believe something sealed that is not.
- A sealed key is used: where the manifest does not say how a product with a key is checked, `register_usage` is sealed,
  since no other check verifies an answer with it.
- A product that is sold by contract may have no product code: a manifest that seals `entitlement_check:
  checkout_license` and `product_sku` for all needs no `products`.
- Public keys are sorted newest version first; AWS is asked with the newest first.

Sources: AWS Marketplace seller guide, "Container products billing, metering, and licensing integrations": a product
code that comes from outside is checked against a list in the software.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from sidecar.errors import Problem
from sidecar.quick_dataclasses import dataclass, field, replace
from sidecar.settings import parsers
from sidecar.settings.choices import EntitlementCheck
from sidecar.settings.dimensions import Dimension
from sidecar.settings.licenses import License
from sidecar.settings.table import BY_NAME, SETTINGS, PublicKey

SEALED_BY_PRODUCT: Final = ("entitlement_check", "dimensions", "product_sku", "licenses")
"""Settings that each product may have."""
PRODUCT_KEYS: Final = ("code", "public_keys", *SEALED_BY_PRODUCT)
CONTRACT_KEYS: Final = ("entitlement_check", "product_sku")
"""What a manifest without products seals."""
KEY_KEYS: Final = ("version", "key")
KEYS_MAX: Final = 16
"""Each may cost two calls of AWS, so a longer list might never be tried to its end."""
ENDPOINT_OVERRIDES: Final = ("endpoint_url", "clock_url")
"""Settings that `allow_endpoint_override` allows."""
NOT_SEALED: Final = (*ENDPOINT_OVERRIDES, "public_key_file")
"""Settings that are never sealed. A key's file could be replaced, and with it the key."""


@dataclass(frozen=True, kw_only=True)
class Product:
    """One of the products that this image may run as."""

    code: str
    public_keys: tuple[PublicKey, ...] = ()
    entitlement_check: EntitlementCheck | None = None
    dimensions: tuple[Dimension, ...] | None = None
    """Empty: sealed, and nothing is metered."""
    product_sku: str | None = None
    licenses: tuple[License, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """A product manifest. `sealed`: setting name → value as written."""

    path: Path
    products: tuple[Product, ...] = ()
    sealed: Mapping[str, object] = field(default_factory=dict)
    allow_endpoint_override: bool = False

    def product(self, code: str) -> Product | None:
        """Return the product with this code, or None."""
        return next((product for product in self.products if product.code == code), None)


def read(document: Mapping[str, object], path: Path, problems: list[Problem]) -> Manifest:
    """Return the manifest in a document, and append its faults to `problems`."""
    sealed: dict[str, object] = {}
    products: tuple[Product, ...] = ()
    override = False
    for key, value in document.items():
        if key == "products":
            products = _products(value, path, problems)
        elif key == "allow_endpoint_override":
            override = bool(_checked(path, key, parsers.boolean, value, problems))
        elif key in BY_NAME and key not in NOT_SEALED:
            if _checked(path, key, BY_NAME[key].parse, value, problems) is not None:
                sealed[key] = value
        elif key == "public_key_file":
            fault = (
                "is not a key of the manifest: it seals where the key is, and not the key, so another file in its place"
                " would open the gate. Write the key itself into public_keys."
            )
            problems.append(_problem(path, key, fault, "public_keys: [{version: 1, key: …}]"))
        else:
            problems.append(_problem(path, key, "is not a key of the manifest."))
    if "products" not in document and not _by_contract(sealed):
        problems.append(_problem(path, "products", "is missing.", "products: [{code: …, public_keys: …}]"))
    products = tuple(_with_check(product, sealed) for product in products)
    return Manifest(path=path, products=products, sealed=sealed, allow_endpoint_override=override)


def _by_contract(sealed: Mapping[str, object]) -> bool:
    check = str(sealed.get("entitlement_check", "")).strip().lower()
    return check == EntitlementCheck.CHECKOUT_LICENSE.value and "product_sku" in sealed


def _with_check(product: Product, sealed: Mapping[str, object]) -> Product:
    """Return the product with the check that its sealed key implies, where the manifest names none."""
    if product.entitlement_check is not None or "entitlement_check" in sealed or not has_key(product, sealed):
        return product
    return replace(product, entitlement_check=EntitlementCheck.REGISTER_USAGE)


def has_key(product: Product, sealed: Mapping[str, object]) -> bool:
    """Return whether the manifest seals a public key for the product: its own, or one for all."""
    return bool(product.public_keys) or "public_key" in sealed


def open_settings(found: Manifest) -> list[str]:
    """Return the settings that outside decides: what is sealed neither for all products nor for each of them."""
    by_product = {name for name in SEALED_BY_PRODUCT if all(getattr(one, name) is not None for one in found.products)}
    closed = found.sealed.keys() | (by_product | {"product_code"} if found.products else set())
    if all(has_key(one, found.sealed) for one in found.products):
        closed |= {"public_key", "public_key_file"}
    if all(one.public_keys for one in found.products):
        closed |= {"public_key_version"}
    if not found.allow_endpoint_override:
        closed |= set(ENDPOINT_OVERRIDES)
    return [setting.name for setting in SETTINGS if setting.name not in closed]


def _products(value: object, path: Path, problems: list[Problem]) -> tuple[Product, ...]:
    if not isinstance(value, list) or not value:
        problems.append(_problem(path, "products", "is not a list with at least one product."))
        return ()
    products = [_product(item, path, f"products[{index}]", problems) for index, item in enumerate(value)]
    codes = [product.code for product in products if product]
    for code in sorted({code for code in codes if codes.count(code) > 1}):
        problems.append(_problem(path, "products", f"names product {code!r} twice."))
    return tuple(product for product in products if product)


def _product(item: object, path: Path, where: str, problems: list[Problem]) -> Product | None:
    if not isinstance(item, dict):
        problems.append(_problem(path, where, "is not a mapping.", "{code: …, public_keys: [{version: 1, key: …}]}"))
        return None
    for key in item.keys() - set(PRODUCT_KEYS):
        problems.append(_problem(path, f"{where}.{key}", "is not a key of a product."))
    if "code" not in item:
        problems.append(_problem(path, f"{where}.code", "is missing.", BY_NAME["product_code"].example))
        return None
    code = _checked(path, f"{where}.code", parsers.product_code, item["code"], problems)
    keys = _keys(item.get("public_keys", []), path, f"{where}.public_keys", problems)
    sealed: dict[str, Any] = {}
    for name in SEALED_BY_PRODUCT:
        if name in item:
            value = _checked(path, f"{where}.{name}", BY_NAME[name].parse, item[name], problems)
            sealed |= {name: value} if value is not None else {}
    return Product(code=str(code), public_keys=keys, **sealed) if code else None


def _keys(value: object, path: Path, where: str, problems: list[Problem]) -> tuple[PublicKey, ...]:
    if not isinstance(value, list):
        problems.append(_problem(path, where, "is not a list.", "[{version: 1, key: …}]"))
        return ()
    if len(value) > KEYS_MAX:
        problems.append(_problem(path, where, f"holds {len(value)} keys; a product has at most {KEYS_MAX} here."))
    keys = []
    for index, item in enumerate(value):
        position = f"{where}[{index}]"
        if not isinstance(item, dict) or set(item) != set(KEY_KEYS):
            problems.append(_problem(path, position, "is not a mapping of exactly version and key."))
            continue
        version = _checked(path, f"{position}.version", BY_NAME["public_key_version"].parse, item["version"], problems)
        pem = _checked(path, f"{position}.key", parsers.public_key, item["key"], problems)
        if version is not None and pem is not None:
            keys.append(PublicKey(version=int(str(version)), pem=str(pem)))
    versions = [key.version for key in keys]
    for version in sorted({one for one in versions if versions.count(one) > 1}):
        problems.append(_problem(path, where, f"gives version {version} twice."))
    return tuple(sorted(keys, key=lambda key: -key.version))


def _checked(
    path: Path, key: str, parse: Callable[[object], object], value: object, problems: list[Problem]
) -> object | None:
    try:
        return parse(value)
    except ValueError as exc:
        example = BY_NAME[key].example if key in BY_NAME else ""
        problems.append(_problem(path, key, str(exc), example))
        return None


def _problem(path: Path, key: str, fault: str, example: str = "") -> Problem:
    return Problem(setting=f"{key} in {path}", fault=fault, example=example)
