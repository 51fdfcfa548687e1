"""A sealed value wins over every other source, and a contradiction names both values."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from sidecar.errors import Problem, SettingsError
from sidecar.settings import Settings, manifest
from sidecar.settings.choices import EntitlementCheck, OnDenied
from sidecar.settings.table import BY_NAME
from tests.fakes.keys import base64_of, body_of, elliptic_pem, pkcs1_pem, private_pem, public_pem
from tests.unit.settings.helpers import load, problem, problems

CODE, OTHER = "sealed-one", "sealed-two"
Write = Callable[..., Path]


def key(name: str = "first", version: int = 1) -> dict[str, object]:
    return {"version": version, "key": public_pem(name)}


def product(code: str = CODE, **more: object) -> dict[str, object]:
    return {"code": code, "public_keys": [key()]} | more


@pytest.fixture
def sealed(tmp_path: Path) -> Write:
    """Return a function that writes a manifest: one product with one key, and what else is given."""

    def write(text: str | None = None, **given: Any) -> Path:
        path = tmp_path / "product.yaml"
        path.write_text(yaml.safe_dump({"products": [product()]} | given) if text is None else text)
        return path

    return write


def fingerprint(pem: str) -> str:
    return hashlib.sha256(pem.strip().encode()).hexdigest()[:12]


def test_a_manifest_with_one_product_needs_nothing_from_outside(sealed: Write) -> None:
    path = sealed()
    found = load({}, manifest=path)
    assert found.product_code == CODE
    assert found.origins["product_code"] == "manifest"
    assert [(one.version, one.pem) for one in found.public_keys] == [(1, public_pem())]
    assert found.manifest == path


def test_without_a_manifest_the_product_code_is_required() -> None:
    assert {one.setting for one in problems({})} == {"SIDECAR_PRODUCT_CODE", "SIDECAR_PUBLIC_KEY"}


# -- sealed settings


@pytest.mark.parametrize(
    ("name", "kept", "tried"),
    [
        ("on_denied", "exit", "hold"),
        ("state_dir", "/sealed", "/elsewhere"),
        ("reask_seconds", 60, "61"),
        ("probe_bind", ":9", ":10"),
        ("log_level", "error", "debug"),
        ("workload_id", "vm-1", "vm-2"),
    ],
)
def test_what_is_sealed_cannot_be_changed_by_flag_environment_or_file(
    sealed: Write, tmp_path: Path, name: str, kept: object, tried: str
) -> None:
    path, setting = sealed(**{name: kept}), BY_NAME[name]
    config = tmp_path / "outside.yaml"
    config.write_text(yaml.safe_dump({name: int(tried) if tried.isdigit() else tried}))
    ways: list[tuple[dict[str, str], dict[str, str], str]] = [
        ({setting.variable: tried}, {}, setting.variable),
        ({}, {name: tried}, setting.flag),
        ({"SIDECAR_CONFIG": str(config)}, {}, f"{name} in {config}"),
    ]
    for env, flags, written in ways:
        found = problem(env, flags, path)
        assert found.setting == written
        assert tried in found.fault
        assert repr(kept) in found.fault
        assert f"{name} in {path}" in found.fault
    assert getattr(load({}, manifest=path), name) == setting.parse(kept)
    assert load({}, manifest=path).origins[name] == "manifest"


def test_the_same_value_inside_and_outside_is_no_fault(sealed: Write) -> None:
    path = sealed(on_denied="exit", reask_seconds=60)
    env = {"SIDECAR_ON_DENIED": " EXIT ", "SIDECAR_REASK_SECONDS": "60", "SIDECAR_PRODUCT_CODE": CODE}
    found = load(env, manifest=path)
    assert (found.on_denied, found.reask_seconds) == (OnDenied.EXIT, 60)
    assert found.origins["on_denied"] == "manifest"


def test_a_setting_that_is_not_sealed_may_be_set_outside(sealed: Write) -> None:
    found = load({"SIDECAR_ON_DENIED": "exit"}, manifest=sealed(reask_seconds=60))
    assert found.on_denied is OnDenied.EXIT
    assert found.origins["on_denied"] == "environment"


def test_faults_of_manifest_and_environment_are_reported_together(sealed: Write) -> None:
    path = sealed(on_denied="maybe")
    found = {one.setting for one in problems({"SIDECAR_LOG_LEVEL": "loud"}, manifest=path)}
    assert found == {f"on_denied in {path}", "SIDECAR_LOG_LEVEL"}


# -- products


def test_outside_chooses_among_the_sealed_products(sealed: Write) -> None:
    path = sealed(products=[product(), product(OTHER, public_keys=[key("second", 4)])])
    found = load({"SIDECAR_PRODUCT_CODE": OTHER}, manifest=path)
    assert found.product_code == OTHER
    assert [one.version for one in found.public_keys] == [4]
    assert found.public_keys[0].pem == public_pem("second")


@pytest.mark.parametrize("env", [{"SIDECAR_PRODUCT_CODE": "foreign"}])
def test_a_product_code_that_is_not_sealed_is_refused(sealed: Write, env: dict[str, str]) -> None:
    path = sealed(products=[product(), product(OTHER)])
    found = problems(env, manifest=path)[0]
    assert found.setting == "SIDECAR_PRODUCT_CODE"
    assert all(word in found.fault for word in ("'foreign'", repr(CODE), repr(OTHER), str(path)))


def test_where_there_are_several_products_one_must_be_chosen(sealed: Write) -> None:
    path = sealed(products=[product(), product(OTHER)])
    found = problems({}, manifest=path)[0]
    assert found.setting == "SIDECAR_PRODUCT_CODE"
    assert repr(CODE) in found.fault
    assert repr(OTHER) in found.fault
    assert found.example == CODE


@pytest.mark.parametrize("env", [{}, {"SIDECAR_PRODUCT_CODE": "foreign"}])
def test_a_missing_product_code_is_the_only_fault_where_products_have_keys(sealed: Write, env: dict[str, str]) -> None:
    assert problem(env, manifest=sealed(products=[product(), product(OTHER)])).setting == "SIDECAR_PRODUCT_CODE"


def test_a_sealed_product_code_cannot_be_chosen_outside(sealed: Write) -> None:
    path = sealed(products=[product(), product(OTHER)], product_code=OTHER)
    assert load({}, manifest=path).product_code == OTHER
    found = problem({"SIDECAR_PRODUCT_CODE": CODE}, manifest=path)
    assert repr(CODE) in found.fault
    assert repr(OTHER) in found.fault


# -- keys


def test_a_sealed_key_cannot_be_replaced_and_shows_as_a_fingerprint(sealed: Write) -> None:
    path = sealed()
    found = problem({"SIDECAR_PUBLIC_KEY": public_pem("forged")}, manifest=path)
    assert found.setting == "SIDECAR_PUBLIC_KEY"
    assert fingerprint(public_pem("forged")) in found.fault
    assert fingerprint(public_pem()) in found.fault
    assert not [
        line
        for pem in (public_pem(), public_pem("forged"))
        for line in pem.split()
        if line in str(found) and len(line) > 10
    ]


def test_a_sealed_key_cannot_be_replaced_by_a_file_or_a_version(sealed: Write, tmp_path: Path) -> None:
    path = sealed()
    (tmp_path / "forged.pem").write_text(public_pem("forged"))
    by_file = problem({"SIDECAR_PUBLIC_KEY_FILE": str(tmp_path / "forged.pem")}, manifest=path)
    assert by_file.setting == "SIDECAR_PUBLIC_KEY_FILE"
    assert fingerprint(public_pem()) in by_file.fault
    by_version = problem({"SIDECAR_PUBLIC_KEY_VERSION": "2"}, manifest=path)
    assert by_version.setting == "SIDECAR_PUBLIC_KEY_VERSION"
    assert "'2'" in by_version.fault
    both = {"SIDECAR_PUBLIC_KEY": public_pem(), "SIDECAR_PUBLIC_KEY_VERSION": "2"}
    assert problem(both, manifest=path)


@pytest.mark.parametrize(
    "env",
    [
        {"SIDECAR_PUBLIC_KEY": public_pem()},
        {"SIDECAR_PUBLIC_KEY": base64_of(public_pem())},
        {"SIDECAR_PUBLIC_KEY": public_pem(), "SIDECAR_PUBLIC_KEY_VERSION": "1"},
        {"SIDECAR_PUBLIC_KEY_VERSION": "1"},
    ],
)
def test_the_sealed_key_may_be_given_again_outside(sealed: Write, env: dict[str, str]) -> None:
    assert load(env, manifest=sealed()).public_keys == load({}, manifest=sealed()).public_keys


@pytest.mark.parametrize("pem", [public_pem().replace("\n", "\r\n"), pkcs1_pem()], ids=["CRLF", "PKCS#1"])
def test_the_sealed_key_in_another_form_is_the_same_key(sealed: Write, pem: str) -> None:
    assert load({"SIDECAR_PUBLIC_KEY": pem}, manifest=sealed())


def test_a_key_has_one_fingerprint_however_it_is_given(sealed: Write) -> None:
    found = problem({"SIDECAR_PUBLIC_KEY": base64_of(public_pem("forged"))}, manifest=sealed())
    assert fingerprint(public_pem("forged")) in found.fault


def test_keys_are_sorted_newest_first(sealed: Write) -> None:
    keys = [key("a", 1), key("c", 3), key("b", 2)]
    found = load({}, manifest=sealed(products=[product(public_keys=keys)]))
    assert [one.version for one in found.public_keys] == [3, 2, 1]


def test_a_product_sealed_without_keys_takes_one_from_outside(sealed: Write) -> None:
    path = sealed(products=[{"code": CODE}])
    env = {"SIDECAR_PUBLIC_KEY": public_pem("outside"), "SIDECAR_PUBLIC_KEY_VERSION": "7"}
    assert [one.version for one in load(env, manifest=path).public_keys] == [7]
    assert problem({}, manifest=path).setting == "SIDECAR_PUBLIC_KEY"


# -- entitlement_check, endpoint


def test_a_product_seals_its_entitlement_check(sealed: Write) -> None:
    path = sealed(products=[product(entitlement_check="register_usage")])
    found = load({"SIDECAR_ENTITLEMENT_CHECK": "register_usage"}, manifest=path)
    assert found.entitlement_check is EntitlementCheck.REGISTER_USAGE
    assert found.origins["entitlement_check"] == "manifest"


CHECK = {"SIDECAR_ENTITLEMENT_CHECK": "meter_usage", "SIDECAR_DIMENSIONS": "free"}
"""What would open the gate without an answer that a key verifies."""


@pytest.mark.parametrize("where", ["environment", "flag", "file"])
def test_a_sealed_key_cannot_be_talked_out_of_its_use(where: str, sealed: Write, tmp_path: Path) -> None:
    path = sealed()
    env, flags = (CHECK, None) if where == "environment" else ({"SIDECAR_DIMENSIONS": "free"}, None)
    if where == "flag":
        flags = {"entitlement_check": "meter_usage"}
    if where == "file":
        (tmp_path / "config.yaml").write_text("entitlement_check: meter_usage\n")
        env = env | {"SIDECAR_CONFIG": str(tmp_path / "config.yaml")}
    found = problem(env, flags, manifest=path)
    assert "meter_usage" in found.fault
    assert "register_usage" in found.fault
    assert str(path) in found.fault


def test_a_sealed_key_implies_the_check_that_uses_it(sealed: Write) -> None:
    for env in ({}, {"SIDECAR_ENTITLEMENT_CHECK": "register_usage"}, {"SIDECAR_DIMENSIONS": "requests"}):
        found = load(env, manifest=sealed())
        assert found.entitlement_check is EntitlementCheck.REGISTER_USAGE
        assert found.origins["entitlement_check"] == "manifest"


def test_a_key_that_is_sealed_for_all_products_is_used_too(sealed: Write) -> None:
    path = sealed(products=[{"code": CODE}], public_key=public_pem())
    assert load({}, manifest=path).origins["entitlement_check"] == "manifest"
    assert "register_usage" in problem(CHECK, manifest=path).fault


@pytest.mark.parametrize("products", [[{"code": CODE}], [product()]])
@pytest.mark.parametrize("exists", [True, False])
def test_the_file_of_a_key_cannot_be_sealed(
    products: list[object], exists: bool, sealed: Write, tmp_path: Path
) -> None:
    """A volume over the file would bring another key, and the manifest's digest would stay the same."""
    if exists:
        (tmp_path / "key.pem").write_text(public_pem("forged"))
    path = sealed(products=products, public_key_file=str(tmp_path / "key.pem"))
    found = next(one for one in problems({}, manifest=path) if "public_key_file" in one.setting)
    assert found.setting == f"public_key_file in {path}"
    assert "Write the key itself into public_keys" in found.fault


