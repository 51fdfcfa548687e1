"""Tell which settings each entitlement check needs, and which do not fit it.

Invariants:
- `register_usage` needs a public key, `meter_usage` dimensions.
- `checkout_license` needs a product ID, and licenses of which at least one is `check` or `seat`; a product code only
  for dimensions that no license draws down, and no key.
- A license drawn down is a metered dimension: a sum without shares, in whole units, as License Manager counts.
- The integer field of MeterUsage carries no decimals.
- AgentCore Runtime has `meter_usage` alone, and dimensions that are sums without tags and zeros.
- Licenses under another check are a fault: their writer expects something of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from sidecar.errors import Problem
from sidecar.quick_dataclasses import replace
from sidecar.settings.choices import EntitlementCheck, Platform, QuantityField
from sidecar.settings.dimensions import Aggregation, Dimension
from sidecar.settings.licenses import License, Take
from sidecar.settings.table import BY_NAME

CONTRACT_SETTINGS: Final = ("product_sku", "licenses")
OUTSIDE: Final = ("flag", "environment", "file")
"""Origins. A manifest may seal licenses for one of its products, and another check for the next."""


def is_contract(values: Mapping[str, object]) -> bool:
    """Return whether License Manager is asked."""
    return values.get("entitlement_check") is EntitlementCheck.CHECKOUT_LICENSE


def needs_key(values: Mapping[str, object]) -> bool:
    """Return whether answers are verified with a public key. A check that is not known counts as one that needs it."""
    if values.get("platform") is Platform.AGENTCORE:
        return False  # another check than meter_usage is refused there
    return values.get("entitlement_check") not in (EntitlementCheck.METER_USAGE, EntitlementCheck.CHECKOUT_LICENSE)


def drawn(values: Mapping[str, object]) -> frozenset[str]:
    """Return the dimensions that licenses draw down."""
    return frozenset(one.dimension for one in _licenses(values) if one.take is Take.DRAWDOWN)


def with_drawdowns(values: Mapping[str, object]) -> tuple[Dimension, ...]:
    """Return the dimensions, with one for each drawdown that `dimensions` does not describe."""
    given = _dimensions(values)
    names = {one.name for one in given}
    licenses = [one for one in _licenses(values) if one.take is Take.DRAWDOWN and one.dimension not in names]
    return (*given, *(Dimension(name=one.dimension) for one in licenses))


def problems(values: Mapping[str, object], origins: Mapping[str, str], known: list[Problem]) -> Iterator[Problem]:
    """Yield what is missing for the check and what does not fit it, but nothing about a setting of a `known` fault."""
    for problem in _all(values, origins):
        name = problem.setting
        setting = BY_NAME[name]
        if not any(setting.variable in one.setting or name in one.setting for one in known):
            yield replace(problem, setting=setting.variable, example=problem.example or setting.example)


def _all(values: Mapping[str, object], origins: Mapping[str, str]) -> Iterator[Problem]:
    if values.get("entitlement_check") is EntitlementCheck.METER_USAGE and not values.get("dimensions"):
        yield _problem("dimensions", "is missing: entitlement_check meter_usage asks AWS about each dimension.")
    yield from _quantity_field(values)
    if values.get("platform") is Platform.AGENTCORE:
        yield from _of_agentcore(values)
    if is_contract(values):
        yield from _of_contract(values)
    elif "entitlement_check" in values:
        check = EntitlementCheck.CHECKOUT_LICENSE.value
        for name in CONTRACT_SETTINGS:
            if origins.get(name) in OUTSIDE:
                yield _problem(name, f"is for entitlement_check {check} alone; set that check, or remove it here.")


def _quantity_field(values: Mapping[str, object]) -> Iterator[Problem]:
    fractional = [one for one in _dimensions(values) if one.decimals]
    if values.get("quantity_field") is QuantityField.INTEGER and fractional:
        names = ", ".join(f"{one.name!r} (decimals: {one.decimals})" for one in fractional)
        fault = (
            f"is 'integer', which carries no fractions, but SIDECAR_DIMENSIONS has {names}. Use auto, or decimals 0."
        )
        yield _problem("quantity_field", fault)


def _of_contract(values: Mapping[str, object]) -> Iterator[Problem]:
    if not values.get("product_sku"):
        yield _problem("product_sku", "is missing: entitlement_check checkout_license asks for the product's licenses.")
    if not any(one.take is not Take.DRAWDOWN for one in _licenses(values)):
        fault = "is missing" if not _licenses(values) else "holds drawdowns alone"
        yield _problem("licenses", f"{fault}: the gate opens when AWS allows a license with take check or seat.")
    metered = [one.name for one in _dimensions(values) if one.name not in drawn(values)]
    if metered and not values.get("product_code"):
        yield _problem("product_code", f"is missing: MeterUsage needs it for {', '.join(metered)}.")
    for one in _dimensions(values):
        if one.name in drawn(values) and (one.decimals or one.tags or one.report_zero):
            fault = f"{one.name} is drawn from a license, which is counted in whole units without tags: remove decimals"
            yield _problem("dimensions", f"{fault}, tags and report_zero.")


def _of_agentcore(values: Mapping[str, object]) -> Iterator[Problem]:
    check = values.get("entitlement_check")
    if isinstance(check, EntitlementCheck) and check is not EntitlementCheck.METER_USAGE:
        fault = f"is {check.value}, but on AgentCore Runtime (platform agentcore) AWS takes meter_usage alone."
        yield _problem("entitlement_check", fault, EntitlementCheck.METER_USAGE.value)
    for one in _dimensions(values):
        if one.aggregation is not Aggregation.SUM:
            yield _problem(
                "dimensions",
                f"{one.name} has aggregation {one.aggregation.value}, but on AgentCore Runtime (platform agentcore) AWS"
                " adds up the records of an hour: use sum.",
            )
        if one.tags or one.report_zero:
            what = "tags, which AWS does not take" if one.tags else "report_zero, which needs hours"
            fault = f"{one.name} has {what} on AgentCore Runtime (platform agentcore): remove them."
            yield _problem("dimensions", fault if one.tags else fault.replace("them", "it"))


def _licenses(values: Mapping[str, object]) -> tuple[License, ...]:
    found = values.get("licenses")
    return found if isinstance(found, tuple) else ()


def _dimensions(values: Mapping[str, object]) -> tuple[Dimension, ...]:
    found = values.get("dimensions")
    return found if isinstance(found, tuple) else ()


def _problem(name: str, fault: str, example: str = "") -> Problem:
    """Return a problem whose `setting` is a name, for `problems` to complete. `example`: instead of the setting's."""
    return Problem(setting=name, fault=fault, example=example)
