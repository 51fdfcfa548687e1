"""A link-local endpoint is read in one small, quick GET that no proxy sees."""

from __future__ import annotations

import pytest

from sidecar import local_http
from tests.fakes.peer import Peer, http_answer
from tests.ports import free_port


def test_the_body_of_a_200_is_read() -> None:
    with Peer([http_answer(200, b"hello")]) as peer:
        assert local_http.get(f"{peer.url}/a/b?c=d", {"X-One": "1"}) == b"hello"
    (request,) = peer.requests
    assert (request.method, request.target, request.headers["x-one"]) == ("GET", "/a/b?c=d", "1")


def test_a_url_without_a_path_asks_for_the_root() -> None:
    with Peer([http_answer(200, b"")]) as peer:
        assert local_http.get(peer.url, method="PUT") == b""
    assert (peer.requests[0].method, peer.requests[0].target) == ("PUT", "/")


@pytest.mark.parametrize("status", [204, 301, 302, 401, 403, 404, 500, 503])
def test_any_other_status_is_an_error_and_no_redirect_is_followed(status: int) -> None:
    answer = http_answer(status, b"", Location="http://169.254.169.254/")
    with Peer([answer]) as peer, pytest.raises(OSError, match=str(status)):
        local_http.get(peer.url)
    assert len(peer.requests) == 1


@pytest.mark.parametrize(
    "answer",
    [b"", b"SSH-2.0-x\r\n", b"HTTP/1.1 two hundred\r\n\r\n"],
)
def test_what_is_not_whole_http_is_an_error(answer: bytes) -> None:
    with Peer([answer]) as peer, pytest.raises(OSError):
        local_http.get(peer.url)


def test_a_body_that_breaks_off_is_an_error() -> None:
    with Peer([b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"]) as peer, pytest.raises(OSError):
        local_http.get(peer.url)


def test_a_silent_endpoint_is_given_up() -> None:
    with Peer([None]) as peer, pytest.raises(OSError):
        local_http.get(peer.url, timeout=0.1)


def test_it_is_given_up_soon_by_default() -> None:
    assert local_http.TIMEOUT_SECONDS <= 1


def test_an_endpoint_that_is_not_there_is_an_error() -> None:
    with pytest.raises(OSError):
        local_http.get(f"http://127.0.0.1:{free_port()}/")


def test_a_mebibyte_is_read_and_more_refused() -> None:
    with Peer([http_answer(200, b"x" * local_http.BYTES_MAX)]) as peer:
        assert len(local_http.get(peer.url)) == local_http.BYTES_MAX
    with Peer([http_answer(200, b"x" * (local_http.BYTES_MAX + 1))]) as peer, pytest.raises(OSError):
        local_http.get(peer.url)


@pytest.mark.parametrize("url", ["https://127.0.0.1/", "file:///etc/passwd", "ftp://x/", "http:///x", "127.0.0.1", ""])
def test_anything_but_plain_http_is_refused(url: str) -> None:
    with pytest.raises(OSError, match="no plain HTTP URL"):
        local_http.get(url)


@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "https_proxy"])
def test_a_proxy_in_the_environment_is_never_asked(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    with Peer([http_answer(200, b"proxied")]) as proxy, Peer([http_answer(200, b"direct")]) as peer:
        monkeypatch.setenv(variable, proxy.url)
        assert local_http.get(peer.url) == b"direct"
    assert proxy.requests == []