def test_the_file_of_a_key_cannot_be_sealed_for_one_product(sealed: Write, tmp_path: Path) -> None:
    path = sealed(products=[product(public_key_file=str(tmp_path / "key.pem"))])
    assert problem({}, manifest=path).setting == f"products[0].public_key_file in {path}"


def test_where_no_key_is_sealed_outside_may_name_its_file(sealed: Write, tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_text(public_pem())
    found = load({"SIDECAR_PUBLIC_KEY_FILE": str(tmp_path / "key.pem")}, manifest=sealed(products=[{"code": CODE}]))
    assert [one.pem for one in found.public_keys] == [public_pem()]
    assert found.origins["public_keys"] == "environment"


def test_each_product_has_the_check_of_its_own_key(sealed: Write) -> None:
    path = sealed(products=[product(), {"code": OTHER, "entitlement_check": "meter_usage", "dimensions": ["requests"]}])
    assert load({"SIDECAR_PRODUCT_CODE": CODE}, manifest=path).entitlement_check is EntitlementCheck.REGISTER_USAGE
    assert load({"SIDECAR_PRODUCT_CODE": OTHER}, manifest=path).entitlement_check is EntitlementCheck.METER_USAGE


@pytest.mark.parametrize("for_all", [True, False])
def test_a_manifest_may_say_that_a_product_with_a_key_is_asked_otherwise(for_all: bool, sealed: Write) -> None:
    metered = {"entitlement_check": "meter_usage", "dimensions": ["requests"]}
    path = sealed(**metered) if for_all else sealed(products=[product(**metered)])
    assert load({}, manifest=path).entitlement_check is EntitlementCheck.METER_USAGE
    assert "meter_usage" in problem({"SIDECAR_ENTITLEMENT_CHECK": "register_usage"}, manifest=path).fault


def test_without_a_sealed_key_outside_chooses_the_check(sealed: Write) -> None:
    path = sealed(products=[{"code": CODE}])
    assert load(CHECK, manifest=path).entitlement_check is EntitlementCheck.METER_USAGE


def test_an_unknown_entitlement_check_of_a_product_is_refused(sealed: Write) -> None:
    path = sealed(products=[product(entitlement_check="none")])
    assert problem({}, manifest=path).setting == f"products[0].entitlement_check in {path}"


@pytest.mark.parametrize("given", [{}, {"allow_endpoint_override": False}])
def test_an_endpoint_override_is_refused_where_the_manifest_does_not_allow_it(
    sealed: Write, given: dict[str, object]
) -> None:
    path = sealed(**given)
    for env, flags, written in (
        ({"SIDECAR_ENDPOINT_URL": "http://fake"}, {}, "SIDECAR_ENDPOINT_URL"),
        ({}, {"endpoint_url": "http://fake"}, "--endpoint-url"),
    ):
        found = problem(env, flags, path)
        assert found.setting == written
        assert "'http://fake'" in found.fault
        assert "allow_endpoint_override: false" in found.fault
        assert str(path) in found.fault


def test_an_endpoint_override_is_honoured_where_the_manifest_allows_it(sealed: Write) -> None:
    path = sealed(allow_endpoint_override=True)
    assert load({"SIDECAR_ENDPOINT_URL": "http://fake"}, manifest=path).endpoint_url == "http://fake"
    assert load({}, manifest=path).endpoint_url is None


@pytest.mark.parametrize("value", ["false", "true", 0, None])
def test_allow_endpoint_override_is_a_yaml_boolean(sealed: Write, value: object) -> None:
    path = sealed(allow_endpoint_override=value)
    assert problem({}, manifest=path).setting == f"allow_endpoint_override in {path}"


def test_an_endpoint_cannot_be_sealed(sealed: Write) -> None:
    path = sealed(endpoint_url="http://fake", allow_endpoint_override=True)
    found = problem({}, manifest=path)
    assert found.setting == f"endpoint_url in {path}"
    assert "not a key of the manifest" in found.fault


# -- the form


def of(document: dict[str, object]) -> tuple[manifest.Manifest, list[Problem]]:
    found: list[Problem] = []
    return manifest.read(document, Path("p.yaml"), found), found


@pytest.mark.parametrize(
    ("document", "written"),
    [
        ({}, "products"),
        ({"products": []}, "products"),
        ({"products": {"code": CODE}}, "products"),
        ({"products": None}, "products"),
        ({"products": ["sealed-one"]}, "products[0]"),
        ({"products": [{}]}, "products[0].code"),
        ({"products": [{"code": 123}]}, "products[0].code"),
        ({"products": [{"code": "prod-123"}]}, "products[0].code"),
        ({"products": [product(), product()]}, "products"),
        ({"products": [product(public_key=public_pem())]}, "products[0].public_key"),
        ({"products": [product(public_keys=public_pem())]}, "products[0].public_keys"),
        ({"products": [product(public_keys=[public_pem()])]}, "products[0].public_keys[0]"),
        ({"products": [product(public_keys=[{"version": 1}])]}, "products[0].public_keys[0]"),
        ({"products": [product(public_keys=[key() | {"note": "x"}])]}, "products[0].public_keys[0]"),
        ({"products": [product(public_keys=[key(version=0)])]}, "products[0].public_keys[0].version"),
        ({"products": [product(public_keys=[{"version": 1, "key": private_pem()}])]}, "products[0].public_keys[0].key"),
        (
            {"products": [product(public_keys=[{"version": 1, "key": elliptic_pem()}])]},
            "products[0].public_keys[0].key",
        ),
        ({"products": [product(public_keys=[key("a"), key("b")])]}, "products[0].public_keys"),
        ({"products": [product()], "on_deny": "exit"}, "on_deny"),
        ({"products": [product()], "config": "/x"}, "config"),
        ({"products": [product()], "region": "us-east-1"}, "region"),
        ({"products": [product()], "SIDECAR_ON_DENIED": "exit"}, "SIDECAR_ON_DENIED"),
        ({"products": [product()], "reask_seconds": "soon"}, "reask_seconds"),
    ],
)
def test_a_malformed_manifest_is_refused_at_the_field(document: dict[str, object], written: str) -> None:
    _, found = of(document)
    assert [one.setting for one in found] == [f"{written} in p.yaml"]
    assert body_of(private_pem()) not in str(found[0])
    assert body_of(public_pem()) not in str(found[0])


def test_every_fault_of_a_manifest_is_reported_at_once() -> None:
    _, found = of({"products": [{"code": 1}, {"code": "a", "x": 1, "public_keys": 3}], "y": 1, "log_level": "z"})
    assert len(found) == 5


def test_a_good_manifest_has_no_fault() -> None:
    read, found = of({"products": [product(), product(OTHER)], "on_denied": "exit", "allow_endpoint_override": True})
    assert found == []
    assert [one.code for one in read.products] == [CODE, OTHER]
    assert read.product(OTHER) is read.products[1]
    assert read.product("foreign") is None
    assert read.sealed == {"on_denied": "exit"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("products: [{code: a}]\nproducts: [{code: b}]\n", "given twice"),
        ("products: [{code: a, code: b}]\n", "given twice"),
        ("products: [\n", "is not YAML"),
        ("- products\n", "no mapping"),
        ("products: [{code: 0123}]\n", "put it in quotes"),
        ("", "is missing"),
    ],
)
def test_a_manifest_that_is_not_strict_yaml_is_an_error(sealed: Write, text: str, words: str) -> None:
    path = sealed(text)
    env = {"SIDECAR_PRODUCT_CODE": CODE, "SIDECAR_PUBLIC_KEY": public_pem()}
    assert words in problem(env, manifest=path).fault


