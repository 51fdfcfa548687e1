"""What cannot leave this host is refused by name, before anything is sent."""

from __future__ import annotations

import pytest
from botocore.awsrequest import AWSRequest
from botocore.exceptions import ConnectionClosedError, HTTPClientError
from urllib3.exceptions import LocationParseError

from sidecar.marketplace.proxy import is_proxy
from sidecar.marketplace.request_guard import (
    MalformedCredentials,
    MalformedProxy,
    guard,
    refused_by_client,
)

GOOD = [
    "http://127.0.0.1:3128",
    "https://proxy.example.com",
    "proxy.example.com:3128",
    "http://proxy.example.com:3128/",
    "http://user:p%23ss@proxy.example.com:3128",
    "http://[2001:db8::1]:3128",
    "http://bücher.example:3128",
]
BAD = [
    "http://127.0.0.1:3128 ",
    "http://127.0.0.1:3128\n",
    "http://127.0.0.1:99999",
    "http://127.0.0.1:0",
    "http://127.0.0.1:port",
    "http://user:pa#ss@127.0.0.1:3128",
    "http://user:pa/ss@127.0.0.1:3128",
    "http://user:pässe@127.0.0.1:3128",
    "http://user:p%C3%A4sse@127.0.0.1:3128",
    "http://",
    "http://#",
    "#",
    "://x",
    "http:127.0.0.1:3128",
    "http:///x",
    "http://[::1",
    "http://a b:3128",
    "http://a..b:3128",
    f"http://{'a' * 64}:3128",
    "socks5://127.0.0.1:1080",
    "HTTP://127.0.0.1:3128",
]


def request(**headers: str | bytes) -> AWSRequest:
    return AWSRequest(method="POST", url="https://metering.example/", headers=headers)


@pytest.mark.parametrize("written", GOOD)
def test_the_url_of_a_proxy_is_one(written: str) -> None:
    assert is_proxy(written)


@pytest.mark.parametrize("written", BAD)
def test_what_is_no_url_of_a_proxy_is_refused(written: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not is_proxy(written)
    monkeypatch.setenv("HTTPS_PROXY", written)
    monkeypatch.setenv("NO_PROXY", "")
    with pytest.raises(MalformedProxy) as refused:
        guard(request())
    assert "127.0.0.1" not in str(refused.value), "a password may stand in it"


@pytest.mark.parametrize("env", [{"NO_PROXY": ".example"}, {"NO_PROXY": "*"}, {"HTTPS_PROXY": "", "HTTP_PROXY": "#"}])
def test_a_proxy_that_is_not_asked_is_not_judged(env: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ({"HTTPS_PROXY": "http://127.0.0.1:port"} | env).items():
        monkeypatch.setenv(name, value)
    guard(request())


@pytest.mark.parametrize("ending", ["\nb", "\n", "\r", "\0", "\u20ac", "\xe4", "\udc80"])
def test_a_header_with_what_no_header_may_have_is_refused(ending: str) -> None:
    with pytest.raises(MalformedCredentials) as refused:
        guard(request(**{"X-Amz-Security-Token": f"hunter2{ending}"}))
    assert "hunter2" not in str(refused.value)
    with pytest.raises(MalformedCredentials):
        guard(request(Authorization=f"hunter2{ending}".encode("utf-8", "surrogatepass")))
    guard(
        request(**{"X-Amz-Security-Token": "aB3+/=", "Authorization": b"AWS4-HMAC-SHA256 Credential=A/b, Signature=0"})
    )


@pytest.mark.parametrize(
    ("error", "means"),
    [
        (LocationParseError("'a..b', label empty or too long"), MalformedProxy),
        (ValueError("Invalid header value b'a\\nb'"), MalformedCredentials),
        (UnicodeEncodeError("latin-1", "\u20ac", 0, 1, "no"), MalformedCredentials),
    ],
)
def test_an_error_of_the_http_client_that_sent_nothing_has_its_cause(error: Exception, means: type[Exception]) -> None:
    assert isinstance(refused_by_client(HTTPClientError(error=error)), means)


@pytest.mark.parametrize(
    "exc",
    [
        HTTPClientError(error=ValueError("a chunk of the answer has no length")),
        HTTPClientError(error=UnicodeDecodeError("utf-8", b"\xff", 0, 1, "no")),
        HTTPClientError(error=OSError("anything")),
        ConnectionClosedError(endpoint_url="x", error=LocationParseError("x")),
        ValueError("Invalid header value"),
    ],
)
def test_any_other_error_may_have_been_sent(exc: Exception) -> None:
    assert refused_by_client(exc) is None
