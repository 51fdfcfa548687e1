"""A page is fetched whole, or its source fails with the reason."""

from __future__ import annotations

import contextlib
import socket
import threading

import pytest

from sidecar.sources.fault import SourceFault
from sidecar.sources.scrape import BYTES_MAX, NobodyListens, is_own, scrape
from tests.integration.sources.support import Product


def reason(url: str, seconds: float = 5) -> str:
    with pytest.raises(SourceFault) as caught:
        scrape(url, seconds)
    return caught.value.reason


def test_a_page_is_fetched_with_its_format_and_query(product: Product) -> None:
    product.say("m 1\n")
    assert scrape(f"{product.url}?a=b").body == b"m 1\n"
    assert product.asked == ["/metrics?a=b"]
    product.headers = {"Content-Type": "application/openmetrics-text; version=1.0.0"}
    assert scrape(product.url).open_metrics


def test_a_proxy_is_never_asked(product: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    product.say("m 1\n")
    assert scrape(product.url).body == b"m 1\n"


@pytest.mark.parametrize("status", [204, 301, 404, 500])
def test_another_status_than_200_is_refused(product: Product, status: int) -> None:
    product.status = status
    product.headers = {"Location": "/elsewhere"}
    assert reason(product.url) == "target_refused"
    assert product.asked == ["/metrics"], "a redirect is not followed"


def test_a_page_above_the_limit_is_refused(product: Product) -> None:
    product.body = b"#" * (BYTES_MAX + 1)
    assert reason(product.url) == "page_too_large"


def test_a_page_that_is_shorter_than_announced_is_refused(product: Product) -> None:
    product.say("m 1\n")
    product.headers = {"Content-Length": "5"}
    assert reason(product.url) in ("page_incomplete", "target_unreachable")


def test_a_chunked_page_that_breaks_off_is_refused() -> None:
    assert _raw_reason(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nm 1\n\r\n") == "page_incomplete"


@pytest.mark.parametrize("answer", [b"", b"SSH-2.0-OpenSSH\r\n"])
def test_what_is_no_http_is_unreachable(answer: bytes) -> None:
    assert _raw_reason(answer) == "target_unreachable"


def test_nobody_listening_is_told_apart(product: Product) -> None:
    url = product.url
    product.close()
    with pytest.raises(NobodyListens):
        scrape(url)


@pytest.mark.parametrize(
    ("begins", "byte"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n", b""),
        (b"HTTP/1.1 200 OK\r\nX: ", b"x"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"0"),
    ],
    ids=["nothing of the body", "headers", "length of a chunk"],
)
def test_a_page_that_trickles_is_given_up_in_time(begins: bytes, byte: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=_trickle, args=(server, begins, byte), daemon=True).start()
        assert reason(f"http://127.0.0.1:{server.getsockname()[1]}/", 0.2) == "target_unreachable"


@pytest.mark.parametrize(
    ("url", "own"),
    [
        ("http://127.0.0.1:1/", True),
        ("http://localhost/", True),
        ("http://[::1]:1/", True),
        ("http://10.0.0.1/", False),
    ],
)
def test_an_address_of_this_pod_is_its_own(url: str, own: bool) -> None:
    assert is_own(url) is own


def _trickle(server: socket.socket, begins: bytes, byte: bytes) -> None:
    """Send a byte now and then until the client gives up; end where it does not."""
    connection, _ = server.accept()
    with connection, contextlib.suppress(OSError):
        connection.recv(4096)
        connection.sendall(begins)
        connection.settimeout(0.05)
        for _ in range(60):
            with contextlib.suppress(TimeoutError):
                connection.recv(1)
                return
            connection.sendall(byte)


def _raw_reason(answer: bytes) -> str:
    """Return the reason that a server leads to that answers so and closes."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        return reason(f"http://127.0.0.1:{server.getsockname()[1]}/")
