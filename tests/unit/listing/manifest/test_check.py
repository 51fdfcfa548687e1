"""Each rule for a product manifest: one that breaks it, and a twin that does not."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sidecar.listing.finding import Checked
from sidecar.listing.manifest import rules
from sidecar.listing.manifest.check import check
from sidecar.listing.rule import Rule
from sidecar.settings.manifest_risks import RiskKind

ROOT = Path(__file__).parents[4]
CODE = "8f7k2m1q9w3e5r7t0y2u4i6o8"
METERED = f"products:\n  - code: {CODE}\n    entitlement_check: meter_usage\n    dimensions: [requests]\n"


@pytest.fixture(scope="module")
def sealed() -> str:
    """A manifest with a key, a check and dimensions sealed."""
    public = generate_private_key(65537, 2048).public_key()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode().replace("\n", "\\n")
    return (
        f"products:\n  - code: {CODE}\n    public_keys:\n      - version: 1\n"
        f'        key: "{pem}"\n    entitlement_check: register_usage\n    dimensions: []\n'
    )


BREAKS: Mapping[Rule, str] = {
    rules.VALID: "products:\n  - kode: x\n",
    rules.KEY_OPEN: f"products:\n  - code: {CODE}\n    entitlement_check: register_usage\n",
    rules.CHECK_OPEN: f"products:\n  - code: {CODE}\n",
    rules.UNSIGNED: METERED,
    rules.DIMENSIONS_OPEN: f"products:\n  - code: {CODE}\n    entitlement_check: meter_usage\n",
    rules.LICENSES_OPEN: "entitlement_check: checkout_license\nproduct_sku: prod-4kq7example2x\n",
    rules.ENDPOINT_OVERRIDE: f"{METERED}allow_endpoint_override: true\n",
}
"""Rule → a manifest that breaks it. OPEN_SETTINGS holds for each."""


def checked(tmp_path: Path, text: str) -> Checked:
    path = tmp_path / "product.yaml"
    path.write_text(text)
    return check(str(path))


@pytest.mark.parametrize("rule", BREAKS, ids=lambda rule: rule.id)
def test_a_manifest_that_breaks_a_rule_is_found(rule: Rule, tmp_path: Path) -> None:
    assert rule in [one.rule for one in checked(tmp_path, BREAKS[rule]).findings]


def test_a_contract_that_seals_its_licenses_is_unsigned_alone(tmp_path: Path) -> None:
    text = f"{BREAKS[rules.LICENSES_OPEN]}licenses: [{{name: pro, take: check}}]\n"
    found = checked(tmp_path, text).findings
    assert [(one.rule, one.line) for one in found] == [(rules.UNSIGNED, 1), (rules.OPEN_SETTINGS, None)]


def test_a_manifest_that_seals_everything_has_its_open_settings_alone(sealed: str, tmp_path: Path) -> None:
    found = checked(tmp_path, sealed).findings
    assert [one.rule for one in found] == [rules.OPEN_SETTINGS]
    assert "log_level" in found[0].seen
    assert "public_key" not in found[0].seen


def test_every_rule_has_a_manifest_that_breaks_it() -> None:
    assert {*BREAKS, rules.OPEN_SETTINGS} == set(rules.RULES)


def test_every_risk_has_a_rule() -> None:
    assert set(rules.OF_RISK) == set(RiskKind)


def test_a_fault_has_its_line_and_nothing_else_is_said(tmp_path: Path) -> None:
    found = checked(tmp_path, f"# a comment\nproducts:\n  - code: {CODE}\n    public_key: 7\nlog_level: loud\n")
    assert [(one.line, one.place) for one in found.findings] == [(4, "products[0].public_key"), (5, "log_level")]
    assert not found.complete


def test_a_field_that_is_missing_has_the_line_of_what_should_have_it(tmp_path: Path) -> None:
    found = checked(tmp_path, "on_denied: hold\nproducts:\n  - public_keys: []\n").findings
    assert [(one.line, one.place) for one in found] == [(3, "products[0].code")]


@pytest.mark.parametrize("text", ["a: [", "- 1", "a: 1\na: 2", "\x00", "a: " + "[" * 300, "&a [*a]"])
def test_what_is_no_manifest_is_a_finding(text: str, tmp_path: Path) -> None:
    found = checked(tmp_path, text)
    assert [one.rule for one in found.findings] == [rules.VALID]
    assert not found.complete


def test_a_file_that_is_missing_is_a_finding(tmp_path: Path) -> None:
    found = check(str(tmp_path / "missing.yaml"))
    assert [one.message for one in found.findings] == ["cannot be read: No such file or directory."]


def test_our_own_example_has_notes_alone() -> None:
    found = check(str(ROOT / "docs" / "examples" / "seller-image" / "product.yaml")).findings
    assert [one.rule for one in found] == [rules.DIMENSIONS_OPEN, rules.OPEN_SETTINGS]
