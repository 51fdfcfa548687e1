"""Which compressed bodies are read, and how much one may come to."""

from __future__ import annotations

import gzip
import random
import zlib

import pytest

from sidecar.server.content_coding import (
    MEMBERS_MAX,
    Malformed,
    TooLong,
    Unsupported,
    coding_of,
    inflate,
)

TEXT = b'{"dimension": "requests", "quantity": 1}'
MAX = 1 << 20


def raw(data: bytes) -> bytes:
    stream = zlib.compressobj(wbits=-15)
    return stream.compress(data) + stream.flush()


SENT = {"gzip": (gzip.compress(TEXT), "gzip"), "zlib": (zlib.compress(TEXT), "deflate"), "raw": (raw(TEXT), "deflate")}


@pytest.mark.parametrize("kind", SENT)
def test_a_body_is_what_was_compressed(kind: str) -> None:
    assert inflate(*SENT[kind], MAX) == TEXT


@pytest.mark.parametrize("kind", SENT)
def test_a_body_cut_short_or_followed_by_more_is_malformed(kind: str) -> None:
    body, coding = SENT[kind]
    for length in range(len(body)):
        with pytest.raises(Malformed):
            inflate(body[:length], coding, MAX)
    with pytest.raises(Malformed):
        inflate(body + b"\0", coding, MAX)


@pytest.mark.parametrize("kind", ["gzip", "zlib"])
def test_a_body_with_a_flipped_bit_never_becomes_another_one(kind: str) -> None:
    # Raw deflate has no checksum; the two that clients are told to send have one.
    body, coding = SENT[kind]
    for at in range(len(body) * 8):
        flipped = bytearray(body)
        flipped[at // 8] ^= 1 << at % 8
        try:
            assert inflate(bytes(flipped), coding, MAX) == TEXT, "a bit of the header that says nothing of the body"
        except (Malformed, TooLong):
            pass


@pytest.mark.parametrize(
    ("coding", "compress"), [("gzip", gzip.compress), ("deflate", zlib.compress), ("deflate", raw)]
)
def test_the_limit_is_that_of_a_plain_body(coding: str, compress: object) -> None:
    assert callable(compress)
    assert len(inflate(compress(b" " * MAX), coding, MAX)) == MAX
    with pytest.raises(TooLong):
        inflate(compress(b" " * (MAX + 1)), coding, MAX)
    with pytest.raises(TooLong):
        inflate(compress(b" " * (100 * MAX)), coding, MAX)


def test_members_of_gzip_are_one_body_within_the_same_limit() -> None:
    assert inflate(gzip.compress(TEXT[:9]) + gzip.compress(TEXT[9:]), "gzip", MAX) == TEXT
    half = gzip.compress(b" " * (MAX // 2))
    assert len(inflate(half + half, "gzip", MAX)) == MAX
    with pytest.raises(TooLong):
        inflate(half + half + gzip.compress(b" "), "gzip", MAX)
    empty = gzip.compress(b"")
    assert inflate(empty * MEMBERS_MAX, "gzip", MAX) == b""
    with pytest.raises(Malformed):
        inflate(empty * (MEMBERS_MAX + 1), "gzip", MAX)


def test_random_bytes_are_malformed_or_within_the_limit() -> None:
    chance = random.Random(3)
    for coding in ("gzip", "deflate"):
        for _ in range(500):
            try:
                assert len(inflate(chance.randbytes(chance.randint(1, 60)), coding, 4096)) <= 4096
            except (Malformed, TooLong):
                pass


@pytest.mark.parametrize(
    ("values", "coding"),
    [
        ([], None),
        ([""], None),
        (["identity"], None),
        (["gzip"], "gzip"),
        (["GZip"], "gzip"),
        (["x-gzip"], "gzip"),
        (["identity, gzip"], "gzip"),
        (["deflate"], "deflate"),
        (["", " deflate ,"], "deflate"),
    ],
)
def test_the_coding_is_what_the_fields_name(values: list[str], coding: str | None) -> None:
    assert coding_of(values) == coding


@pytest.mark.parametrize(
    ("values", "named"),
    [
        (["br"], "br"),
        (["zstd"], "zstd"),
        (["gzip, br"], "br"),
        (["gzip", "gzip"], "several codings at once"),
        (["gzip, deflate"], "several codings at once"),
        (['"><script>'], ""),
        (["x" * 25], ""),
    ],
)
def test_another_coding_is_named_where_its_name_is_plain(values: list[str], named: str) -> None:
    with pytest.raises(Unsupported) as caught:
        coding_of(values)
    assert str(caught.value) == named
