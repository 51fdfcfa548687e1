"""The settings of `entitlement-sidecar saas`, from every source."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pytest

from sidecar.cli.settings import add_flags
from sidecar.errors import SettingsError
from sidecar.settings import SETTINGS, Settings, saas
from sidecar.settings.saas_table import OF_A_SIDECAR, SAAS_BY_NAME, SAAS_SETTINGS
from sidecar.settings.table import BY_NAME

ENV = {"SIDECAR_PRODUCT_CODE": "prod1", "SIDECAR_DIMENSIONS": "requests"}


def faults(env: dict[str, str], **flags: str) -> dict[str, str]:
    with pytest.raises(SettingsError) as caught:
        saas.load(env, flags)
    return {problem.setting: problem.fault for problem in caught.value.problems}


def test_two_settings_are_enough() -> None:
    found = saas.load(ENV, {})
    assert (found.products, found.region, found.queue_url) == (("prod1",), "us-east-1", None)
    assert found.database_url == "sqlite:////var/lib/entitlement-sidecar/saas.sqlite3"


def test_products_stand_in_for_the_product_code() -> None:
    found = saas.load({"SIDECAR_SAAS_PRODUCTS": "prod2,prod3", "SIDECAR_DIMENSIONS": "requests"}, {})
    assert found.products == ("prod2", "prod3")


def test_flag_environment_and_file_follow_one_another(tmp_path: Path) -> None:
    file = tmp_path / "saas.yaml"
    file.write_text("saas_region: eu-west-1\nproduct_code: prod9\ndimensions: [{name: requests}]\n")
    env = {"SIDECAR_CONFIG": str(file)}
    assert saas.load(env, {}).region == "eu-west-1"
    assert saas.load(env | {"SIDECAR_SAAS_REGION": "eu-west-2"}, {}).region == "eu-west-2"
    assert saas.load(env | {"SIDECAR_SAAS_REGION": "eu-west-2"}, {"saas_region": "eu-west-3"}).region == "eu-west-3"
    assert saas.load(env, {}).products == ("prod9",)


@pytest.mark.parametrize("name", OF_A_SIDECAR)
def test_a_setting_that_only_a_sidecar_reads_is_refused(name: str, tmp_path: Path) -> None:
    file = tmp_path / "saas.yaml"
    file.write_text(f"{name}: x\n")
    setting = BY_NAME[name]
    assert faults({**ENV, setting.variable: "x"}) == {setting.variable: saas.NOT_READ}
    assert faults({**ENV, "SIDECAR_CONFIG": str(file)}) == {name: saas.NOT_READ}
    assert faults(ENV, **{name: "x"}) == {setting.flag: saas.NOT_READ}


def test_the_help_lists_what_is_read_and_nothing_else() -> None:
    parser = argparse.ArgumentParser()
    add_flags(parser, SAAS_SETTINGS, unlisted=OF_A_SIDECAR)
    listed = parser.format_help()
    assert [one.name for one in SETTINGS if one.flag in listed.split()] == [
        one.name for one in SETTINGS if one.name not in OF_A_SIDECAR
    ]
    assert parser.parse_args(["--licenses", "x"]).licenses == "x"


def test_every_fault_is_told_at_once() -> None:
    found = faults({"SIDECAR_SAAS_REGION": "here", "SIDECAR_DATABASE_URL": "mysql://x"})
    assert {"SIDECAR_SAAS_REGION", "SIDECAR_DATABASE_URL", "SIDECAR_PRODUCT_CODE", "SIDECAR_DIMENSIONS"} <= set(found)
    assert "billed" in found["SIDECAR_DIMENSIONS"]


def test_an_unknown_setting_is_a_fault() -> None:
    assert "SIDECAR_SAAS_REGOIN" in faults({**ENV, "SIDECAR_SAAS_REGOIN": "us-east-1"})


@pytest.mark.parametrize(
    ("name", "given", "value"),
    [
        ("database_url", "postgresql://u:p@db/saas", "postgresql://u:p@db/saas"),
        ("database_url", "postgresql://u:p%40q@db/saas", "postgresql://u:p%40q@db/saas"),
        ("database_url", "sqlite:////tmp/x.sqlite3", "sqlite:////tmp/x.sqlite3"),
        ("saas_region", "us-gov-west-1", "us-gov-west-1"),
        ("saas_products", "a, b", ("a", "b")),
    ],
)
def test_a_good_value_is_taken(name: str, given: str, value: Any) -> None:
    assert SAAS_BY_NAME[name].parse(given) == value


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("database_url", "mysql://u:hunter2@db/saas"),
        ("database_url", "sqlite:///relative.sqlite3"),
        ("database_url", "postgresql://u:hunter2@db"),
        ("database_url", "postgresql://u:p@hunter2@db/saas"),
        ("saas_region", "US-EAST-1"),
        ("saas_products", "a,a"),
        ("saas_products", "prod-abcdefghijklm"),
    ],
)
def test_a_bad_value_is_refused_and_no_password_repeated(name: str, given: str) -> None:
    with pytest.raises(ValueError) as caught:
        SAAS_BY_NAME[name].parse(given)
    assert "hunter2" not in str(caught.value)


def test_no_repr_shows_the_database_s_password() -> None:
    found = saas.load({**ENV, "SIDECAR_DATABASE_URL": "postgresql://u:hunter2@db/saas"}, {})
    assert "hunter2" not in repr(found)


def test_a_sidecar_refuses_a_setting_of_the_service() -> None:
    with pytest.raises(SettingsError, match="`entitlement-sidecar saas` alone"):
        Settings.load({**ENV, "SIDECAR_ENTITLEMENT_CHECK": "meter_usage", "SIDECAR_SAAS_REGION": "us-east-1"})
