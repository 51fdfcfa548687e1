"""Write and read AWS JSON 1.1, as every JSON service here does.

Invariants:
- Answers are `application/x-amz-json-1.1`; a request that is no JSON object is a SerializationException.
- An error is its code in `__type`, its text in the member that the service's model names, and any other member of its
  shape.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from sidecar.emulator.refusals import Refusal, refusal
from sidecar.emulator.wire import Reply, retry_after_header

CONTENT_TYPE: Final = "application/x-amz-json-1.1"
WEB_PAGE: Final = b"<html><head><title>Gateway</title></head><body>This is not the service.</body></html>"


def json_object(body: bytes) -> Mapping[str, object]:
    """Return the request's JSON object. What cannot be read as one is a SerializationException."""
    try:
        value = json.loads(body or b"{}")
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise refusal("SerializationException", "The request body must be a JSON object.")
    return value


def success(members: Mapping[str, object]) -> Reply:
    """Return a 200 with these members."""
    return Reply(status=200, content_type=CONTENT_TYPE, body=_encoded(members))


def error(refused: Refusal, text_member: str) -> Reply:
    """Return an error; `text_member` holds its text."""
    return Reply(
        status=refused.status,
        content_type=CONTENT_TYPE,
        body=_encoded({"__type": refused.code, text_member: refused.message, **refused.members}),
        headers=retry_after_header(refused),
    )


def operation_of(headers: Mapping[str, str], prefix: str, known: Mapping[str, object]) -> str:
    """Return the operation that X-Amz-Target names. Raises Refusal for an unknown one."""
    target = headers.get("x-amz-target", "")
    operation = target.removeprefix(prefix)
    if not target.startswith(prefix) or operation not in known:
        raise refusal("UnknownOperationException", f"Unknown operation: {target or 'no X-Amz-Target'}.")
    return operation


def _encoded(value: Mapping[str, object]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode("utf-8")
