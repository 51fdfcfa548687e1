"""Which heads are remembered for a listener, for how long, and that each connection judges them anew."""

from __future__ import annotations

from functools import partial

import pytest

from sidecar.api.reply import API
from sidecar.server.admission import HOST_REFUSED, TOKEN_REFUSED, Admission
from sidecar.server.head import RequestHead
from sidecar.server.http_error import BAD_REQUEST, HttpError
from sidecar.server.known_heads import HEAD_BYTES_MAX, HEADS_MAX, KnownHeads
from sidecar.server.limits import Limits
from sidecar.server.request import RequestReader

GET = b"GET /entitled HTTP/1.1\r\nHost: x\r\n\r\n"


LOCAL = b"GET /v1/status HTTP/1.1\r\nHost: localhost\r\n\r\n"
TOKEN = "t" * 32


def verdict(admission: Admission, heads: KnownHeads, data: bytes, own: str = "127.0.0.1") -> HttpError | None:
    """Why a request on a new connection is refused; `own`: the address it arrived at."""
    reader = RequestReader(Limits(), API, partial(admission.refusal, own), heads)
    reader.buffer += data
    found = reader.take()
    assert found is not None
    return found if isinstance(found, HttpError) else None


def with_field(field: bytes) -> bytes:
    return GET[:-2] + field + b"\r\n\r\n"


def test_a_head_is_parsed_once_and_says_the_same(parsed: list[bytes]) -> None:
    heads = KnownHeads(Limits())
    first, again = heads.read(GET), heads.read(GET)
    assert isinstance(first, tuple)
    assert isinstance(again, tuple)
    assert first[0] is again[0]
    assert parsed == [GET]


@pytest.mark.parametrize(
    "data",
    [
        with_field(b"Authorization: Bearer secret"),
        with_field(b"AUTHORIZATION: Bearer secret"),
        with_field(b"Proxy-Authorization: Basic secret"),
        with_field(b"Cookie: secret"),
        with_field(b"Transfer-Encoding: chunked").replace(b"GET", b"POST"),
        with_field(b"X: " + b"x" * HEAD_BYTES_MAX),
    ],
)
def test_a_head_with_credentials_a_chunked_and_a_long_one_are_not_remembered(parsed: list[bytes], data: bytes) -> None:
    heads = KnownHeads(Limits())
    for _ in range(2):
        assert isinstance(heads.read(data), tuple)
    assert len(parsed) == 2


def test_the_longest_head_that_is_remembered(parsed: list[bytes]) -> None:
    heads = KnownHeads(Limits())
    data = with_field(b"X: " + b"x" * (HEAD_BYTES_MAX - len(with_field(b"X: "))))
    assert len(data) == HEAD_BYTES_MAX
    assert heads.read(data)
    assert heads.read(data)
    assert len(parsed) == 1


def test_a_refused_head_is_refused_each_time(parsed: list[bytes]) -> None:
    heads = KnownHeads(Limits())
    for _ in range(2):
        assert heads.read(GET.replace(b"Host: x\r\n", b"")) == BAD_REQUEST
    assert len(parsed) == 2


def test_so_many_are_remembered_and_the_oldest_goes(parsed: list[bytes]) -> None:
    heads = KnownHeads(Limits())
    many = [with_field(b"X: %d" % at) for at in range(HEADS_MAX + 1)]
    for data in [*many, *many[1:], many[0]]:
        assert isinstance(heads.read(data), tuple)
    assert len(parsed) == len(many) + 1


def test_a_token_is_asked_of_each_connection_whatever_head_came_before() -> None:
    admission, heads = Admission(token=TOKEN), KnownHeads(Limits())
    good = LOCAL[:-2] + f"Authorization: Bearer {TOKEN}\r\n\r\n".encode()
    for _ in range(2):
        assert verdict(admission, heads, good) is None
        assert verdict(admission, heads, LOCAL) == TOKEN_REFUSED
        assert verdict(admission, heads, good.replace(TOKEN.encode(), b"x" * len(TOKEN))) == TOKEN_REFUSED


def test_a_host_is_judged_by_the_address_of_each_connection() -> None:
    admission, heads = Admission(), KnownHeads(Limits())
    data = GET.replace(b"Host: x", b"Host: 10.0.0.5")
    for _ in range(2):
        assert verdict(admission, heads, data, own="10.0.0.5") is None
        assert verdict(admission, heads, data, own="10.0.0.6") == HOST_REFUSED


def test_connections_share_what_a_head_says_and_judge_it_each_for_itself(parsed: list[bytes]) -> None:
    """The refusal of one is not another's, nor is the acceptance."""
    heads, judged = KnownHeads(Limits()), []

    def judge(head: RequestHead) -> HttpError | None:
        judged.append(head)
        return BAD_REQUEST if len(judged) == 2 else None

    found = []
    for _ in range(3):
        reader = RequestReader(Limits(), API, judge, heads)
        reader.buffer += GET
        found.append(reader.take() is BAD_REQUEST)
    assert found == [False, True, False]
    assert judged[0] is judged[1] is judged[2]
    assert parsed == [GET]
