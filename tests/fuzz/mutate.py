"""Change an input by what its format is made of, so that a search gets beyond the first check.

A search that changes bytes alone spends most of its executions on inputs that are refused at once: no settings file, no
token, no request. Half the changes of a target in GRAMMARS are these; the other half are libFuzzer's own.

Invariants:
- Every choice comes from the generator that is handed in.
"""

from __future__ import annotations

import base64
import random
import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Final, NamedTuple

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sidecar.entitlement.answer import AnswerClass
from sidecar.settings.table import SETTINGS

from .token_target import NOW

PUBLIC_KEY: Final = rsa.RSAPublicNumbers(65537, (1 << 1023) + (1 << 511) + 1).public_key()
"""Has the form of a key, at half the length of AWS's; nothing is verified with it."""


class Grammar(NamedTuple):
    """What the inputs of one target are made of."""

    separator: bytes
    """Stands between two parts."""
    borders: re.Pattern[bytes]
    """Where parts begin and end: the separator, and what encloses parts. One group around the whole."""
    parts: tuple[bytes, ...]
    """Whole parts: what is put in, and what stands for another."""
    words: tuple[bytes, ...]
    """What may stand anywhere."""


JSON_BORDERS: Final = re.compile(rb"([,{}\[\]\n])")
LINES: Final = re.compile(rb"(\n)")
HTTP_LINES: Final = re.compile(rb"(\r\n)")
NUMBERS: Final = (b"0", b"1", b"-1", b"0.5", b"1e999", b"1e-7", b"2147483647", b"9223372036854775808", b"007", b"NaN")
JSON_WORDS: Final = (
    *NUMBERS, b"true", b"null", b'""', b'"a"', b"{}", b"[]", b"{", b"}", b"[", b"]", b",", b":", b'"', b"\\", b" ",
    b'"\\ud800"', b'"\\u0000"', b"\xff", b"\xef\xbb\xbf",
)  # fmt: skip
HTTP_WORDS: Final = (
    b"\r\n", b"\n", b"\r", b"\t", b" ", b"\0", b"\x7f", b"\xff", b":", b";a=b", b",", b"+", b"-0", b"0x", b"%00", b"#f",
    b"Host: a\r\n", b"Content-Length: 1\r\n", b"Content-Length: 01\r\n", b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: identity\r\n", b"Expect: 100-continue\r\n", b"X_Y: 1\r\n", b" folded\r\n", b"HTTP/1.0",
    b"HTTP/2.0", b"0\r\n\r\n", b"a\r\n0123456789\r\n", b"GET http://b/ HTTP/1.1\r\n", b"CONNECT b:1 HTTP/1.1\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"Connection: close\r\n", b"Connection: keep-alive\r\n",
    b"Content-Encoding: gzip\r\n", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
)  # fmt: skip


def _names(*names: str) -> tuple[bytes, ...]:
    return tuple(f'"{name}":'.encode() for name in names)


@cache
def _setting_lines() -> tuple[bytes, ...]:
    """Return a line for each setting and each value that is known of it."""
    pem = PUBLIC_KEY.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    lines = [f"public_key: {base64.b64encode(pem).decode()}"]
    for one in SETTINGS:
        if one.name == "public_key":
            continue
        known = (str(member.value) for member in one.choices or ())
        lines += [f"{one.name}: {value}" for value in (one.example, *known, *filter(None, [one.default]))]
    return tuple(line.encode() for line in dict.fromkeys(lines))


YAML_WORDS: Final = (
    *NUMBERS, b"true", b"null", b"~", b"''", b"- ", b": ", b"? ", b"{", b"}", b"[", b"]", b", ", b"&a ", b"*a",
    b"!!str ", b"!!int ", b"<<: ", b"|\n ", b">-\n ", b"# ", b"\n  ", b"---\n", b"...\n", b"%YAML 1.1\n", b"\t", b"'",
    b'"', b"\\x", b"2026-03-01", b"0x1f", b"1_000", b"0b1", b"1:30", b".inf", b"=", b"@", b"`", b"\xff",
    b"\xef\xbb\xbf", b"\xc2\x85", b"{name: a, unit: b}", b"aggregation: unique", b"scope: pod", b"decimals: 3",
    b"tags: [a]", b"url: http://a/m", b"take: draw_down", b"kind: heartbeat", b"dimension: requests",
    b"name: requests",
)  # fmt: skip


