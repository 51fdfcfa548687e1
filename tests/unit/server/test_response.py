"""The answer to a push is byte for byte what a route would have sent."""

from __future__ import annotations

import itertools
import re

import pytest

from sidecar.api.reply import Reply, refusal, send
from sidecar.server import response
from sidecar.server.limits import Limits
from sidecar.server.request import Request, RequestReader
from sidecar.server.response import USUAL_BYTES_MAX, HttpExchange, RawResponse

PLAIN = Reply(status=200, body=b'{"accepted": 1, "duplicates": 0}')
REPLIES = [
    PLAIN,
    Reply(status=200, body=b""),
    Reply(status=200, body=b"x" * 100_000, content_type="text/plain"),
    Reply(status=200, body=b"x", headers=(("Link", '</next>; rel="next"'),)),
    refusal(400, "some_reason", "A detail.", index=3),
    refusal(503, "some_reason", "A detail.", (("Retry-After", "1"),)),
]


def exchange(method: str, version: str, headers: str) -> HttpExchange:
    reader = RequestReader(Limits(), "api")
    reader.buffer += f"{method} /v1/usage HTTP/{version}\r\nHost: x\r\n{headers}Content-Length: 2\r\n\r\n{{}}".encode()
    request = reader.take()
    assert isinstance(request, Request)
    return HttpExchange(request, "api", ("127.0.0.1", 1), ("127.0.0.1", 2), 1 << 20)


def written(answer: RawResponse) -> tuple[bytes, bool]:
    data = b"".join(answer.parts)
    undated, dates = re.subn(
        rb"\r\nDate: [A-Z][a-z]{2}, [0-9]{2} [A-Za-z]{3} [0-9]{4} [0-9:]{8} GMT\r\n", b"\r\n", data
    )
    assert dates == 1
    return undated, answer.close


@pytest.mark.parametrize("reply", REPLIES, ids=lambda one: f"{one.status}-{len(one.body)}")
@pytest.mark.parametrize("close", [False, True])
@pytest.mark.parametrize("headers", ["", "Connection: close\r\n", "Connection: keep-alive\r\n", "Connection: x\r\n"])
@pytest.mark.parametrize(("method", "version"), [("POST", "1.1"), ("POST", "1.0"), ("HEAD", "1.1"), ("GET", "1.1")])
def test_a_reply_given_is_what_a_route_would_have_sent(
    reply: Reply, close: bool, headers: str, method: str, version: str
) -> None:
    given = exchange(method, version, headers).render_reply(reply, close=close)
    routed = exchange(method, version, headers).run(lambda _, start: send(reply, start), close=close)
    assert written(given) == written(routed)
    assert given.error is None


def test_a_response_that_is_remembered_is_only_the_same_reply_s() -> None:
    replies = [Reply(200, b"one"), Reply(200, b"two"), Reply(200, b"one", "text/plain")]
    for reply, close in [*itertools.product(replies, (False, True))] * 2:
        head, _, body = exchange("POST", "1.1", "").render_reply(reply, close=close).parts[0].partition(b"\r\n\r\n")
        assert body == reply.body
        assert f"Content-Type: {reply.content_type}\r\n".encode() in head
        assert (b"Connection: close" in head) is close


@pytest.mark.parametrize(("size", "more"), [(USUAL_BYTES_MAX, 1), (USUAL_BYTES_MAX + 1, 0)])
def test_no_long_reply_is_remembered(size: int, more: int) -> None:
    remembered = response._usual_response.cache_info
    response._usual_response.cache_clear()
    exchange("GET", "1.1", "").render_reply(Reply(200, b"x" * size), close=False)
    assert remembered().currsize == more


def test_a_reply_that_cannot_stand_in_a_response_is_a_500() -> None:
    for odd in (Reply(status=299, body=b""), Reply(status=200, body=b"", headers=(("X", "a\r\nb"),))):
        answer = exchange("POST", "1.1", "").render_reply(odd, close=False)
        assert answer.parts[0].startswith(b"HTTP/1.1 500 ")
        assert (answer.close, answer.error is not None) == (True, True)


def test_method_and_path_are_those_of_the_environ() -> None:
    one = exchange("POST", "1.1", "")
    assert one.method_and_path == (one.environ["REQUEST_METHOD"], one.environ["PATH_INFO"]) == ("POST", "/v1/usage")


def test_a_response_to_head_has_no_body_and_gunicorn_logs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """The poller may write no line, and gunicorn's own is no JSON."""
    answer = exchange("HEAD", "1.1", "").run(lambda _, start: send(PLAIN, start), close=False)
    head, _, body = b"".join(answer.parts).partition(b"\r\n\r\n")
    assert (b"Content-Length: %d" % len(PLAIN.body) in head, body, answer.error) == (True, b"", None)
    assert caplog.records == []