def test_a_manifest_that_cannot_be_read_is_an_error_and_not_skipped(tmp_path: Path) -> None:
    path = tmp_path / "product.yaml"
    path.mkdir()
    env = {"SIDECAR_PRODUCT_CODE": CODE, "SIDECAR_PUBLIC_KEY": public_pem(), "SIDECAR_ENDPOINT_URL": "http://fake"}
    found = problem(env, manifest=path)
    assert found.setting == str(path)
    assert "cannot be read" in found.fault


@pytest.mark.parametrize("target", ["missing.yaml", "product.yaml"], ids=["dangling", "loop"])
def test_a_manifest_that_is_a_dangling_link_is_not_skipped(tmp_path: Path, target: str) -> None:
    path = tmp_path / "product.yaml"
    path.symlink_to(target)
    assert problem({"SIDECAR_PRODUCT_CODE": CODE, "SIDECAR_PUBLIC_KEY": public_pem()}, manifest=path)


def test_a_manifest_in_an_unreadable_directory_is_not_skipped(sealed: Write, tmp_path: Path) -> None:
    """Run as another user, in another process: root may search everything."""
    path = sealed()
    tmp_path.chmod(0o700 if os.getuid() == 0 else 0)
    pid = os.fork()
    if pid == 0:
        code = 2
        try:
            if os.getuid() == 0:
                os.setuid(65534)
            load({"SIDECAR_PRODUCT_CODE": "foreign", "SIDECAR_PUBLIC_KEY": public_pem("forged")}, manifest=path)
            code = 1
        except SettingsError:
            code = 0
        finally:
            os._exit(code)
    ended = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    tmp_path.chmod(0o700)
    assert ended == 0


