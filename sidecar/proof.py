"""Verify in the product that AWS signed an answer to the product's own nonce.

For the product's side: this file needs PyJWT with cryptography and nothing else of this package, so it may be copied.

    from sidecar import proof

    nonce = proof.new_nonce()
    proof.verify(proof.ask(nonce), nonce, product_code="prod-…", public_keys={1: PEM})  # raises: do not start

The sidecar verifies AWS's answers by the same rules (`check`).

Invariants:
- PS256 and nothing else; the token's own `alg` chooses nothing. The key is the one that was shipped.
- Each part is base64url in its one spelling, with or without padding, which tokens of AWS's load balancers have. A
  header that asks for more (`crit`, `b64`) is refused.
- Product code, key version and nonce must be the expected ones, under either claim casing, never under both with
  different values. A claim given twice in the JSON is refused: readers would differ.
- `iat`, `exp` and `nbf` are optional. Where they are there, `iat` is within 15 minutes of now, `exp` not past and `nbf`
  not ahead by more than that. What is no number is refused.
- `iss`, `sub` and `jti` are text where they are there, and `aud` is text or a list of texts (RFC 7519, section 4.1).
  Any value of them is accepted: the product code says for whom a token is.
- A reason may be logged. The token may not, so no error here carries any of it.

Sources: AWS Marketplace API Reference, RegisterUsage; seller guide, Java example for RegisterUsage; RFC 7515 §2 and
§4.1.11; RFC 7518 §3.5 (PS256, 2048 bits or more); RFC 7519 §4.1.4 to §4.1.6 (`exp`, `nbf`, `iat`); RFC 8259.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import math
import os
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

SIGNATURE_ALGORITHM: Final = "PS256"
TEXT_HEADERS: Final = ("typ", "cty", "kid", "jku", "x5u", "x5t", "x5t#S256")
"""Header parameters that are text where they are present (RFC 7515, section 4.1)."""
URL_HEADERS: Final = ("jku", "x5u")
"""Those of them that are URLs. They are never followed."""
TOKEN_CHARACTERS_MAX: Final = 16_384
"""A real token is under 2 000 characters; what is much larger is not one."""
LEEWAY: Final = timedelta(minutes=15)
"""Of this host's clock to AWS's, for every time in a token."""
TEXT_CLAIMS: Final = ("iss", "sub", "jti")
"""Registered claims that are text where they are present (RFC 7519, section 4.1)."""
TIME_MAX: Final = 253_402_300_799
"""The last second a datetime holds."""
KEY_BITS_MIN: Final = 2048
"""RFC 7518 §3.5. A shorter key is accepted and mentioned: AWS's sample key has 1024, real sizes are not documented."""
NONCE_BYTES: Final = 32
API_URL: Final = "http://127.0.0.1:8485"
ASK_SECONDS: Final = 60.0
"""The sidecar answers within 30 seconds, AWS or no AWS."""
TEXT_MAX: Final = 512

HINT_FORGED: Final = (
    "The answer was not signed by AWS Marketplace for this request. Check that the public key matches its"
    " version, and that nothing between here and AWS rewrites answers."
)
HINT_KEY: Final = "Ship the public key that AWS Marketplace shows for the product, unchanged."


class ProofRejected(Exception):
    """A token that proves nothing. `reason` never changes; neither text holds anything of the token."""

    def __init__(self, reason: str, hint: str) -> None:
        super().__init__(f"{reason}: {hint}")
        self.reason, self.hint = reason, hint


class NoProof(Exception):
    """The sidecar gave no token. `reason` and `hint` are its own; ask again where it says when."""

    def __init__(self, status: int, reason: str, hint: str, retry_after_seconds: int | None) -> None:
        super().__init__(f"{status} {reason}: {hint}")
        self.status, self.reason, self.hint = status, reason, hint
        self.retry_after_seconds = retry_after_seconds
        """None: asking again changes nothing by itself."""


@dataclass(frozen=True, kw_only=True)
class Verified:
    """What a token proves, beside that it does."""

    public_key_version: int
    weak_key_bits: int | None
    """The key's size where it is below what RFC 7518 wants (2048); None: strong enough."""


def new_nonce() -> str:
    """Return 32 fresh random bytes as 43 characters. Use each once: a used nonce proves nothing new."""
    return base64.urlsafe_b64encode(os.urandom(NONCE_BYTES)).decode().rstrip("=")


