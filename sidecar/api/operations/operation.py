"""Define how one HTTP operation is described: what it takes and everything it answers.

Invariants:
- Texts are Markdown with links as the pages under docs/reference have them.
- What every route may answer is in `refusals`, and not repeated by an operation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sidecar.api.reply import JSON
from sidecar.quick_dataclasses import dataclass, field

Schema = Mapping[str, Any]
"""A JSON Schema, dialect 2020-12, which is that of OpenAPI 3.1."""

RETRY_AFTER: Final = "Retry-After"


@dataclass(frozen=True, kw_only=True)
class Body:
    """A body that is no problem document. `example`: JSON, or text where the media type is none."""

    schema: Schema
    example: Any
    media_type: str = JSON


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One status of an operation."""

    when: str
    """When it comes, and with which body."""
    body: Body | None = None
    reasons: Sequence[str] = ()
    """Of a problem document; empty where there is none."""
    detail: str = ""
    """An example of the document's detail."""
    headers: Sequence[str] = ()
    """Names in `openapi.HEADERS`."""


@dataclass(frozen=True, kw_only=True)
class Query:
    """One parameter in the query, which may be left out."""

    name: str
    description: str
    schema: Schema
    example: str


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One method of one path."""

    method: str
    path: str
    id: str
    """A name for clients that are generated. Never changes."""
    does: str
    takes: str = ""
    query: Sequence[Query] = ()
    request: Body | None = None
    request_required: bool = True
    requests: Mapping[str, Any] = field(default_factory=dict)
    """Further examples of the request: name → body."""
    answers: Mapping[int, Answer]
    """Status → answer, without what every route may answer."""
    is_probe: bool = False
    """On the probe listener too, and without a token."""

    @property
    def name(self) -> str:
        """Return method and path."""
        return f"{self.method} {self.path}"
