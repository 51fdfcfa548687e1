"""Serve `POST /v1/proof`: AWS's signature over the product's own nonce.

Invariants:
- This route waits for AWS, so it runs in the thread pool and never where probes are answered.
- The nonce is signed exactly as it was sent; it and the token are in no log, and no cache may keep the token.
- Nothing here opens or shuts the gate.

Sources: AWS Marketplace API Reference, RegisterUsage (Nonce: any characters, at most 255).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from flask import Flask, Response, request

from sidecar.api.flask_usage import response
from sidecar.api.json_body import Malformed, read_object
from sidecar.api.ports import NoProof, ProofPort, ProofRefused
from sidecar.api.reply import Reply, refusal
from sidecar.strict_json import shown

PATH: Final = "/v1/proof"
NONCE_CHARACTERS_MIN: Final = 16
NONCE_CHARACTERS_MAX: Final = 255
EXAMPLE: Final = "Send 32 random bytes as base64url: 43 characters."
NO_STORE: Final = (("Cache-Control", "no-store"),)
HTTP_STATUS: Final[Mapping[NoProof, int]] = {
    NoProof.NOTHING_SIGNED: 409,
    NoProof.DENIED: 403,
    NoProof.UNAVAILABLE: 503,
    NoProof.UNVERIFIED: 502,
    NoProof.TOO_SOON: 429,
}


class NonceLength(ValueError):
    """A nonce that is too short or too long. The text becomes the detail of a 422."""


def add(app: Flask, proofs: ProofPort) -> None:
    """Add the route and its error handler to the application."""

    @app.errorhandler(NonceLength)
    def nonce_length(exc: NonceLength) -> Response:
        return response(refusal(422, "nonce_length", str(exc), NO_STORE))

    @app.post(PATH)
    def prove() -> Response:
        """Return the token over the nonce in the body, or why there is none."""
        found = proofs.prove(read_nonce(request.get_data()))
        if isinstance(found, ProofRefused):
            return response(_refused(found))
        return response(Reply(200, json.dumps({"token": found.token}).encode(), headers=NO_STORE))


def read_nonce(body: bytes) -> str:
    """Return the nonce in a body. Raises Malformed and NonceLength."""
    fields = read_object(body, ("nonce",))
    if "nonce" not in fields:
        raise Malformed(f"nonce is missing. {EXAMPLE}")
    nonce = fields["nonce"]
    if not isinstance(nonce, str):
        raise Malformed(f"nonce is {shown(nonce)}, not text. {EXAMPLE}")
    if any("\ud800" <= one <= "\udfff" for one in nonce):
        raise Malformed(f"nonce has half a surrogate pair, which no signature can be over. {EXAMPLE}")
    if not NONCE_CHARACTERS_MIN <= len(nonce) <= NONCE_CHARACTERS_MAX:
        rule = f"{NONCE_CHARACTERS_MIN} to {NONCE_CHARACTERS_MAX}"
        raise NonceLength(f"nonce has {len(nonce)} characters; it has {rule}. {EXAMPLE}")
    return nonce


def _refused(found: ProofRefused) -> Reply:
    after = found.retry_after_seconds
    headers = NO_STORE if after is None else (*NO_STORE, ("Retry-After", str(after)))
    return refusal(HTTP_STATUS[found.why], found.reason, found.hint, headers)