def ask(nonce: str, url: str = API_URL, *, api_token: str | None = None, timeout: float = ASK_SECONDS) -> str:
    """Return the sidecar's token for this nonce, not verified; empty where the answer has none.

    Raises NoProof where the sidecar refuses, and OSError where none answers.

    `url`: the product's listener, or `unix:/PATH`. `api_token`: what the file of `SIDECAR_API_TOKEN_FILE` has.
    `timeout`: seconds.
    """
    from urllib.error import HTTPError
    from urllib.request import ProxyHandler, Request, build_opener

    handlers: list[Any] = [ProxyHandler({})]
    if url.startswith("unix:"):
        handlers, url = [*handlers, _unix_handler(url.removeprefix("unix:"))], "http://localhost"
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {api_token}"} if api_token else {})
    request = Request(f"{url}/v1/proof", json.dumps({"nonce": nonce}).encode(), headers)
    try:
        with build_opener(*handlers).open(request, timeout=timeout) as reply:
            found = _object(reply.read(TOKEN_CHARACTERS_MAX * 2))
    except HTTPError as exc:
        with exc:
            found, after = _object(exc.read(TOKEN_CHARACTERS_MAX)), exc.headers.get("Retry-After", "")
        reason, hint = (str(found.get(name, ""))[:TEXT_MAX] for name in ("reason", "detail"))
        raise NoProof(exc.code, reason, hint, int(after) if after.isdigit() else None) from None
    token = found.get("token")
    return token if isinstance(token, str) else ""


def _unix_handler(path: str) -> Any:
    """Return what opens `http:` over a Unix socket."""
    import http.client
    import socket
    from urllib.request import HTTPHandler

    class Connection(http.client.HTTPConnection):
        def connect(self) -> None:
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.settimeout(self.timeout)
            self.sock.connect(path)

    class Handler(HTTPHandler):
        def http_open(self, req: Any) -> Any:
            return self.do_open(Connection, req)

    return Handler()


def verify(
    token: object,
    nonce: str,
    *,
    product_code: str,
    public_keys: Mapping[int, str],
    now: datetime | None = None,
) -> Verified:
    """Prove that AWS signed `token` for this product and nonce, now.

    `public_keys`: version → PEM, those that the product ships. `now`: the current time, where it is not this host's.
    Raises ProofRejected with one of the reasons of `check`, or `public_key_unreadable`.
    """
    at, refused = now or datetime.now(UTC), None
    for version in sorted(public_keys, reverse=True):
        expected = {"productCode": product_code, "publicKeyVersion": str(version), "nonce": nonce}
        try:
            key = public_key(public_keys[version])
            check(token, key, expected, at)
        except ProofRejected as exc:
            refused = exc if refused is None or refused.reason == "token_signature" else refused
            continue
        return Verified(public_key_version=version, weak_key_bits=weak_bits(key))
    raise refused or ProofRejected("public_key_unreadable", HINT_KEY)


def public_key(pem: str) -> RSAPublicKey:
    """Return the RSA key in PEM text. Raises ProofRejected `public_key_unreadable`: no token can verify."""
    try:
        key = load_pem_public_key(pem.encode("ascii"))
    except (ValueError, UnicodeError, UnsupportedAlgorithm) as exc:
        raise ProofRejected("public_key_unreadable", HINT_KEY) from exc
    if not isinstance(key, RSAPublicKey):
        raise ProofRejected("public_key_unreadable", HINT_KEY)
    return key


def weak_bits(key: RSAPublicKey) -> int | None:
    """Return the key's size where it is below 2048 bits, else None."""
    return key.key_size if key.key_size < KEY_BITS_MIN else None


def check(token: object, key: RSAPublicKey, expected: Mapping[str, str], now: datetime | None) -> None:
    """Prove that `key` signed these claims. `now` is None where the token may be old.

    `expected`: claim in camelCase → text it must have, in the order they are checked.
    Raises ProofRejected with one of the reasons `signature_missing`, `token_malformed`, `token_algorithm`,
    `token_signature`, `token_product_code`, `token_public_key_version`, `token_nonce`, `token_contradicts_itself`,
    `token_iat`, `token_exp`, `token_nbf`.
    """
    if token is None or token == "":
        raise ProofRejected("signature_missing", "The answer of RegisterUsage has no Signature. " + HINT_FORGED)
    if not isinstance(token, str) or len(token) > TOKEN_CHARACTERS_MAX or not token.isascii():
        raise ProofRejected("token_malformed", HINT_FORGED)
    parts = token.split(".")
    if len(parts) != 3:
        raise ProofRejected("token_malformed", HINT_FORGED)
    header, payload, _ = map(_decoded, parts)
    _check_header(_parsed(header, repeated=dict))
    _check_signature(token, key)
    claims = _parsed(payload, repeated=_no_duplicates)
    _check_registered(claims)
    for name, wanted in expected.items():
        if not hmac.compare_digest(_bytes(_claim(claims, name)), _bytes(wanted)):
            raise ProofRejected(f"token_{_snake(name)}", HINT_FORGED)
    if now is not None:
        _check_age(claims, now)


def _decoded(part: str) -> bytes:
    """Return the bytes of one part; base64url has one spelling of them (RFC 7515 §2, RFC 4648 §3.5)."""
    try:
        data = base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)
    except (ValueError, binascii.Error) as exc:
        raise ProofRejected("token_malformed", HINT_FORGED) from exc
    padded = base64.urlsafe_b64encode(data).decode()
    if part not in (padded, padded.rstrip("=")):
        raise ProofRejected("token_malformed", HINT_FORGED)
    return data


