"""The instance's region: a token first, then the question; None wherever it does not answer well."""

from __future__ import annotations

import pytest

from sidecar.platform import imds
from tests.fakes.peer import Peer, Received, http_answer
from tests.ports import free_port

ENDPOINT = "AWS_EC2_METADATA_SERVICE_ENDPOINT"


def service(region: bytes = b"us-west-2", token: bytes = b"tok") -> Peer:
    def answer(request: Received) -> bytes:
        if (request.method, request.target) == ("PUT", "/latest/api/token"):
            return http_answer(200, token) if "x-aws-ec2-metadata-token-ttl-seconds" in request.headers else b""
        if request.headers.get("x-aws-ec2-metadata-token") != "tok":
            return http_answer(401, b"")
        return http_answer(200, region) if request.target == "/latest/meta-data/placement/region" else b""

    return Peer(answer)


@pytest.mark.parametrize(
    "region", ["us-west-2", "ap-southeast-11", "us-gov-east-1", "us-isob-east-1", "eusc-de-east-1"]
)
def test_the_region_is_asked_for_with_a_token(region: str) -> None:
    with service(region.encode()) as peer:
        assert imds.read_region({ENDPOINT: peer.url + "/"}) == region
    assert [one.method for one in peer.requests] == ["PUT", "GET"]


def test_nobody_is_asked_without_a_token() -> None:
    with Peer([http_answer(403, b"")]) as peer:
        assert imds.read_region({ENDPOINT: peer.url}) is None
    assert len(peer.requests) == 1


@pytest.mark.parametrize("word", ["true", "True", "TRUE"])
def test_a_service_that_is_switched_off_is_not_asked(word: str) -> None:
    with service() as peer:
        assert imds.read_region({ENDPOINT: peer.url, "AWS_EC2_METADATA_DISABLED": word}) is None
    assert peer.requests == []


def test_a_service_that_is_said_to_be_on_is_asked() -> None:
    with service() as peer:
        assert imds.read_region({ENDPOINT: peer.url, "AWS_EC2_METADATA_DISABLED": "false"}) == "us-west-2"


@pytest.mark.parametrize(
    "region", [b"", b"<html>", b"us-west", b"us-west-2\n", b"us-west-2a", b"\xff", b"evil.example/#"]
)
def test_what_is_no_region_is_not_believed(region: bytes) -> None:
    with service(region) as peer:
        assert imds.read_region({ENDPOINT: peer.url}) is None


@pytest.mark.parametrize("token", [b"\xff", b"a\r\nX-Evil: 1"])
def test_a_token_that_is_none_ends_the_asking(token: bytes) -> None:
    with service(token=token) as peer:
        assert imds.read_region({ENDPOINT: peer.url}) is None
    assert [one.method for one in peer.requests] == ["PUT"]


def test_no_service_is_no_region() -> None:
    assert imds.read_region({ENDPOINT: f"http://127.0.0.1:{free_port()}"}) is None


@pytest.mark.parametrize("url", ["https://127.0.0.1", "nonsense", "http://127.0.0.1:port"])
def test_an_endpoint_that_is_no_plain_http_is_no_region(url: str) -> None:
    assert imds.read_region({ENDPOINT: url}) is None


def test_a_proxy_is_never_asked_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with service(b"eu-west-1") as proxy, service() as peer:
        monkeypatch.setenv("http_proxy", proxy.url)
        assert imds.read_region({ENDPOINT: peer.url, "http_proxy": proxy.url}) == "us-west-2"
    assert proxy.requests == []
