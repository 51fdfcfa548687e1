"""Make a chart's values.schema.json from the comments in its values.yaml.

python -m tests.chart.values_schema --write [CHART…]

A value with the keyword `x-generated: settings` has the sidecar's settings as its properties.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from sidecar.settings.describe import file_schema
from tests.chart.values_file import Value, chosen, read

DRAFT = "http://json-schema.org/draft-07/schema#"
"""The newest that Helm 3.8.1 and AWS's check of add-ons read."""
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
    "product_sku": "the manifest",
    "licenses": "the manifest",
    "dimensions": "dimensions",
    "endpoint_url": "tests alone",
    "clock_url": "tests alone",
}
"""Setting that the chart's settings file may not have → what sets it."""


def schema(chart: Path) -> dict[str, Any]:
    """Return the schema of a chart's values, closed to values that the file does not have."""
    whole = read(chart)
    shape = dict(whole.shape)
    group = _group(whole)
    group["properties"] = {**shape.pop("properties", {}), **group["properties"]}
    return {"$schema": DRAFT, "title": chart.name, "type": "object", **group, **shape}


def _group(value: Value) -> dict[str, Any]:
    """Return a closed object. It requires what may not be null: null removes a value, and templates rely on it."""
    properties = {one.name: {**one.shape, **_group(one)} if one.inner else _one(one) for one in value.inner}
    required = [one.name for one in value.inner if not one.null]
    return {"additionalProperties": False, "properties": properties, "required": required}


def _one(value: Value) -> dict[str, Any]:
    shape = {"description": value.description, **value.shape}
    if shape.pop("x-generated", None) == "settings":
        settings = {name: one for name, one in file_schema()["properties"].items() if name not in NOT_IN_CONFIG}
        shape |= {"additionalProperties": False, "properties": settings}
    return shape


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
    for one in chosen(sys.argv[1:], __doc__):
        (one / "values.schema.json").write_text(text(schema(one)) + "\n")
