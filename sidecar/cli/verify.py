"""Run `verify`: verify a token without AWS and without a sidecar.

For a seller's tests, for an auditor, and for a product that asked for a proof. The checks are the sidecar's own, except
`iat`: the token may be old.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from sidecar.entitlement import token
from sidecar.entitlement.registration import ProductCode, PublicKeyVersion, Registration
from sidecar.errors import Exit, Problem, SettingsError, TokenRejected
from sidecar.settings import parsers


def verify(text: str, key_file: str, version: int, product_code: str, nonce: str) -> int:
    """Return 0 where the token verifies, 77 where it does not, with the reason on stderr. Raises SettingsError."""
    if text == "-":
        text = sys.stdin.buffer.read(token.TOKEN_CHARACTERS_MAX * 2).decode("ascii", "replace")
    asked = Registration(
        product_code=ProductCode(product_code), public_key_version=PublicKeyVersion(version), nonce=nonce
    )
    key = _key(key_file)
    try:
        verified = token.verify(text.strip(), key, asked, now=None)
    except TokenRejected as exc:
        sys.stderr.write(f"rejected ({exc.reason}): {exc.hint}\n")
        return Exit.DENIED
    sys.stdout.write(f"verified: product {product_code}, public key version {version}\n")
    if verified.weak_key_bits:
        sys.stderr.write(f"warning: the key has only {verified.weak_key_bits} bits\n")
    return Exit.OK


def _key(path: str) -> Any:
    try:
        return token.public_key(parsers.public_key(Path(path).read_text(encoding="ascii")))
    except (OSError, ValueError, TokenRejected) as exc:
        fault = f"{path}: {getattr(exc, 'strerror', None) or exc}"
        raise SettingsError([Problem(setting="--public-key", fault=fault, example="public-key.pem")]) from exc
