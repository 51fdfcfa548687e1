"""The order is flag, environment, file, default; every fault is reported at once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from sidecar.errors import SettingsError
from sidecar.marketplace.sdk_environment import ALLOWED, for_sdk
from sidecar.settings import ENDPOINTS, IGNORED, SETTINGS, Settings
from sidecar.settings.table import BY_NAME
from tests.fakes.config import NOWHERE, PRODUCT
from tests.fakes.keys import base64_of, body_of, elliptic_pem, private_pem, public_pem
from tests.unit.settings.helpers import load, needed, problem, problems

OTHERS: dict[str, tuple[str, str, str]] = {
    "product_code": ("from-flag", "from-environment", "from-file"),
    "public_key_version": ("2", "3", "4"),
    "state_dir": ("/flag", "/environment", "/file"),
    "probe_bind": (":1", ":2", ":3"),
    "api_hosts": ("flag", "environment", "file"),
    "api_bind": ("127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"),
    "api_socket_mode": ("0600", "0666", "0777"),
    "api_socket_group": ("1", "2", "3"),
    "address_file": ("/flag", "/environment", "/file"),
    "startup_retry_seconds": ("1", "2", "3"),
    "reask_seconds": ("1", "2", "3"),
    "flush_seconds": ("1", "2", "3"),
    "grace_seconds": ("1", "2", "3"),
    "log_level": ("debug", "warning", "error"),
    "endpoint_url": ("http://flag", "http://environment", "http://file"),
    "workload_id": ("flag", "environment", "file"),
    "termination_log": ("/flag", "/environment", "/file"),
    "on_denied": ("exit", "hold", "exit"),
    "entitlement_check": ("register_usage", "register_usage", "register_usage"),
    "dimensions": ("flag", "environment", "file"),
    "on_first_meter_denied": ("alert", "shut", "alert"),
    "on_metering_overdue": ("shut", "not_ready", "alert"),
    "on_ledger_unusable": ("alert", "shut", "alert"),
    "metering_overdue_seconds": ("7201", "7202", "7203"),
    "on_seat_lost": ("shut", "hold", "shut"),
    "product_sku": ("prod-flag", "prod-environment", "prod-file"),
    "licenses": tuple(f'[{{"name": "{name}", "take": "check"}}]' for name in ("flag", "environment", "file")),
    "platform": ("agentcore", "found", "agentcore"),
    "sources": tuple(f'[{{"kind": "heartbeat", "dimension": "d", "quantity": {n}}}]' for n in (2, 3, 4)),
    "on_dispute": ("roll_forward", "hold", "roll_forward"),
    "quantity_field": ("integer", "decimal", "integer"),
    "clock_url": ("http://flag", "http://environment", "http://file"),
}
CONTRACT = {"product_sku": "prod-other", "licenses": '[{"name": "other", "take": "check"}]'}
"""What each of the two needs beside itself."""
KEYS = ("public_key", "public_key_file")
FILES = ("api_token_file",)
"""Named in every source, but each with content of its own."""


def shown(settings: Settings, name: str) -> object:
    return settings.public_keys[0].version if name == "public_key_version" else getattr(settings, name)


def config(tmp_path: Path, **values: object) -> dict[str, str]:
    path = tmp_path / "settings.yaml"
    path.write_text(yaml.safe_dump(values))
    return {"SIDECAR_CONFIG": str(path)}


def test_every_setting_is_tried() -> None:
    assert set(OTHERS) | set(KEYS) | set(FILES) == set(BY_NAME)


@pytest.mark.parametrize("name", OTHERS)
def test_the_order_is_flag_environment_file_default(tmp_path: Path, name: str) -> None:
    setting, (flag, variable, filed) = BY_NAME[name], OTHERS[name]
    spare = {key: value for key, value in needed().items() if key != setting.variable}
    if name == "clock_url":
        spare["SIDECAR_ENDPOINT_URL"] = "http://emulator"
    if name == "platform":
        spare |= {"SIDECAR_ENTITLEMENT_CHECK": "meter_usage", "SIDECAR_DIMENSIONS": "requests"}
    if name == "sources":
        spare["SIDECAR_DIMENSIONS"] = "d"
    if name in CONTRACT:
        spare["SIDECAR_ENTITLEMENT_CHECK"] = "checkout_license"
        spare |= {BY_NAME[other].variable: value for other, value in CONTRACT.items() if other != name}
    number = filed.isdigit() and name != "api_socket_mode"  # octal text
    file = config(tmp_path, **{name: int(filed) if number else filed})
    both = {**spare, **file, setting.variable: variable}
    assert shown(load(both, {name: flag}), name) == setting.parse(flag)
    assert shown(load(both), name) == setting.parse(variable)
    assert shown(load(spare | file), name) == setting.parse(filed)
    assert load(both, {name: flag}).origins[name] == "flag"
    assert load(both).origins[name] == "environment"
    assert load(spare | file).origins[name] == "file"
    if setting.default is not None:
        assert shown(load(spare), name) == setting.parse(setting.default)
        assert load(spare).origins[name] == "default"


def test_a_key_follows_the_same_order(tmp_path: Path) -> None:
    env = {"SIDECAR_PRODUCT_CODE": PRODUCT, **config(tmp_path, public_key=public_pem("file"))}
    assert load(env).public_keys[0].pem == public_pem("file")
    env["SIDECAR_PUBLIC_KEY"] = base64_of(public_pem("environment"))
    assert load(env).public_keys[0].pem == public_pem("environment")
    assert load(env, {"public_key": public_pem("flag")}).public_keys[0].pem == public_pem("flag")


def test_a_key_may_be_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_text(base64_of(public_pem()))
    env = {"SIDECAR_PRODUCT_CODE": PRODUCT, "SIDECAR_PUBLIC_KEY_FILE": str(tmp_path / "key.pem")}
    (found,) = load(env).public_keys
    assert (found.pem, found.version) == (public_pem(), 1)


def test_a_key_file_that_is_no_key_by_its_size_is_not_read_whole(tmp_path: Path) -> None:
    with (tmp_path / "key.pem").open("wb") as file:
        file.truncate(1 << 40)  # a hole: it takes no room, and no memory holds it
    found = problem({"SIDECAR_PRODUCT_CODE": PRODUCT, "SIDECAR_PUBLIC_KEY_FILE": str(tmp_path / "key.pem")})
    assert "is larger than 65536 bytes" in found.fault


def test_the_token_of_the_api_is_read_from_its_file(tmp_path: Path) -> None:
    for name in ("flag", "environment", "file"):
        (tmp_path / name).write_text(f" {name}-token-of-the-test\r\n")
    env = needed() | config(tmp_path, api_token_file=str(tmp_path / "file"))
    assert load(env).api_token == "file-token-of-the-test"
    env["SIDECAR_API_TOKEN_FILE"] = str(tmp_path / "environment")
    assert load(env).api_token == "environment-token-of-the-test"
    found = load(env, {"api_token_file": str(tmp_path / "flag")})
    assert found.api_token == "flag-token-of-the-test"
    assert "token-of-the-test" not in repr(found)
    assert load().api_token is None


@pytest.mark.parametrize(
    "content", ["", "\n", "fifteen-letters", "two words of a token", "t" * 17 + "\x00", "t" * 4097]
)
def test_a_file_without_a_token_is_an_error_that_does_not_quote_it(tmp_path: Path, content: str) -> None:
    path = tmp_path / "token"
    path.write_text(content)
    fault = problem(needed() | {"SIDECAR_API_TOKEN_FILE": str(path)})
    assert fault.setting == "SIDECAR_API_TOKEN_FILE"
    assert str(path) in fault.fault
    assert "openssl rand" in fault.fault
    assert not content.strip() or content.strip() not in str(fault)


def test_a_token_file_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    fault = problem(needed() | {"SIDECAR_API_TOKEN_FILE": str(tmp_path / "absent")})
    assert "cannot be read" in fault.fault
    fault = problem(needed() | {"SIDECAR_API_TOKEN_FILE": str(tmp_path)})
    assert "cannot be read" in fault.fault


def test_the_flag_for_the_file_wins_over_its_variable(tmp_path: Path) -> None:
    config(tmp_path, flush_seconds=3)
    env = needed() | {"SIDECAR_CONFIG": "/nonexistent"}
    assert load(env, {"config": str(tmp_path / "settings.yaml")}).flush_seconds == 3
    assert "/nonexistent" in problem(env).setting


def test_a_given_api_bind_is_told_from_the_default() -> None:
    assert not load().api_bind_given
    assert load(needed() | {"SIDECAR_API_BIND": "127.0.0.1:8485"}).api_bind_given


def test_endpoint_variables_of_the_sdk_are_listed_and_ignored() -> None:
    ambient = {"AWS_ENDPOINT_URL": "http://x", "AWS_ENDPOINT_URL_STS": "http://y", "AWS_ENDPOINT_URL_S3": ""}
    found = load(needed() | ambient)
    assert found.ignored == ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_STS")
    assert found.endpoint_url is None
    assert load().ignored == ()


@pytest.mark.parametrize("name", [name for name in IGNORED if name != ENDPOINTS])
def test_a_variable_that_could_move_the_sdk_is_listed_and_not_seen(name: str) -> None:
    assert load(needed() | {name: "/x"}).ignored == (name,)
    assert load(needed() | {name: ""}).ignored == ()
    assert for_sdk({name: "/x"}, None, in_platform=True).get(name) != "/x"


def test_variables_that_move_the_instances_metadata_are_listed() -> None:
    moved = ("AWS_EC2_METADATA_SERVICE_ENDPOINT", "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE")
    assert load(needed() | dict.fromkeys(moved, "IPv6")).ignored == moved
    assert not for_sdk(dict.fromkeys(moved, "IPv6"), None, in_platform=False).keys() & set(moved)
    assert load(needed() | {"AWS_EC2_METADATA_DISABLED": "true"}).ignored == ()


@pytest.mark.parametrize("name", sorted(ALLOWED))
def test_a_variable_that_the_sdk_sees_is_not_called_ignored(name: str) -> None:
    assert load(needed() | {name: "x"}).ignored == ()


# -- faults


def test_every_fault_has_setting_fault_and_example(tmp_path: Path) -> None:
    env = {
        "SIDECAR_PRODUCT_CODE": "not a code",
        "SIDECAR_ON_DENIED": "stop",
        "SIDECAR_ON_DENY": "exit",
        "SIDECAR_PUBLIC_KEY_VERSION": "one",
        **config(tmp_path, state_dir="here", flush_second=3),
    }
    found = {one.setting: one for one in problems(env, {"log_level": "loud"})}
    file = tmp_path / "settings.yaml"
    assert set(found) == {
        "SIDECAR_PRODUCT_CODE",
        "SIDECAR_ON_DENIED",
        "SIDECAR_ON_DENY",
        "SIDECAR_PUBLIC_KEY_VERSION",
        "SIDECAR_PUBLIC_KEY",
        f"state_dir in {file}",
        f"flush_second in {file}",
        "--log-level",
    }
    assert all(one.fault for one in found.values())
    assert found["SIDECAR_ON_DENIED"].example == BY_NAME["on_denied"].example
    assert found["--log-level"].example == BY_NAME["log_level"].example
    text = str(SettingsError(list(found.values())))
    assert text.startswith("8 settings are wrong; nothing was started.")
    assert all(name in text for name in found)


def test_one_fault_is_in_the_singular() -> None:
    with pytest.raises(SettingsError, match="1 setting is wrong") as caught:
        load(needed() | {"SIDECAR_ON_DENIED": "stop"})
    assert caught.value.reason == "bad_settings"
    assert "Example: exit" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("SIDECAR_ON_DENY", "SIDECAR_ON_DENIED"),
        ("SIDECAR_PRODUCTCODE", "SIDECAR_PRODUCT_CODE"),
        ("SIDECAR_product_code", "SIDECAR_PRODUCT_CODE"),
        ("SIDECAR_PUBLIC_KEY_PATH", "SIDECAR_PUBLIC_KEY"),
    ],
)
def test_an_unknown_variable_is_refused_with_a_suggestion(name: str, meant: str) -> None:
    found = problem(needed() | {name: "x"})
    assert found.setting == name
    assert f"Did you mean {meant}" in found.fault
    assert found.example.startswith(meant)


def test_an_unknown_variable_like_no_other_gets_no_suggestion() -> None:
    found = problem(needed() | {"SIDECAR_ZZZ": "x"})
    assert found.fault == "is not a setting."


def test_variables_without_the_prefix_are_ignored() -> None:
    assert load(needed() | {"SIDECARS_ON_DENY": "x", "ON_DENIED": "y", "MY_SIDECAR_X": "z"}) == load()


def test_a_suggestion_for_the_file_has_the_files_spelling(tmp_path: Path) -> None:
    found = problem(needed() | config(tmp_path, on_deny="exit"))
    assert "Did you mean on_denied?" in found.fault
    assert found.setting.endswith(str(tmp_path / "settings.yaml"))


def test_a_product_code_that_yaml_reads_as_a_number_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text("product_code: 0123\n")
    env = {"SIDECAR_PUBLIC_KEY": public_pem(), "SIDECAR_CONFIG": str(tmp_path / "x.yaml")}
    assert "put it in quotes" in problem(env).fault
    (tmp_path / "x.yaml").write_text("product_code: '0123'\n")
    assert load(env).product_code == "0123"


def test_a_key_given_twice_in_the_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text("on_denied: exit\non_denied: exit\n")
    assert "given twice" in problem(needed() | {"SIDECAR_CONFIG": str(tmp_path / "x.yaml")}).fault


def test_all_missing_settings_are_reported_at_once() -> None:
    assert {one.setting for one in problems({})} == {"SIDECAR_PRODUCT_CODE", "SIDECAR_PUBLIC_KEY"}


def test_an_empty_variable_is_a_fault_and_not_a_default() -> None:
    assert "empty" in problem(needed() | {"SIDECAR_STATE_DIR": ""}).fault


def test_a_key_and_a_key_file_together_are_refused(tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_text(public_pem())
    found = problem(needed() | {"SIDECAR_PUBLIC_KEY_FILE": str(tmp_path / "key.pem")})
    assert "SIDECAR_PUBLIC_KEY_FILE" in str(found)
    assert "SIDECAR_PUBLIC_KEY" in found.setting


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "No such file"),
        (b"\xff\xfe", "not text"),
        (b"nothing", "not a PEM public key"),
        (private_pem().encode(), "private key"),
        (elliptic_pem().encode(), "not an RSA key"),
    ],
)
def test_a_key_file_without_a_key_is_refused_by_name(tmp_path: Path, content: bytes | None, words: str) -> None:
    path = tmp_path / "key.pem"
    if content is not None:
        path.write_bytes(content)
    found = problem({"SIDECAR_PRODUCT_CODE": PRODUCT, "SIDECAR_PUBLIC_KEY_FILE": str(path)})
    assert found.setting == "SIDECAR_PUBLIC_KEY_FILE"
    assert str(path) in found.fault
    assert words in found.fault
    assert body_of(private_pem()) not in str(found)


@pytest.mark.parametrize("given", [private_pem(), base64_of(private_pem()), elliptic_pem(), public_pem()[:-40]])
def test_a_bad_key_is_in_no_message(given: str) -> None:
    found = problem({"SIDECAR_PRODUCT_CODE": PRODUCT, "SIDECAR_PUBLIC_KEY": given})
    assert found.setting == "SIDECAR_PUBLIC_KEY"
    assert given[60:100] not in str(found)


def test_the_repr_of_the_settings_has_no_key() -> None:
    assert body_of(public_pem()) not in repr(load())


def test_the_table_names_each_setting_once_in_three_spellings() -> None:
    assert len(BY_NAME) == len(SETTINGS)
    for setting in SETTINGS:
        assert setting.variable == "SIDECAR_" + setting.name.upper()
        assert setting.flag == "--" + setting.name.replace("_", "-")


def test_region_is_no_setting() -> None:
    assert not [name for name in BY_NAME if "region" in name]
    assert problem(needed() | {"SIDECAR_REGION": "us-east-1"}).setting == "SIDECAR_REGION"


def test_without_a_manifest_an_endpoint_override_is_honoured() -> None:
    found = load(needed() | {"SIDECAR_ENDPOINT_URL": "http://127.0.0.1:1"}, manifest=NOWHERE)
    assert found.endpoint_url == "http://127.0.0.1:1"
    assert found.manifest is None


# -- what one setting asks of another


def test_a_clock_is_followed_only_beside_an_endpoint_override() -> None:
    env = needed() | {"SIDECAR_CLOCK_URL": "http://emulator"}
    assert "SIDECAR_ENDPOINT_URL" in problem(env).fault
    assert load(env | {"SIDECAR_ENDPOINT_URL": "http://emulator"}).clock_url == "http://emulator"


def test_meter_usage_needs_dimensions_and_no_key() -> None:
    env = {"SIDECAR_PRODUCT_CODE": PRODUCT, "SIDECAR_ENTITLEMENT_CHECK": "meter_usage"}
    found = problem(env)
    assert found.setting == "SIDECAR_DIMENSIONS"
    assert "is missing" in found.fault
    settings = load(env | {"SIDECAR_DIMENSIONS": "requests"})
    assert settings.public_keys == ()
    assert [one.name for one in settings.dimensions] == ["requests"]


def test_register_usage_still_needs_its_key() -> None:
    assert "without the key" in problem({"SIDECAR_PRODUCT_CODE": PRODUCT, "SIDECAR_DIMENSIONS": "requests"}).fault


def test_bad_dimensions_are_reported_once_with_every_fault() -> None:
    env = needed() | {"SIDECAR_ENTITLEMENT_CHECK": "meter_usage", "SIDECAR_DIMENSIONS": '[{"name": 1}, {"scale": 0}]'}
    found = problem(env)
    assert "[0].name" in found.fault
    assert "[1].scale" in found.fault


def test_integers_for_a_dimension_with_decimals_name_both() -> None:
    env = needed() | {"SIDECAR_QUANTITY_FIELD": "integer"}
    found = problem(env | {"SIDECAR_DIMENSIONS": '["requests", {"name": "gb", "decimals": 2}]'})
    assert found.setting == "SIDECAR_QUANTITY_FIELD"
    assert "SIDECAR_DIMENSIONS has 'gb' (decimals: 2)" in found.fault
    assert "requests" not in found.fault


@pytest.mark.parametrize(("field", "decimals"), [("integer", 0), ("auto", 2), ("decimal", 2)])
def test_a_field_that_can_carry_the_dimension_is_taken(field: str, decimals: int) -> None:
    dimension = json.dumps([{"name": "gb", "decimals": decimals}])
    settings = load(needed() | {"SIDECAR_QUANTITY_FIELD": field, "SIDECAR_DIMENSIONS": dimension})
    assert settings.quantity_field.value == field


def test_integers_against_sealed_decimals_are_refused(tmp_path: Path) -> None:
    manifest = tmp_path / "product.yaml"
    product = {"code": PRODUCT, "entitlement_check": "meter_usage", "dimensions": [{"name": "gb", "decimals": 1}]}
    manifest.write_text(yaml.safe_dump({"products": [product]}))
    assert "'gb' (decimals: 1)" in problem({"SIDECAR_QUANTITY_FIELD": "integer"}, manifest=manifest).fault
