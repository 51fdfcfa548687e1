"""Describe the product's listener as one OpenAPI 3.1 document, made from `operations`.

Invariants:
- The document says nothing of the running product: not its code, its dimensions or its settings.
- A status that an operation and the HTTP server both answer with is one response with the reasons of both.
- HEAD is served wherever GET is, and is not listed.

Sources: OpenAPI Specification 3.1.1; RFC 6750 (Bearer); RFC 8288 (Link); RFC 9457 (problem documents).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from sidecar import __version__
from sidecar.api import problem
from sidecar.api.operations import OPERATIONS
from sidecar.api.operations.operation import Body, Operation, Schema
from sidecar.api.operations.refusals import BY_SERVER, GATE, REFUSALS
from sidecar.api.operations.schemas import SCHEMAS, ref

VERSION: Final = "3.1.1"
BEARER: Final = "token"
MARKDOWN_LINK: Final = re.compile(r"\[([^\]]+)\]\([^)]+\)")
SHARED_HEADERS: Final[Mapping[int, str]] = {
    401: "WWW-Authenticate",
    405: "Allow",
    415: "Accept-Encoding",
    503: "Retry-After",
}
"""Status of a refusal that any route may give → its header."""
BY_STATUS: Final[Mapping[int, list[str]]] = {
    status: [reason for reason in BY_SERVER if REFUSALS[reason].status == status]
    for status in dict.fromkeys(REFUSALS[reason].status for reason in BY_SERVER)
}
"""Status → reasons with which the HTTP server refuses in place of any route."""

HEADERS: Final[Mapping[str, Mapping[str, Any]]] = {
    "Retry-After": {
        "description": "After how many seconds to ask again.",
        "schema": {"type": "integer", "minimum": 1},
        "example": 1,
    },
    "Link": {
        "description": 'The next page, with `rel="next"`; it is missing behind the last one.',
        "schema": {"type": "string"},
        "example": '</v1/usage/export?after=494698%3Arequests>; rel="next"',
    },
    "Allow": {
        "description": "The methods that the route takes.",
        "schema": {"type": "string"},
        "example": "GET, HEAD",
    },
    "WWW-Authenticate": {
        "description": "How to authenticate.",
        "required": True,
        "schema": {"type": "string"},
        "example": "Bearer",
    },
    "Accept-Encoding": {
        "description": "The content codings that a request may have.",
        "required": True,
        "schema": {"type": "string"},
        "example": "gzip, deflate",
    },
}

ABOUT: Final = (
    "The product's listener of the sidecar (`SIDECAR_API_BIND`, `127.0.0.1:8485`; it may be a Unix socket, asked with"
    " `Host: localhost`). The probe listener has the probe routes alone.\n\n"
    "- A refusal is a problem document (`application/problem+json`) with a `reason` that never changes.\n"
    "- Usage is on disk when a 2xx comes. After a 503, a 429 or no answer at all send the same events again, with the"
    " same ids.\n"
    "- The body of a request may be compressed: `Content-Encoding: gzip` or `deflate`. Its `Content-Type` is not"
    " checked.\n"
    "- Answers may get further members. Ignore those that you do not know.\n"
    "- HEAD is answered wherever GET is. Another method than those listed is answered 405 `method_not_allowed` with"
    " `Allow`, another path 404 `not_found`.\n"
    "- What a browser sends from another origin is refused: 403 `cross_origin`. `Host` has to be a name that the"
    " listener knows: 403 `host_refused`.\n"
    "- With `SIDECAR_API_TOKEN_FILE` every route but the probes needs `Authorization: Bearer`."
)


def document(operations: Iterable[Operation] = OPERATIONS) -> dict[str, Any]:
    """Return the document as JSON values."""
    paths: dict[str, dict[str, Any]] = {}
    for one in operations:
        paths.setdefault(one.path, {})[one.method.lower()] = _operation(one)
    return {
        "openapi": VERSION,
        "info": {
            "title": "entitlement-sidecar",
            "version": __version__,
            "summary": "The API of the sidecar for the product beside it.",
            "description": ABOUT,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/", "description": "Where this document was read."}],
        "paths": paths,
        "components": {
            "schemas": dict(SCHEMAS),
            "headers": dict(HEADERS),
            "responses": {_title(status): _shared(status) for status in (*BY_STATUS, 404, 405)},
            "securitySchemes": {
                BEARER: {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "The token of `SIDECAR_API_TOKEN_FILE`, where that is set.",
                }
            },
        },
    }


def _operation(one: Operation) -> dict[str, Any]:
    made: dict[str, Any] = {"operationId": one.id, "summary": plain(one.does)}
    if one.takes:
        made["description"] = plain(one.takes)
    if one.query:
        made["parameters"] = [
            {
                "name": query.name,
                "in": "query",
                "description": query.description,
                "schema": query.schema,
                "example": query.example,
            }
            for query in one.query
        ]
    if one.request:
        made["requestBody"] = _request(one.request, one)
    made["responses"] = {
        str(status): _response(status, one) for status in sorted({*one.answers, *_server_statuses(one)})
    }
    made["security"] = [] if one.is_probe else [{}, {BEARER: []}]
    return made


def _request(body: Body, one: Operation) -> dict[str, Any]:
    examples = {"example": {"value": body.example}} | {name: {"value": value} for name, value in one.requests.items()}
    return {
        "required": one.request_required,
        "content": {body.media_type: {"schema": body.schema, "examples": examples}},
    }


def _server_statuses(one: Operation) -> set[int]:
    return set(BY_STATUS) - ({401} if one.is_probe else set())


def _response(status: int, one: Operation) -> dict[str, Any]:
    """Return what an operation and the server answer with this status."""
    answer = one.answers.get(status)
    if answer is None:
        return {"$ref": f"#/components/responses/{_title(status)}"}
    of_server = BY_STATUS.get(status, ())
    reasons = [*answer.reasons, *(reason for reason in of_server if reason not in answer.reasons)]
    content = {answer.body.media_type: _media(answer.body)} if answer.body else {}
    if reasons:
        content |= _problem(status, reasons, answer.detail or plain(REFUSALS[reasons[0]].meaning))
    headers = {"headers": _headers(answer.headers)} if answer.headers else {}
    return {"description": plain(answer.when), **headers, "content": content}


def _shared(status: int) -> dict[str, Any]:
    """Return what server or router answer with this status in place of any route."""
    reasons = BY_STATUS.get(status) or [name for name, one in REFUSALS.items() if one.status == status]
    meanings = [plain(REFUSALS[reason].meaning) for reason in reasons]
    headers = {"headers": _headers((SHARED_HEADERS[status],))} if status in SHARED_HEADERS else {}
    return {"description": " ".join(meanings), **headers, "content": _problem(status, reasons, meanings[0])}


def _title(status: int) -> str:
    return problem.TITLES[status].replace(" ", "")


def _problem(status: int, reasons: Sequence[str], detail: str) -> dict[str, Any]:
    others = [one for one in reasons if one not in GATE]
    reason: Schema = {"enum": list(reasons)}
    if set(GATE) <= set(reasons):
        reason = {"anyOf": [ref("GateReason"), {"enum": others}]} if others else ref("GateReason")
    schema: Schema = {
        "allOf": [
            ref("Problem"),
            {"type": "object", "properties": {"status": {"const": status}, "reason": reason}},
        ]
    }
    example = {"type": "about:blank", "title": problem.TITLES[status], "status": status, "reason": reasons[0]}
    return {problem.CONTENT_TYPE: {"schema": schema, "example": {**example, "detail": detail}}}


def _media(body: Body) -> dict[str, Any]:
    return {"schema": body.schema, "example": body.example}


def _headers(names: Iterable[str]) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def plain(markdown: str) -> str:
    """Return Markdown without its links, which lead to pages of the documentation."""
    return MARKDOWN_LINK.sub(r"\1", markdown)
