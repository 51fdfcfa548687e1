"""Make a closed JSON Schema of AWS's model of RegisterTaskDefinition."""

from __future__ import annotations

from typing import Any

import botocore.session

KINDS = {
    "string": "string",
    "integer": "integer",
    "long": "integer",
    "boolean": "boolean",
    "double": "number",
    "float": "number",
}


def register_task_definition() -> dict[str, Any]:
    model = botocore.session.get_session().get_service_model("ecs")
    return schema(model.operation_model("RegisterTaskDefinition").input_shape)


def schema(shape: Any) -> dict[str, Any]:
    """Return the schema of a botocore shape and its members."""
    if shape.type_name == "structure":
        members = {name: schema(member) for name, member in shape.members.items()}
        required = list(shape.required_members)
        return {"type": "object", "properties": members, "required": required, "additionalProperties": False}
    if shape.type_name == "list":
        return {"type": "array", "items": schema(shape.member)}
    if shape.type_name == "map":
        return {"type": "object", "additionalProperties": schema(shape.value)}
    found: dict[str, Any] = {"type": KINDS[shape.type_name]}
    return found | ({"enum": list(shape.enum)} if getattr(shape, "enum", None) else {})


def cloudformation(value: Any, key: str = "") -> Any:
    """Return a task definition in CloudFormation's spelling: capitalized names; maps keep their keys."""
    if isinstance(value, dict):
        if key in ("options", "dockerLabels"):
            return dict(value)
        return {name[0].upper() + name[1:]: cloudformation(one, name) for name, one in value.items()}
    return [cloudformation(one) for one in value] if isinstance(value, list) else value
