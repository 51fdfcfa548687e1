"""Licenses are read in every form, every fault is reported at once, and each check says what it needs."""

from __future__ import annotations

import json
from pathlib import Path

import botocore.session
import pytest
import yaml

from sidecar.settings import describe
from sidecar.settings.choices import EntitlementCheck, OnSeatLost
from sidecar.settings.licenses import LICENSES_MAX, UNITS, License, LicensesFault, Take, product_sku, read_licenses
from tests.fakes.config import PRODUCT
from tests.unit.settings.helpers import load, needed, problem, problems

SKU = "prod-4kq7example2x"
PRO = {"name": "pro", "take": "check"}
SEATS = {"name": "seats", "value": "2", "take": "seat"}
PAGES = {"name": "pages", "take": "drawdown"}


def faults(value: object) -> str:
    with pytest.raises(LicensesFault) as caught:
        read_licenses(value)
    return "\n".join(caught.value.faults)


def contract(*licenses: dict[str, object], **more: str) -> dict[str, str]:
    """Return the environment of a product sold by contract."""
    needed = {"SIDECAR_ENTITLEMENT_CHECK": "checkout_license", "SIDECAR_PRODUCT_SKU": SKU}
    return needed | {"SIDECAR_LICENSES": json.dumps(licenses or [PRO])} | more


def test_one_license_is_one_count_by_default() -> None:
    assert read_licenses([PRO]) == (License(name="pro", unit="Count", value="1", take=Take.CHECK, any_of=""),)


def test_json_yaml_text_and_a_yaml_list_are_read_alike() -> None:
    read = read_licenses([PRO, SEATS])
    for text in (json.dumps([PRO, SEATS]), yaml.safe_dump([PRO, SEATS]), "[{name: pro, take: check}, {name: seats,"
                 " value: 2, take: seat}]"):  # fmt: skip
        assert read_licenses(text) == read


def test_a_license_is_written_as_it_is_read() -> None:
    every = read_licenses([PRO | {"any_of": "t"}, {"name": "f", "unit": "None", "take": "seat"}, PAGES])
    assert read_licenses(f"[{','.join(map(str, every))}]") == every


def test_the_units_are_those_of_license_manager() -> None:
    model = botocore.session.get_session().get_service_model("license-manager")
    assert set(UNITS) == set(model.shape_for("EntitlementDataUnit").metadata["enum"])
    assert len(UNITS) == len(set(UNITS))


@pytest.mark.parametrize(("value", "text"), [(3, "3"), ("3", "3"), (0, "0"), ("007", "7")])
def test_a_value_is_text_of_digits(value: object, text: str) -> None:
    assert read_licenses([PRO | {"value": value}])[0].value == text


@pytest.mark.parametrize("value", [-1, 1.5, "", "1.0", True, None, "Enabled", "1" * 19])
def test_a_value_that_is_no_whole_number_is_refused(value: object) -> None:
    assert "[0].value" in faults([PRO | {"value": value}])


def test_a_feature_has_no_value_and_a_counted_license_has_one() -> None:
    assert read_licenses([PRO | {"unit": "None"}])[0].value == ""
    assert "remove the value" in faults([PRO | {"unit": "None", "value": "1"}])


