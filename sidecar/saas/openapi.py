"""Describe the service's API as one OpenAPI 3.1 document.

Invariants:
- Every route that `http` serves is here, and no other; a test compares them.

Sources: OpenAPI Specification 3.1.1; RFC 9457 (problem documents).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sidecar import __version__
from sidecar.api import problem
from sidecar.api.reply import JSON

CUSTOMER: Final[Mapping[str, Any]] = {
    "type": "object",
    "description": "How a customer is named: a license, an account, or the identifier of an older product.",
    "minProperties": 1,
    "additionalProperties": False,
    "properties": {name: {"type": "string"} for name in ("license_arn", "aws_account_id", "identifier")},
}
EVENT: Final[Mapping[str, Any]] = {
    "type": "object",
    "required": ["customer", "dimension", "quantity"],
    "additionalProperties": False,
    "properties": {
        "customer": CUSTOMER,
        "dimension": {"type": "string"},
        "quantity": {"type": ["string", "number"], "description": "An exact decimal, 0 or more."},
        "id": {"type": "string", "minLength": 1, "maxLength": 128},
        "at": {"type": ["string", "number"], "description": "ISO 8601 with an offset, or epoch seconds."},
        "tags": {"type": "object", "additionalProperties": {"type": "string"}},
        "key": {"type": "string", "minLength": 1, "maxLength": 256},
    },
}
RESOLVED: Final[Mapping[str, Any]] = {
    "type": "object",
    "properties": {
        "customer_aws_account_id": {"type": ["string", "null"]},
        "license_arn": {"type": ["string", "null"]},
        "customer_identifier": {"type": ["string", "null"]},
        "product_code": {"type": "string"},
        "agreement_id": {"type": ["string", "null"]},
    },
}
DECISION: Final[Mapping[str, Any]] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "act": {"enum": ["retry", "roll_forward", "confirm", "accept_aws"]},
        "customer": CUSTOMER,
        "hour": {"type": "string"},
        "dimension": {"type": "string"},
        "metering_record_id": {"type": "string"},
        "quantity": {"type": ["string", "number"]},
    },
}
OBJECT: Final[Mapping[str, Any]] = {"type": "object"}
ROUTES: Final[tuple[tuple[str, str, str, Mapping[str, Any] | None, Mapping[int, str]], ...]] = (
    ("POST", "/v1/customers/resolve", "Find out who holds a registration token, and keep the customer.",
     {"type": "object", "required": ["token"], "properties": {"token": {"type": "string"}}},
     {200: "the customer", 400: "no token", 422: "the token is refused", 503: "AWS or the database cannot be asked"}),
    ("GET", "/v1/customers", "List the customers.", None, {200: "every customer", 503: "the database fails"}),
    ("POST", "/v1/usage", "Report usage of customers. The answer comes after the events are committed.",
     {"oneOf": [EVENT, {"type": "array", "minItems": 1, "maxItems": 1000, "items": EVENT}]},
     {200: "how many were accepted, and how many were known", 400: "malformed", 404: "unknown dimension or customer",
      409: "a known id with other content", 413: "too much",
      422: "out of range, too many tag sets or keys, or the customer is closed",
      503: "not known to be kept: send the same again"}),
    ("GET", "/v1/usage", "List the newest 10 000 records, newest hour first.", None,
     {200: "records", 400: "malformed"}),
    ("POST", "/v1/usage/retry", "Decide about records that wait for a person.", DECISION,
     {200: "the records as they are then", 400: "malformed", 404: "there is no such record", 409: "not allowed",
      503: "another replica leads"}),
    ("GET", "/v1/usage/export", "Get a page of the audit copy, as JSON Lines; `Link` has the next page, with `after`.",
     None, {200: "records, oldest hour first; on the last page what is open, then totals", 400: "malformed"}),
    ("POST", "/v1/notices", "Apply a notice of SNS or EventBridge.", OBJECT,
     {200: "how many customers changed", 400: "no notice", 503: "the database fails"}),
    ("GET", "/v1/status", "See how the service is.", None, {200: "status"}),
    ("GET", "/openapi.json", "Get this document.", None, {200: "this document"}),
    ("GET", "/healthz", "Probe whether the process lives.", None, {200: "it lives", 503: "a loop stopped"}),
    ("GET", "/readyz", "Probe whether usage can be kept.", None, {200: "it can", 503: "the database fails"}),
    ("GET", "/metrics", "Read the metrics.", None, {200: "Prometheus text"}),
)  # fmt: skip
"""Method, path, what it does, the request's schema, and status → when it comes."""


def document() -> dict[str, Any]:
    """Return the document as JSON values."""
    paths: dict[str, dict[str, Any]] = {}
    for method, path, does, schema, answers in ROUTES:
        operation: dict[str, Any] = {"summary": does, "operationId": f"{method.lower()}{_camel(path)}"}
        if schema is not None:
            operation["requestBody"] = {"required": True, "content": {JSON: {"schema": dict(schema)}}}
        operation["responses"] = {str(status): _response(path, status, when) for status, when in answers.items()}
        paths.setdefault(path, {})[method.lower()] = operation
    return {
        "openapi": "3.1.1",
        "info": {
            "title": "entitlement-sidecar saas",
            "version": __version__,
            "description": "The API of the SaaS service. A refusal is a problem document with a `reason` that never"
            " changes. Usage is committed when a 2xx comes.",
        },
        "paths": paths,
        "components": {"schemas": {"Event": EVENT, "Customer": CUSTOMER}},
    }


def _camel(path: str) -> str:
    return "".join(part.capitalize() for part in path.strip("/").replace(".", "/").split("/"))


def _response(path: str, status: int, when: str) -> dict[str, Any]:
    if status >= 400:
        return {"description": when, "content": {problem.CONTENT_TYPE: {"schema": OBJECT}}}
    if path in ("/metrics", "/v1/usage/export"):
        return {"description": when, "content": {"text/plain": {"schema": {"type": "string"}}}}
    schema = RESOLVED if path == "/v1/customers/resolve" else OBJECT
    return {"description": when, "content": {JSON: {"schema": dict(schema)}}}
