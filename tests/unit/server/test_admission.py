"""Who may ask the product's listener: origin, host and token."""

from __future__ import annotations

import random
from typing import Any

import pytest

from sidecar.api.reply import API, PROBE
from sidecar.server.admission import (
    CROSS_ORIGIN,
    HOST_REFUSED,
    OTHER_INSTANCE,
    TOKEN_REFUSED,
    Admission,
    is_loopback,
)
from sidecar.server.http_error import HttpError
from sidecar.server.limits import Limits
from sidecar.server.request import Request, RequestReader

TOKEN = "s3cret-token-of-the-test"
BEARER = f"Authorization: Bearer {TOKEN}\r\n"


def judged(admission: Admission, head: str, *, own: str = "10.0.0.5") -> HttpError | None:
    """Return why a request with this head is refused."""
    reader = RequestReader(Limits(), API, lambda found: admission.refusal(own, found))
    reader.buffer += head.encode("latin-1") + b"\r\n"
    found = reader.take()
    assert isinstance(found, (HttpError, Request)), found
    return found if isinstance(found, HttpError) else None


def post(host: str = "127.0.0.1:8485", more: str = "", path: str = "/v1/usage") -> str:
    return f"POST {path} HTTP/1.1\r\nHost: {host}\r\n{more}"


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1:8485",
        "127.0.0.1",
        "127.8.9.1:1",
        "localhost:8485",
        "LOCALHOST",
        "localhost.:8485",
        "product.localhost",
        "[::1]:8485",
        "[0:0:0:0:0:0:0:1]:8485",
        "[::ffff:127.0.0.1]:8485",
        "ip6-localhost:8485",
        "10.0.0.5:8485",
        "entitlement-sidecar:8485",
        "Entitlement-Sidecar",
        "192.0.2.7",
        "[2001:DB8::0007]:8485",
    ],
)
def test_loopback_own_address_and_configured_names_are_served(host: str) -> None:
    admission = Admission(["entitlement-sidecar", "192.0.2.7", "2001:db8::7"])
    assert judged(admission, post(host)) is None


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8485",
        "localhost.evil.example",
        "127.0.0.1%.evil.example",
        "::1%.evil.example",
        "evil.example%.localhost",
        "evil.example/.localhost",
        ".localhost",
        "127.0.0.1.evil.example",
        "notlocalhost",
        "entitlement-sidecar.evil.example",
        "10.0.0.6:8485",
        "128.0.0.1",
        "[::2]:8485",
        "[::ffff:10.0.0.6]",
        "127.1",
        "0x7f000001",
        "",
        "localhost:8485@evil.example",
        "user@localhost",
        "localhost, evil.example",
        "[::1",
    ],
)
def test_any_other_host_is_refused(host: str) -> None:
    admission = Admission(["entitlement-sidecar"])
    assert judged(admission, post(host)) == HOST_REFUSED


def test_the_own_address_of_a_dual_stack_socket_is_read_as_ipv4() -> None:
    assert judged(Admission(), post("10.0.0.5:8485"), own="::ffff:10.0.0.5") is None
    assert judged(Admission(), post("[fe80::1]:8485"), own="fe80::1%eth0") is None


def test_a_host_in_the_request_target_counts_too() -> None:
    lines = "GET http://{}/v1/status HTTP/1.1\r\nHost: localhost\r\n"
    assert judged(Admission(), lines.format("localhost:8485")) is None
    assert judged(Admission(), lines.format("evil.example")) == HOST_REFUSED


def test_a_client_of_http_1_0_needs_no_host() -> None:
    assert judged(Admission(), "GET /v1/status HTTP/1.0\r\n") is None
    assert judged(Admission(), "GET /v1/status HTTP/1.0\r\nHost: evil.example\r\n") == HOST_REFUSED


@pytest.mark.parametrize(
    "more",
    [
        "Origin: https://evil.example\r\n",
        "Origin: http://localhost:3000\r\n",
        "Origin: http://127.0.0.1\r\n",
        "Origin: null\r\n",
        "Origin: \r\n",
        "Origin: 127.0.0.1:8485\r\n",
        "Origin: file://127.0.0.1:8485\r\n",
        "Origin: http://127.0.0.1:8485\r\nOrigin: https://evil.example\r\n",
        "Sec-Fetch-Site: cross-site\r\n",
        "Sec-Fetch-Site: same-site\r\n",
        "sec-fetch-site: Cross-Site\r\n",
        "Sec-Fetch-Site: none\r\nSec-Fetch-Site: cross-site\r\n",
    ],
)
@pytest.mark.parametrize("path", ["/v1/usage", "/v1/status", "/", "/entitled"])
def test_a_page_of_another_origin_is_refused_on_every_route(more: str, path: str) -> None:
    assert judged(Admission(token=TOKEN), post(more=more + BEARER, path=path)) == CROSS_ORIGIN


