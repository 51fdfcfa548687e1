"""Describe the settings: a table for a person, Markdown for the reference, JSON Schemas for editors.

Invariants:
- Everything is made from `table.SETTINGS`, so that documentation cannot differ from the program.
- A key is shown as a fingerprint.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import Any, Final

from sidecar.settings import EntitlementCheck, Settings
from sidecar.settings.manifest import CONTRACT_KEYS, KEYS_MAX, NOT_SEALED, SEALED_BY_PRODUCT
from sidecar.settings.saas_table import SAAS_SETTINGS
from sidecar.settings.sources import KEY_NAMES, fingerprint
from sidecar.settings.table import BY_NAME, CONFIG_VARIABLE, SETTINGS, Setting

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


def effective(settings: Settings) -> str:
    """Return every setting with its value and source, tab-separated."""
    lines = [("SETTING", "VALUE", "FROM"), *rows(settings)]
    return "".join("\t".join(line) + "\n" for line in lines)


def rows(settings: Settings) -> Iterator[tuple[str, str, str]]:
    """Yield the variable of every setting, its value, and its source; keys as fingerprints."""
    for setting in SETTINGS:
        if setting.name in KEY_NAMES:
            continue
        value = getattr(settings, setting.name)
        yield setting.variable, _text(value), settings.origins.get(setting.name, "default")
    origin = settings.origins.get("public_keys", "default")
    for key in settings.public_keys:
        name = f"{BY_NAME['public_key'].variable} (version {key.version})"
        yield name, f"SHA-256 {fingerprint(key.pem)}", origin


def _text(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, tuple):
        return ",".join(str(one) for one in value) or "-"
    return str(value) or "-"


def markdown() -> str:
    """Return the settings table of docs/reference/settings.md."""
    lines = ["| Setting | Meaning | Default |", "| --- | --- | --- |"]
    for setting in (*SETTINGS, *SAAS_SETTINGS):
        default = setting.default_text or f"`{setting.default}`"
        lines.append(f"| `{setting.variable}` | {_meaning(setting)} | {default} |")
    lines.append(
        f"| `{CONFIG_VARIABLE}` | YAML file with settings under their lower-case names without the prefix | none |"
    )
    return "\n".join(lines) + "\n"


def _meaning(setting: Setting) -> str:
    if setting.choices and setting.name == "log_level":  # the others' meanings name their choices
        return f"{setting.meaning}: " + " · ".join(f"`{one.value}`" for one in setting.choices)
    return setting.meaning


def file_schema() -> dict[str, Any]:
    """Return the JSON Schema of the file that SIDECAR_CONFIG names."""
    return {
        "$schema": DIALECT,
        "title": "Settings file of the entitlement sidecar",
        "type": "object",
        "additionalProperties": False,
        "properties": {setting.name: setting.schema() for setting in (*SETTINGS, *SAAS_SETTINGS)},
    }


def manifest_schema() -> dict[str, Any]:
    """Return the JSON Schema of the product manifest."""
    sealable = {one.name: one.schema() for one in SETTINGS if one.name not in NOT_SEALED}
    key = {
        "type": "object",
        "additionalProperties": False,
        "required": ["version", "key"],
        "properties": {
            "version": BY_NAME["public_key_version"].schema(),
            "key": {"type": "string", "minLength": 1, "description": BY_NAME["public_key"].meaning},
        },
    }
    product = {
        "type": "object",
        "additionalProperties": False,
        "required": ["code"],
        "properties": {
            "code": {"type": "string", "pattern": "^[-a-zA-Z0-9/=:_.@]{1,255}$", "description": "product code"},
            "public_keys": {
                "type": "array",
                "maxItems": KEYS_MAX,
                "items": key,
                "description": "the newest version is asked for first",
            },
            **{name: BY_NAME[name].schema() for name in SEALED_BY_PRODUCT},
        },
    }
    override = {"type": "boolean", "default": False, "description": "whether SIDECAR_ENDPOINT_URL is honoured"}
    return {
        "$schema": DIALECT,
        "title": "Product manifest of the entitlement sidecar",
        "description": "Sealed into the seller's image; what it names cannot be changed from outside.",
        "type": "object",
        "additionalProperties": False,
        "anyOf": [
            {"required": ["products"]},
            {
                "required": list(CONTRACT_KEYS),
                "properties": {"entitlement_check": {"const": EntitlementCheck.CHECKOUT_LICENSE.value}},
            },
        ],
        "properties": {
            "products": {"type": "array", "minItems": 1, "items": product},
            "allow_endpoint_override": override,
            **sealable,
        },
    }