def test_a_drawdown_draws_its_own_dimension_unless_another_is_named() -> None:
    assert [one.dimension for one in read_licenses([PAGES, PAGES | {"name": "b", "dimension": "p"}])] == ["pages", "p"]
    assert "two licenses" in faults([PAGES, {"name": "b", "take": "drawdown", "dimension": "pages"}])


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        (PAGES | {"value": 7}, "[0].value"),
        (PAGES | {"unit": "None"}, "[0].unit"),
        (PAGES | {"any_of": "t"}, "[0].any_of"),
        (PRO | {"dimension": "p"}, "[0].dimension"),
        (PRO | {"unit": "Pieces"}, "Count, None"),
        (PRO | {"take": "borrow"}, "check, seat, drawdown"),
        ({"name": "pro"}, "[0].take is missing"),
        ({"take": "check"}, "[0].name is missing"),
        (PRO | {"name": ""}, "[0].name"),
        (PRO | {"count": 1}, "[0].count is not a field"),
        ("pro", "not a mapping"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_refused_with_its_position(fields: object, fault: str) -> None:
    assert fault in faults([fields])


@pytest.mark.parametrize("text", ["", "pro", "[{", '[{"name": "a"', '[{"name":"a","name":"b","take":"check"}]', "{}"])
def test_text_that_is_no_list_of_licenses_is_refused(text: str) -> None:
    assert faults(text)


def test_every_fault_is_reported_at_once() -> None:
    found = faults([PRO | {"unit": "x"}, PRO | {"value": -1}])
    assert "[0].unit" in found
    assert "[1].value" in found


def test_the_same_license_twice_is_refused_and_another_value_is_not() -> None:
    assert "twice" in faults([PRO, PRO | {"take": "seat"}])
    assert len(read_licenses([PRO | {"value": 5, "any_of": "t"}, PRO | {"value": 2, "any_of": "t"}])) == 2


def test_as_many_licenses_as_fit_one_check_and_no_more() -> None:
    many = [PRO | {"name": f"l{at}"} for at in range(LICENSES_MAX)]
    assert len(read_licenses(many)) == LICENSES_MAX
    assert "up to 24" in faults([*many, PRO])


@pytest.mark.parametrize("sku", [SKU, "0a1b2c3d-0000-4000-8000-0123456789ab"])
def test_a_product_id_is_taken(sku: str) -> None:
    assert product_sku(f" {sku} ") == sku


@pytest.mark.parametrize("sku", ["8f7k2m1q9w3e5r7t0y2u4i6o8", "prod-", "prod-a b", "", 7])
def test_a_product_code_is_no_product_id(sku: object) -> None:
    with pytest.raises(ValueError, match="not a product ID"):
        product_sku(sku)


# -- what the check needs


def test_a_contract_needs_neither_product_code_nor_key() -> None:
    found = load(contract(PRO, SEATS, SIDECAR_ON_SEAT_LOST="shut"))
    assert (found.entitlement_check, found.product_code) == (EntitlementCheck.CHECKOUT_LICENSE, "")
    assert (found.product, found.product_sku, found.public_keys) == (SKU, SKU, ())
    assert [one.take for one in found.licenses] == [Take.CHECK, Take.SEAT]
    assert found.on_seat_lost is OnSeatLost.SHUT
    assert "SIDECAR_PRODUCT_CODE\t-\tdefault" in describe.effective(found)


@pytest.mark.parametrize("name", ["SIDECAR_PRODUCT_SKU", "SIDECAR_LICENSES"])
def test_a_contract_needs_product_id_and_licenses(name: str) -> None:
    env = contract()
    del env[name]
    assert problem(env).setting == name


@pytest.mark.parametrize("licenses", [[], [PAGES]], ids=["none", "drawdown"])
def test_a_contract_without_a_check_or_a_seat_is_refused(licenses: list[dict[str, object]]) -> None:
    found = problem(contract(SIDECAR_LICENSES=json.dumps(licenses)))
    assert "take check or seat" in found.fault


def test_a_fault_of_the_licenses_is_the_only_one() -> None:
    assert "[0].take" in problem(contract({"name": "pro"})).fault


def test_a_dimension_that_no_license_draws_needs_the_product_code() -> None:
    env = contract(PRO, PAGES, SIDECAR_DIMENSIONS="pages,hours")
    assert "MeterUsage needs it for hours" in problem(env).fault
    assert load(env | {"SIDECAR_PRODUCT_CODE": PRODUCT}).product == PRODUCT


def test_a_drawdown_is_a_dimension_without_being_named_twice() -> None:
    assert [one.name for one in load(contract(PRO, PAGES)).dimensions] == ["pages"]
    described = load(contract(PRO, PAGES, SIDECAR_DIMENSIONS='[{"name": "pages", "scale": "0.5"}]'))
    assert [(one.name, str(one.scale)) for one in described.dimensions] == [("pages", "0.5")]


@pytest.mark.parametrize("fields", [{"decimals": 1}, {"tags": ["a"]}, {"report_zero": True}], ids=str)
def test_a_drawn_dimension_has_no_decimals_tags_or_zeros(fields: dict[str, object]) -> None:
    """A drawdown of 0 would ask for what is not limited."""
    env = contract(PRO, PAGES, SIDECAR_DIMENSIONS=json.dumps([{"name": "pages", **fields}]))
    assert "whole units" in problem(env).fault


@pytest.mark.parametrize(("name", "value"), [("LICENSES", json.dumps([PRO])), ("PRODUCT_SKU", SKU)])
def test_licenses_under_another_check_are_a_fault(name: str, value: str) -> None:
    found = problem(needed() | {f"SIDECAR_{name}": value})
    assert "entitlement_check checkout_license alone" in found.fault


# -- sealed


def manifest(tmp_path: Path, document: dict[str, object]) -> Path:
    path = tmp_path / "product.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


SEALED: dict[str, object] = {"entitlement_check": "checkout_license", "product_sku": SKU, "licenses": [PRO]}


def test_a_manifest_of_a_contract_needs_no_products(tmp_path: Path) -> None:
    found = load({}, manifest=manifest(tmp_path, SEALED))
    assert (found.product_sku, found.licenses) == (SKU, read_licenses([PRO]))
    assert {found.origins[name] for name in SEALED} == {"manifest"}


def test_a_product_seals_its_own_contract(tmp_path: Path) -> None:
    other = {"code": "hourly", "public_keys": []}
    path = manifest(tmp_path, {"products": [{"code": "a", **SEALED}, other]})
    assert load({"SIDECAR_PRODUCT_CODE": "a"}, manifest=path).licenses == read_licenses([PRO])


@pytest.mark.parametrize("where", ["all", "product"])
def test_sealed_licenses_cannot_be_changed_from_outside(tmp_path: Path, where: str) -> None:
    path = manifest(tmp_path, SEALED if where == "all" else {"products": [{"code": "a", **SEALED}]})
    less = {"SIDECAR_LICENSES": json.dumps([PRO | {"name": "free"}]), "SIDECAR_PRODUCT_SKU": "prod-other"}
    assert {one.setting for one in problems(less, manifest=path)} == set(less)
    assert load({"SIDECAR_LICENSES": json.dumps([PRO])}, manifest=path).licenses == read_licenses([PRO])