def test_no_setting_moves_the_manifest(sealed: Write) -> None:
    path = sealed()
    found = problem({"SIDECAR_MANIFEST": "/elsewhere"}, manifest=path)
    assert "is not a setting" in found.fault
    assert not [name for name in BY_NAME if "manifest" in name]


def test_a_sealed_key_is_in_no_text_of_the_settings(sealed: Write) -> None:
    assert body_of(public_pem()) not in repr(load({}, manifest=sealed()))


def test_settings_of_a_manifest_cannot_be_changed_afterwards(sealed: Write) -> None:
    found = load({}, manifest=sealed())
    with pytest.raises(AttributeError):
        found.product_code = "other"  # type: ignore[misc]


def test_a_manifest_fault_is_a_settings_error(sealed: Write) -> None:
    with pytest.raises(SettingsError):
        Settings.load({}, {}, sealed(on_deny="exit"))


# -- dimensions


def test_a_product_seals_its_own_dimensions(sealed: Write) -> None:
    path = sealed(products=[product(dimensions=["requests", {"name": "gb", "decimals": 3}])])
    found = load({}, manifest=path)
    assert [one.name for one in found.dimensions] == ["requests", "gb"]
    assert found.origins["dimensions"] == "manifest"
    assert load({"SIDECAR_DIMENSIONS": '["requests", {"name": "gb", "decimals": 3}]'}, manifest=path) is not None


def test_a_product_seals_that_nothing_is_metered(sealed: Write) -> None:
    path = sealed(products=[product(dimensions=[])])
    assert load({}, manifest=path).dimensions == ()
    found = problem({"SIDECAR_DIMENSIONS": "requests"}, manifest=path)
    assert "'requests'" in found.fault
    assert "'[]'" in found.fault


def test_other_dimensions_from_outside_are_refused_naming_both(sealed: Write) -> None:
    path = sealed(products=[product(dimensions=["requests"])])
    found = problem({"SIDECAR_DIMENSIONS": "cheaper"}, manifest=path)
    assert "cheaper" in found.fault
    assert "requests" in found.fault


def test_a_product_sealed_as_meter_usage_needs_no_key(
    sealed: Write,
) -> None:
    path = sealed(products=[{"code": "a", "entitlement_check": "meter_usage", "dimensions": ["requests"]}])
    assert load({}, manifest=path).public_keys == ()
    assert "register_usage" in problem({"SIDECAR_ENTITLEMENT_CHECK": "register_usage"}, manifest=path).fault
