"""Define the messages between the worker and the child that asks AWS for a proof: values, as JSON.

Invariants:
- The child writes one line. A token in it has verified: nothing else is handed out.
- Neither the nonce nor the token is in a `repr`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, Self

from sidecar.entitlement.answer import AnswerClass
from sidecar.quick_dataclasses import asdict, dataclass, field
from sidecar.settings import PublicKey, Settings

JOB: Final = "proof"
"""The job's name in `child.main.JOBS`."""


@dataclass(frozen=True, kw_only=True)
class ProofRequest:
    """Everything a child needs to ask AWS for one proof, beside its environment."""

    nonce: str = field(repr=False)
    product_code: str
    public_key: PublicKey
    region: str
    endpoint_url: str | None
    clock_url: str | None

    @classmethod
    def of(cls, settings: Settings, nonce: str, region: str, version: int | None) -> Self:
        """`version`: of the key that the gate's answer verified with; None for the newest."""
        keys = settings.public_keys
        return cls(
            nonce=nonce,
            product_code=settings.product_code,
            public_key=next((key for key in keys if key.version == version), keys[0]),
            region=region,
            endpoint_url=settings.endpoint_url,
            clock_url=settings.clock_url,
        )

    def as_json(self) -> str:
        return json.dumps({"job": JOB, **asdict(self)})

    @classmethod
    def from_payload(cls, payload: Mapping[str, Any]) -> Self:
        """Return the request that a child was given."""
        return cls(**{**payload, "public_key": PublicKey(**payload["public_key"])})


@dataclass(frozen=True, kw_only=True)
class ProofResult:
    """What AWS answered. `token` is empty where it proves nothing."""

    answer: str
    """An `AnswerClass` by value."""
    reason: str = ""
    hint: str = ""
    code: str = ""
    asked: str = ""
    """An `AnsweredBy` by value."""
    request_id: str = ""
    token: str = field(default="", repr=False)

    @property
    def verdict(self) -> AnswerClass:
        return AnswerClass(self.answer)

    def as_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Return a result. Raises ValueError."""
        try:
            result = cls(**json.loads(text))
            if not all(isinstance(value, str) for value in asdict(result).values()):
                raise ValueError("a field is no text")
            accepted = AnswerClass(result.answer) is AnswerClass.ACCEPTED
        except (TypeError, ValueError, RecursionError) as exc:
            raise ValueError("not a result") from exc
        if accepted != bool(result.token):
            raise ValueError("a token and its verdict contradict each other")
        return result
