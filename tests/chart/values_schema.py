"""Make the generated parts of values.schema.json: the settings of `config`, and what may not be null.

python -m tests.chart.values_schema --write
"""

from __future__ import annotations

import json
import sys
from typing import Any

import yaml

from sidecar.settings.describe import file_schema
from tests.chart.values_table import CHART, VALUES, WHOLE

SCHEMA = CHART / "values.schema.json"
WIDTH = 120
NOT_IN_CONFIG = {
    "probe_bind": "probePort",
    "api_bind": "apiPort",
    "grace_seconds": "the pod's terminationGracePeriodSeconds",
    "state_dir": "the mount of the state volume",
    "termination_log": "the kubelet's own file",
    "workload_id": "the pod's uid",
    "public_key": "the manifest",
    "public_key_file": "the manifest",
    "public_key_version": "the manifest",
    "entitlement_check": "the manifest",
    "dimensions": "dimensions",
    "endpoint_url": "tests alone",
    "clock_url": "tests alone",
}
"""Setting that the chart's settings file may not have → what sets it."""


def rewritten(schema: dict[str, Any]) -> dict[str, Any]:
    properties = dict(schema["properties"])
    settings = {name: one for name, one in file_schema()["properties"].items() if name not in NOT_IN_CONFIG}
    properties["config"] = {"type": "object", "additionalProperties": False, "properties": settings}
    return _required({**schema, "properties": properties}, yaml.safe_load(VALUES.read_text()))


def _required(shape: dict[str, Any], values: dict[str, Any], path: str = "") -> dict[str, Any]:
    """Require every value that may not be null: null removes a value, and templates do not check for that."""
    properties = {
        name: _required(one, values[name], f"{path}{name}.")
        if isinstance(values.get(name), dict) and values[name] and f"{path}{name}" not in WHOLE
        else one
        for name, one in shape["properties"].items()
    }
    required = [name for name, one in properties.items() if name in values and "null" not in one.get("type", ())]
    return {**shape, "properties": properties, "required": required}


def text(shape: Any, indent: int = 0, before: int = 0) -> str:
    """Return JSON in which what fits into a line is on one. `before`: the width of the name."""
    flat = json.dumps(shape, ensure_ascii=False)
    if indent + before + len(flat) < WIDTH or not isinstance(shape, dict | list) or not shape:
        return flat
    inner = " " * (indent + 2)
    if isinstance(shape, list):
        lines = [inner + text(one, indent + 2) for one in shape]
        return "[\n" + ",\n".join(lines) + "\n" + " " * indent + "]"
    lines = [f"{inner}{json.dumps(name)}: {text(one, indent + 2, len(name) + 4)}" for name, one in shape.items()]
    return "{\n" + ",\n".join(lines) + "\n" + " " * indent + "}"


if __name__ == "__main__":
    if sys.argv[1:] != ["--write"]:
        sys.exit(__doc__)
    SCHEMA.write_text(text(rewritten(json.loads(SCHEMA.read_text()))) + "\n")
