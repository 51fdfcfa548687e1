"""Answer `POST /v1/proof`: AWS's signature over the product's own nonce.

Invariants:
- No Flask: a product asks at each start, so that each pod would hold Flask's twelve megabytes for one answer.
- This route waits for AWS, so it runs in the thread pool and never where probes are answered.
- The nonce is signed exactly as it was sent; it and the token are in no log, and no cache may keep the token.
- Nothing here opens or shuts the gate.

Sources: AWS Marketplace API Reference, RegisterUsage (Nonce: any characters, at most 255).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from sidecar.api.json_body import Malformed, read_object
from sidecar.api.ports import NoProof, ProofPort, ProofRefused
from sidecar.api.reply import Reply, refusal
from sidecar.strict_json import shown

NONCE_CHARACTERS_MIN: Final = 16
NONCE_CHARACTERS_MAX: Final = 255
EXAMPLE: Final = "Send 32 random bytes as base64url: 43 characters."
HTTP_STATUS: Final[Mapping[NoProof, int]] = {
    NoProof.NOTHING_SIGNED: 409,
    NoProof.DENIED: 403,
    NoProof.UNAVAILABLE: 503,
    NoProof.UNVERIFIED: 502,
    NoProof.TOO_SOON: 429,
}


class NonceLength(ValueError):
    """A nonce that is too short or too long. The text becomes the detail of a 422."""


def reply(proofs: ProofPort, body: bytes) -> Reply:
    """Return the token over the nonce in a body, or why there is none. Waits for AWS."""
    try:
        found = proofs.prove(read_nonce(body))
    except NonceLength as exc:
        return refusal(422, "nonce_length", str(exc))
    except Malformed as exc:
        return refusal(400, "bad_request", str(exc))
    if isinstance(found, ProofRefused):
        return _refused(found)
    return Reply(200, json.dumps({"token": found.token}).encode())


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
    headers = () if after is None else (("Retry-After", str(after)),)
    return refusal(HTTP_STATUS[found.why], found.reason, found.hint, headers)
