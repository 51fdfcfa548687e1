"""Settings are described without keys, as Markdown, and in schemas that agree with the readers."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from sidecar.errors import Problem, SettingsError
from sidecar.settings import SETTINGS, Settings, describe, manifest
from sidecar.settings.saas_table import SAAS_BY_NAME, SAAS_SETTINGS
from tests.fakes.keys import base64_of, body_of, private_pem, public_pem
from tests.unit.settings.helpers import load, needed

REFERENCE = Path(__file__).parents[3] / "docs" / "reference"


# -- the table for a person


def rows(settings: Settings) -> dict[str, tuple[str, str]]:
    lines = describe.effective(settings).splitlines()
    cells = [line.split("\t") for line in lines]
    assert {len(row) for row in cells} == {3}
    assert cells[0] == ["SETTING", "VALUE", "FROM"]
    return {name: (value, origin) for name, value, origin in cells[1:]}


def test_every_setting_is_shown_with_its_value_and_source() -> None:
    found = rows(load(needed() | {"SIDECAR_ON_DENIED": "exit"}, {"log_level": "debug"}))
    assert found["SIDECAR_ON_DENIED"] == ("exit", "environment")
    assert found["SIDECAR_LOG_LEVEL"] == ("debug", "flag")
    assert found["SIDECAR_FLUSH_SECONDS"] == ("10", "default")
    assert found["SIDECAR_PROBE_BIND"] == ("[::]:8484", "default")
    assert found["SIDECAR_API_BIND"] == ("127.0.0.1:8485,[::1]:8485", "default")
    assert found["SIDECAR_ENDPOINT_URL"] == ("-", "default")
    shown = {name.split(" ")[0] for name in found}
    assert {one.variable for one in SETTINGS} - shown == {"SIDECAR_PUBLIC_KEY_FILE", "SIDECAR_PUBLIC_KEY_VERSION"}


def test_a_key_is_shown_by_version_and_fingerprint_only() -> None:
    for given in (public_pem(), base64_of(public_pem())):
        settings = load(needed() | {"SIDECAR_PUBLIC_KEY": given, "SIDECAR_PUBLIC_KEY_VERSION": "3"})
        value, origin = rows(settings)["SIDECAR_PUBLIC_KEY (version 3)"]
        assert value == f"SHA-256 {hashlib.sha256(public_pem().strip().encode()).hexdigest()[:12]}…"
        assert origin == "environment"
        text = describe.effective(settings)
        assert not [line for line in public_pem().splitlines() if line in text]


def sealed(tmp_path: Path) -> Path:
    path = tmp_path / "product.yaml"
    keys = [{"version": 1, "key": public_pem()}]
    path.write_text(yaml.safe_dump({"products": [{"code": "a", "public_keys": keys}]}))
    return path


def test_a_sealed_value_has_the_manifest_as_its_source(tmp_path: Path) -> None:
    found = rows(load({}, manifest=sealed(tmp_path)))
    assert found["SIDECAR_PRODUCT_CODE"] == ("a", "manifest")
    assert found["SIDECAR_PUBLIC_KEY (version 1)"][1] == "manifest"


def test_a_sealed_key_given_outside_too_still_has_the_manifest_as_source(tmp_path: Path) -> None:
    found = rows(load({"SIDECAR_PUBLIC_KEY": public_pem()}, manifest=sealed(tmp_path)))
    assert found["SIDECAR_PUBLIC_KEY (version 1)"][1] == "manifest"


# -- Markdown


def test_the_markdown_table_has_a_row_for_every_setting_and_the_file() -> None:
    lines = describe.markdown().splitlines()
    assert lines[0] == "| Setting | Meaning | Default |"
    assert [line.count(" | ") for line in lines] == [2] * len(lines)
    assert [line.split("`")[1] for line in lines[2:]] == [
        *(one.variable for one in (*SETTINGS, *SAAS_SETTINGS)),
        "SIDECAR_CONFIG",
    ]
    assert not [line for line in lines if line.endswith("| `None` |")]


# -- the schemas


@pytest.mark.parametrize(
    ("name", "made"),
    [
        ("product-manifest.schema.json", describe.manifest_schema),
        ("settings.schema.json", describe.file_schema),
    ],
)
def test_the_published_schema_is_the_generated_one(name: str, made: Any) -> None:
    assert json.loads((REFERENCE / name).read_text()) == made(), "run: python docs/generate.py"


@pytest.mark.parametrize("schema", [describe.manifest_schema(), describe.file_schema()])
def test_each_schema_is_a_valid_json_schema(schema: dict[str, Any]) -> None:
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == describe.DIALECT


def test_the_schemas_have_every_setting_that_their_file_may_have() -> None:
    names = {one.name for one in SETTINGS}
    assert set(describe.file_schema()["properties"]) == names | set(SAAS_BY_NAME)
    assert set(describe.manifest_schema()["properties"]) == names - set(manifest.NOT_SEALED) | {
        "products",
        "allow_endpoint_override",
    }


SKU = "prod-4kq7example2x"
KEY = {"version": 1, "key": public_pem()}
ONE = {"code": "a", "public_keys": [KEY]}
GOOD: list[dict[str, Any]] = [
    {"products": [ONE]},
    {"products": [{"code": "a"}]},
    {"products": [{"code": "a", "public_keys": []}]},
    {"products": [{"code": "-/=:_.@" + "a" * 200}]},
    {"products": [ONE | {"entitlement_check": "register_usage"}]},
    {"products": [ONE | {"entitlement_check": "meter_usage", "dimensions": ["a", {"name": "b", "scale": "0.5"}]}]},
    {"products": [ONE], "dimensions": "a,b"},
    {"products": [{"code": "a", "product_sku": SKU, "licenses": [{"name": "pro", "take": "check"}]}]},
    {"products": [ONE], "licenses": [{"name": "a", "unit": "None", "take": "seat", "any_of": "tier"}]},
    {"entitlement_check": "checkout_license", "product_sku": SKU},
    {"products": [{"code": "a"}], "public_key": public_pem()},
    {"products": [ONE | {"public_keys": [KEY, KEY | {"version": 2147483647}]}]},
    {"products": [ONE, ONE | {"code": "b"}]},
    {"products": [ONE | {"public_keys": [{"version": 1, "key": base64_of(public_pem())}]}]},
    {"products": [ONE], "allow_endpoint_override": True},
    {"products": [ONE], "allow_endpoint_override": False, "on_denied": "exit", "reask_seconds": 0},
    {"products": [ONE], "state_dir": "/x", "probe_bind": ":1", "flush_seconds": 1, "log_level": "debug"},
    {"products": [ONE], "startup_retry_seconds": 604800, "workload_id": "vm", "product_code": "a"},
]
BAD: list[dict[str, Any]] = [
    {},
    {"product_sku": SKU},
    {"entitlement_check": "checkout_license"},
    {"entitlement_check": "register_usage", "product_sku": SKU},
    {"products": [ONE | {"licenses": [{"name": "pro"}]}]},
    {"products": [ONE | {"licenses": [{"name": "pro", "take": "lease"}]}]},
    {"products": [ONE | {"licenses": [{"name": "pro", "take": "check", "unit": "Pieces"}]}]},
    {"products": [ONE | {"licenses": [{"name": "pro", "take": "check", "value": -1}]}]},
    {"products": [ONE | {"licenses": [{"name": "pro", "take": "check", "value": 1.5}]}]},
    {"products": [ONE | {"licenses": [{"name": "pro", "take": "check", "note": ""}]}]},
    {"products": []},
    {"products": None},
    {"products": ONE},
    {"products": ["a"]},
    {"products": [{}]},
    {"products": [{"public_keys": [KEY]}]},
    {"products": [{"code": 123}]},
    {"products": [{"code": ""}]},
    {"products": [{"code": "a b"}]},
    {"products": [{"code": "a" * 256}]},
    {"products": [ONE | {"name": "x"}]},
    {"products": [ONE | {"public_keys": None}]},
    {"products": [ONE | {"public_keys": KEY}]},
    {"products": [ONE | {"public_keys": [public_pem()]}]},
    {"products": [ONE | {"public_keys": [{"key": public_pem()}]}]},
    {"products": [ONE | {"public_keys": [{"version": 1}]}]},
    {"products": [ONE | {"public_keys": [KEY | {"version": 0}]}]},
    {"products": [ONE | {"public_keys": [KEY | {"version": 2147483648}]}]},
    {"products": [ONE | {"public_keys": [KEY | {"version": True}]}]},
    {"products": [ONE | {"public_keys": [KEY | {"key": 3}]}]},
    {"products": [ONE | {"public_keys": [KEY | {"key": ""}]}]},
    {"products": [ONE | {"public_keys": [KEY | {"note": ""}]}]},
    {"products": [ONE | {"entitlement_check": "none"}]},
    {"products": [ONE | {"entitlement_check": True}]},
    {"products": [ONE], "allow_endpoint_override": "false"},
    {"products": [ONE], "allow_endpoint_override": 0},
    {"products": [ONE], "endpoint_url": "http://x"},
    {"products": [{"code": "a"}], "public_key_file": "/etc/key.pem"},
    {"products": [ONE], "public_key_file": "/etc/key.pem"},
    {"products": [ONE | {"public_key_file": "/etc/key.pem"}]},
    {"products": [ONE], "on_denied": "stop"},
    {"products": [ONE], "on_denied": ["exit"]},
    {"products": [ONE], "reask_seconds": -1},
    {"products": [ONE], "reask_seconds": 604801},
    {"products": [ONE], "reask_seconds": 1.5},
    {"products": [ONE], "reask_seconds": True},
    {"products": [ONE], "flush_seconds": 0},
    {"products": [ONE], "state_dir": ""},
    {"products": [ONE], "state_dir": None},
    {"products": [ONE], "region": "us-east-1"},
    {"products": [ONE], "": "x"},
]
ONLY_THE_READER_REFUSES: list[tuple[str, dict[str, Any]]] = [
    ("a rule between items", {"products": [ONE, ONE]}),
    ("a rule between items", {"products": [ONE | {"public_keys": [KEY, KEY]}]}),
    ("what a code means", {"products": [{"code": "prod-abc"}]}),
    ("what a key is", {"products": [ONE | {"public_keys": [KEY | {"key": "nothing"}]}]}),
    ("what a key is", {"products": [ONE | {"public_keys": [KEY | {"key": private_pem()}]}]}),
    ("blanks alone", {"products": [ONE], "state_dir": " "}),
    ("an absolute path", {"products": [ONE], "state_dir": "x"}),
    ("a listener's address", {"products": [ONE], "probe_bind": "8484"}),
    ("printable text", {"products": [ONE], "workload_id": "a b"}),
    ("JSON Schema has no float", {"products": [ONE], "reask_seconds": 1.0}),
]
ONLY_THE_SCHEMA_REFUSES: list[tuple[str, dict[str, Any]]] = [
    ("numbers may be quoted, as in the environment", {"products": [ONE], "reask_seconds": "60"}),
    ("words may be in capitals, as in the environment", {"products": [ONE], "on_denied": "EXIT"}),
    ("blanks around text do not matter", {"products": [{"code": " a "}]}),
]


def read_well(document: dict[str, Any]) -> bool:
    found: list[Problem] = []
    manifest.read(document, Path("p"), found)
    return not found


def fits(document: dict[str, Any], schema: dict[str, Any] | None = None) -> bool:
    return bool(jsonschema.Draft202012Validator(schema or describe.manifest_schema()).is_valid(document))


@pytest.mark.parametrize("document", GOOD)
def test_schema_and_reader_accept_a_good_manifest(document: dict[str, Any]) -> None:
    assert read_well(document)
    assert fits(document)


@pytest.mark.parametrize("document", BAD)
def test_schema_and_reader_refuse_a_bad_manifest(document: dict[str, Any]) -> None:
    assert not read_well(document)
    assert not fits(document)


@pytest.mark.parametrize(("why", "document"), ONLY_THE_READER_REFUSES)
def test_the_reader_refuses_what_the_schema_cannot_express(why: str, document: dict[str, Any]) -> None:
    assert fits(document), why
    assert not read_well(document), why


@pytest.mark.parametrize(("why", "document"), ONLY_THE_SCHEMA_REFUSES)
def test_the_reader_accepts_some_manifests_that_the_schema_refuses(why: str, document: dict[str, Any]) -> None:
    assert read_well(document), why
    assert not fits(document), why


def test_a_null_entitlement_check_of_a_product_is_refused() -> None:
    document = {"products": [ONE | {"entitlement_check": None}]}
    assert not fits(document)
    assert not read_well(document)


FILE_GOOD: list[dict[str, Any]] = [
    {},
    {"product_code": "a", "public_key": public_pem(), "endpoint_url": "http://x"},
    {"product_code": "a", "public_key": public_pem(), "public_key_version": 2, "on_denied": "exit"},
]
FILE_BAD: list[dict[str, Any]] = [
    {"products": []},
    {"product_code": 1},
    {"on_deny": "exit"},
    {"log_level": "loud"},
    {"flush_seconds": 0},
    {"config": "/x"},
]


@pytest.mark.parametrize("document", FILE_GOOD + FILE_BAD)
def test_schema_and_reader_of_the_settings_file_agree(tmp_path: Path, document: dict[str, Any]) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text(yaml.safe_dump(document))
    spare = {key: value for key, value in needed().items() if key.removeprefix("SIDECAR_").lower() not in document}
    try:
        load(spare | {"SIDECAR_CONFIG": str(path)})
        good = True
    except SettingsError as exc:
        good = body_of(public_pem()) in str(exc)
    assert good == fits(document, describe.file_schema()) == (document in FILE_GOOD)