def _parsed(text: bytes, repeated: Any) -> dict[str, Any]:
    """Return a JSON object; `repeated` makes each object of its pairs."""
    try:
        found = json.loads(text.decode(), object_pairs_hook=repeated, parse_constant=_no_constant)
    except (ValueError, RecursionError) as exc:
        raise ProofRejected("token_malformed", HINT_FORGED) from exc
    if not isinstance(found, dict):
        raise ProofRejected("token_malformed", HINT_FORGED)
    return found


def _no_constant(text: str) -> None:
    raise ValueError(f"{text} is no JSON")


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ProofRejected("token_contradicts_itself", HINT_FORGED)
    return found


def _check_header(header: Mapping[str, Any]) -> None:
    """Refuse another algorithm before any key is touched, and say so: it is the classic forgery."""
    if header.get("alg") != SIGNATURE_ALGORITHM:
        raise ProofRejected("token_algorithm", HINT_FORGED)
    if "crit" in header or "b64" in header or not all(isinstance(header.get(name, ""), str) for name in TEXT_HEADERS):
        raise ProofRejected("token_malformed", HINT_FORGED)
    if not all(header.get(name, "https://").startswith(("http://", "https://")) for name in URL_HEADERS):
        raise ProofRejected("token_malformed", HINT_FORGED)
    chain = header.get("x5c", [])
    if not isinstance(header.get("jwk", {}), dict) or not isinstance(chain, list):
        raise ProofRejected("token_malformed", HINT_FORGED)
    if not all(isinstance(one, str) for one in chain):
        raise ProofRejected("token_malformed", HINT_FORGED)


def _check_registered(claims: Mapping[str, Any]) -> None:
    """Refuse registered claims of a wrong type, as other libraries do."""
    audience = claims.get("aud", "")
    texts = [claims[name] for name in TEXT_CLAIMS if name in claims]
    texts += audience if isinstance(audience, list) else [audience]
    if not all(isinstance(one, str) for one in texts):
        raise ProofRejected("token_malformed", HINT_FORGED)


def _check_signature(token: str, key: RSAPublicKey) -> None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a short key is mentioned by `weak_bits`
            jwt.PyJWS().decode(token, key, algorithms=[SIGNATURE_ALGORITHM])
    except jwt.InvalidSignatureError as exc:
        raise ProofRejected("token_signature", HINT_FORGED) from exc
    except (jwt.PyJWTError, ValueError, TypeError) as exc:
        raise ProofRejected("token_malformed", HINT_FORGED) from exc


def _claim(claims: Mapping[str, Any], name: str) -> str:
    """Return a claim under either casing as text; a key version may be a number or text."""
    spellings = [one for one in (name, name[0].upper() + name[1:]) if one in claims]
    values = [_as_text(claims[one], name) for one in spellings]
    if not values:
        raise ProofRejected(f"token_{_snake(name)}", HINT_FORGED)
    if len(set(values)) > 1:
        raise ProofRejected("token_contradicts_itself", HINT_FORGED)
    return values[0]


def _as_text(value: object, name: str) -> str:
    if name == "publicKeyVersion" and isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        raise ProofRejected(f"token_{_snake(name)}", HINT_FORGED)
    return value


def _check_age(claims: Mapping[str, Any], now: datetime) -> None:
    """Refuse a token that was not issued just now, has expired, or is not valid yet."""
    least, most, today = (now - LEEWAY).timestamp(), (now + LEEWAY).timestamp(), _shown(now.timestamp())
    for claim, low, high, fault in (
        ("iat", least, most, "was issued at"),
        ("exp", least, math.inf, "expired at"),
        ("nbf", 0.0, most, "is not valid before"),
    ):
        if claim not in claims:
            continue
        at = claims[claim]
        if isinstance(at, bool) or not isinstance(at, (int, float)) or at < 0 or at == math.inf:
            raise ProofRejected(f"token_{claim}", HINT_FORGED)
        if not low <= at <= high:
            hint = f"The answer {fault} {_shown(at)}, this host says {today}: more than 15 minutes apart."
            raise ProofRejected(f"token_{claim}", f"{hint} Synchronise the node's clock.")


def _shown(seconds: float) -> str:
    """Return seconds since 1970 as a time; what no calendar holds as the last second of one."""
    return f"{datetime.fromtimestamp(min(seconds, TIME_MAX), UTC):%Y-%m-%dT%H:%M:%SZ}"


def _snake(claim: str) -> str:
    return re.sub("([A-Z])", r"_\1", claim).lower()


def _bytes(text: str) -> bytes:
    """Any text JSON can hold, half a surrogate pair included."""
    return text.encode("utf-8", "surrogatepass")


def _object(body: bytes) -> Mapping[str, Any]:
    """Return a JSON object; an empty one for what is none."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        found = None
    return found if isinstance(found, dict) else {}
