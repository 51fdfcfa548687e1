"""Make `proof.json`: tokens that were really signed or really forged, each with the verdict of a verifier.

Run `python -m tests.vectors.make` after a change of the forgeries in `tests/unit/entitlement/test_token.py`. The
private keys are made for the file and thrown away.

Invariants:
- A vector says what differs from the defaults at the top: `token`, and perhaps `nonce`, `product_code`, `public_keys`.
- `reason` is null where the token proves what it should; otherwise the reason of every verifier.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from tests.unit.entitlement.test_token import FORGED, GOOD, Keys
from tests.unit.entitlement.tokens import CLAIMS, NONCE, NOW, pem, token

PATH: Final = Path(__file__).parent / "proof.json"
TEXT_MAX: Final = 30_000
NOT_FOR_ALL: Final = frozenset({"payload number too long"})
"""Python refuses to read such a number; other languages read it and find another fault."""

Vector = dict[str, Any]


def fresh_keys() -> Keys:
    return Keys(ours=_new(2048), stranger=_new(2048))


def _new(bits: int) -> RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


def document(keys: Keys) -> dict[str, object]:
    """Return the whole file."""
    return {**defaults(keys), "vectors": list(vectors(keys))}


def defaults(keys: Keys) -> dict[str, object]:
    return {
        "product_code": "prod1",
        "nonce": NONCE,
        "now": f"{NOW:%Y-%m-%dT%H:%M:%SZ}",
        "public_keys": {"1": pem(keys.ours)},
    }


def vectors(keys: Keys) -> Iterator[Vector]:
    for name, forge in GOOD.items():
        yield {"name": name, "token": forge(keys), "reason": None}
    for name, (forge, reason) in FORGED.items():
        made = forge(keys)
        if name not in NOT_FOR_ALL and isinstance(made, str) and len(made) < TEXT_MAX and "\ud800" not in made:
            yield {"name": name, "token": made, "reason": reason}
    yield from _asked_otherwise(keys)


def _asked_otherwise(keys: Keys) -> Iterator[Vector]:
    """Yield tokens that are good for another question, and products that ship several keys."""
    good = token(keys.ours)
    second = token(keys.stranger, {**CLAIMS, "publicKeyVersion": 2})
    both = {"1": pem(keys.ours), "2": pem(keys.stranger)}
    yield {"name": "replayed for another nonce", "token": good, "nonce": NONCE[::-1], "reason": "token_nonce"}
    yield {"name": "for another product", "token": good, "product_code": "prod2", "reason": "token_product_code"}
    yield _keyed("for another key version", good, {"2": pem(keys.ours)}, "token_public_key_version")
    yield _keyed("without a key", good, {}, "public_key_unreadable")
    yield _keyed("with a key that is none", good, {"1": "the key"}, "public_key_unreadable")
    yield _keyed("the older of two keys", good, both, None)
    yield _keyed("the newer of two keys", second, both, None)
    yield _keyed("one key's version, signed by the other", token(keys.stranger), both, "token_public_key_version")
    yield _keyed("neither key", token(_new(2048)), both, "token_signature")
    short = _new(1024)
    yield _keyed("a short key", token(short), {"1": pem(short)}, None)


def _keyed(name: str, made: str, public_keys: Mapping[str, str], reason: str | None) -> Vector:
    return {"name": name, "token": made, "public_keys": dict(public_keys), "reason": reason}


def main() -> None:
    PATH.write_text(json.dumps(document(fresh_keys()), indent=1) + "\n")


if __name__ == "__main__":
    main()