@cache
def grammars() -> Mapping[str, Grammar]:
    """Return the grammar of each target that has one."""
    settings = _setting_lines()
    events = _names("dimension", "quantity", "id", "key", "at", "tags", "tenant", "team")
    claims = _names("productCode", "ProductCode", "publicKeyVersion", "nonce", "iat", "exp", "nbf", "aud", "sub", "jti")
    headers = _names("alg", "typ", "cty", "kid", "crit", "b64", "jwk", "x5c", "zip", "jku", "x5t", "enc")
    bodies = (b'"prod1"', b'"n"', b'"1"', b'"PS256"', b'"none"', NOW, b'["b64"]', b'"JWT"')
    answers = tuple(f'"answer":"{one.value}"'.encode() for one in AnswerClass)
    outcomes = tuple(f'"kind":"{kind}"'.encode() for kind in ("Settled", "Refused", "Unknown", "Unreachable"))
    fields = _names(
        "outcome", "kind", "code", "message", "record_id", "request_id", "held", "contract", "granted", "kept", "seat",
        "token", "answer", "reason", "hint", "value", "ends_at", "status", "verb", "resource", "expires_at", "taken_at",
        "open_checkout", "not_returned", "retry_after_seconds", "consumption_token",
    )  # fmt: skip
    kept = _names(
        "format", "product_code", "public_key_version", "token", "kind", "dimensions", "binding", "sku", "granted",
        "allowed_at", "name", "unit", "value", "take",
    )  # fmt: skip
    marks = tuple(f'"@{mark}@"'.encode() for mark in ("NONCE", "OTHER", "TOKEN", "BINDING", "NOW", "OLD"))
    whole = (
        b'"productCode":"prod1"', b'"ProductCode":"prod1"', b'"publicKeyVersion":1', b'"PublicKeyVersion":"1"',
        b'"nonce":"@NONCE@"', b'"Nonce":"@NONCE@"', b'"token":"@TOKEN@"', b'"product_code":"prod1"', b'"format":1',
        b'"public_key_version":1', b'"binding":"@BINDING@"', b'"allowed_at":"@NOW@"', b'"sku":"sku1"', b'"exp":1',
    )  # fmt: skip
    values = (*marks, *bodies, b"2", b"1", b'"prod2"', b'"settled"', b'["requests"]', b'"basic"', b'"sku1"')
    containers = _names("containerDefinitions", "name", "image", "essential", "portMappings", "volumes", "dependsOn")
    keys = _names("networkMode", "cpu", "memory", "environment", "mountPoints", "taskRoleArn", "healthCheck", "secrets")
    return {
        "token": Grammar(
            b",", JSON_BORDERS, tuple(name + body for name in claims + headers for body in bodies), JSON_WORDS + bodies
        ),
        "push": Grammar(b",", JSON_BORDERS, tuple(name + b"1" for name in events), JSON_WORDS + events),
        "tags": Grammar(b",", JSON_BORDERS, (b'"tenant":"a"', b'"team":"b"'), JSON_WORDS),
        "settings": Grammar(b"\n", LINES, settings, YAML_WORDS),
        "manifest": Grammar(
            b"\n",
            LINES,
            (*settings, b"products: [{code: a}]", b"- code: b", b"allow_endpoint_override: true"),
            YAML_WORDS,
        ),
        "taskdef": Grammar(
            b",", JSON_BORDERS, tuple(name + b"[{}]" for name in containers + keys), JSON_WORDS + containers + keys
        ),
        "kept": Grammar(
            b",",
            JSON_BORDERS,
            (*whole * 50, *(name + value for name in kept + claims for value in values)),
            JSON_WORDS + values,
        ),
        "child": Grammar(
            b",", JSON_BORDERS, (*answers, *outcomes, *(name + b'"a"' for name in fields)), JSON_WORDS + fields
        ),
        "http": Grammar(
            b"\r\n", HTTP_LINES, tuple(line.removesuffix(b"\r\n") for line in HTTP_WORDS if b": " in line), HTTP_WORDS
        ),
    }


def changed(chance: random.Random, data: bytes, grammar: Grammar) -> bytes:
    """Return the bytes with one to three changes."""
    for _ in range(chance.randint(1, 3)):
        data = changed_once(chance, data, grammar)
    return data


def changed_once(chance: random.Random, data: bytes, grammar: Grammar) -> bytes:
    """Return the bytes with one change: of a part, or where a word or another byte may stand."""
    if chance.random() < 0.7:
        return _with_another_part(chance, data, grammar)
    at, kind = chance.randint(0, len(data)), chance.randrange(3)
    new = (chance.choice(grammar.words), b"", bytes([chance.randrange(256)]))[kind]
    return data[:at] + new + data[at + (kind > 0) :]


def _with_another_part(chance: random.Random, data: bytes, grammar: Grammar) -> bytes:
    found = grammar.borders.split(data)  # parts at even places, borders at odd ones
    at = chance.choice([place for place in range(0, len(found), 2) if found[place]] or [0])
    part, new = found[at], chance.choice(grammar.parts)
    kind = chance.randrange(5)
    if kind == 0:
        found[at] = b""
        if at + 1 < len(found) and found[at + 1] == grammar.separator:
            found[at + 1] = b""
    elif kind == 1:
        found[at] = part + grammar.separator + part
    elif kind == 2:
        found[at] = new + grammar.separator + part
    elif kind == 3:
        found[at] = new
    else:
        name, colon, _ = part.partition(b":")
        found[at] = name + colon + (chance.choice(grammar.words) if colon else new)
    return b"".join(found)


def mutator(name: str, native: Callable[[bytes, int], bytes]) -> Callable[[bytes, int, int], bytes] | None:
    """Return what changes inputs of this target for libFuzzer, or None where `native`, its own, does."""
    grammar = grammars().get(name)
    if grammar is None:
        return None
    chance = random.Random()

    def mutate(data: bytes, size_max: int, seed: int) -> bytes:
        chance.seed(seed)
        if chance.random() < 0.5:
            return native(data, size_max)
        return changed_once(chance, bytes(data), grammar)[:size_max]

    return mutate