@pytest.mark.parametrize(
    "more",
    [
        "",
        "Origin: http://127.0.0.1:8485\r\n",
        "Origin: HTTP://127.0.0.1:8485\r\n",
        "Sec-Fetch-Site: same-origin\r\n",
        "Sec-Fetch-Site: none\r\n",
        "Origin: http://127.0.0.1:8485\r\nSec-Fetch-Site: same-origin\r\n",
        "Referer: https://evil.example/\r\n",
    ],
)
def test_the_own_page_and_clients_that_are_no_browser_are_served(more: str) -> None:
    assert judged(Admission(), post(more=more)) is None


def test_a_page_that_rebinds_its_name_is_refused_by_its_host() -> None:
    more = "Origin: http://evil.example:8485\r\nSec-Fetch-Site: same-origin\r\n"
    assert judged(Admission(), post("evil.example:8485", more)) == HOST_REFUSED


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_a_request_with_the_token_is_served(scheme: str) -> None:
    assert judged(Admission(token=TOKEN), post(more=f"Authorization: {scheme} {TOKEN}\r\n")) is None


@pytest.mark.parametrize(
    "more",
    [
        "",
        "Authorization: \r\n",
        "Authorization: Bearer\r\n",
        f"Authorization: {TOKEN}\r\n",
        f"Authorization: Basic {TOKEN}\r\n",
        f"Authorization: Bearer {TOKEN}x\r\n",
        f"Authorization: Bearer {TOKEN[:-1]}\r\n",
        f"Authorization: Bearer {TOKEN.upper()}\r\n",
        "Authorization: Bearer \xe9\r\n",
        f"Authorization: Bearer {TOKEN}\r\nAuthorization: Bearer {TOKEN}\r\n",
        f"X-Authorization: Bearer {TOKEN}\r\n",
    ],
)
def test_a_request_without_the_token_is_refused(more: str) -> None:
    for path in ("/v1/usage", "/v1/status", "/", "/nowhere", "/entitled/", "/%65ntitled", "//entitled"):
        assert judged(Admission(token=TOKEN), post(more=more, path=path)) == TOKEN_REFUSED, path


@pytest.mark.parametrize("path", ["/entitled", "/healthz", "/readyz", "/metrics", "/entitled?x=1"])
def test_a_probe_needs_no_token(path: str) -> None:
    assert judged(Admission(token=TOKEN), f"GET {path} HTTP/1.1\r\nHost: localhost\r\n") is None


def test_no_refusal_has_the_token_or_a_word_of_the_client() -> None:
    for refusal in (CROSS_ORIGIN, HOST_REFUSED, TOKEN_REFUSED):
        assert TOKEN not in refusal.detail
    assert TOKEN_REFUSED.headers == (("WWW-Authenticate", "Bearer"),)


def test_a_refused_head_is_judged_again_and_an_accepted_one_once() -> None:
    seen: list[str] = []

    def judge(message: Any) -> HttpError | None:
        seen.append(message.path)
        return None

    reader = RequestReader(Limits(), API, judge)
    for _ in range(3):
        reader.buffer += b"POST /v1/usage HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}"
        assert isinstance(reader.take(), Request)
    reader.buffer += b"POST /v1/other HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}"
    assert isinstance(reader.take(), Request)
    assert seen == ["/v1/usage", "/v1/other"]


def test_no_host_of_random_bytes_is_served() -> None:
    chance = random.Random(7)
    admission = Admission(["product"])
    letters = "localhost127.0[]:product1xX@%/,-"
    served = {"localhost", "127.0.0.1", "product"}
    for _ in range(3000):
        host = "".join(chance.choice(letters) for _ in range(chance.randint(1, 12)))
        refusal = judged(admission, f"GET / HTTP/1.1\r\nHost: {host}\r\n")
        if refusal is None:
            name = host.rpartition(":")[0] or host
            assert name.strip(".") in served or is_loopback(name), host


@pytest.mark.parametrize(
    ("address", "loopback"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("::", False), ("0.0.0.0", False), ("10.0.0.5", False)],
)
def test_what_only_this_machine_reaches_is_loopback(address: str, loopback: bool) -> None:
    assert is_loopback(address) is loopback


# -- which sidecar


@pytest.mark.parametrize("name", ["Entitlement-Sidecar-Instance", "entitlement-sidecar-instance"])
def test_a_request_for_another_start_of_a_sidecar_is_refused_on_both_listeners(name: str) -> None:
    admission = Admission(instance="abc")
    for value, refused in (("abc", False), ("xyz", True), ("", True), ("abc, xyz", True)):
        head = f"GET /entitled HTTP/1.1\r\nHost: localhost\r\n{name}: {value}\r\n"
        assert (judged(admission, head) == OTHER_INSTANCE) is refused
        reader = RequestReader(Limits(), PROBE, admission.probe_refusal)
        reader.buffer += f"{head}\r\n".encode()
        assert (reader.take() == OTHER_INSTANCE) is refused


def test_a_request_that_names_no_instance_is_not_refused_for_that() -> None:
    assert judged(Admission(instance="abc"), "GET /entitled HTTP/1.1\r\nHost: localhost\r\n") is None
