"""The instance's region: a token first, then the question; None wherever it does not answer well."""

from __future__ import annotations

import pytest

from sidecar.platform import imds
from tests.fakes.peer import Peer, Received, http_answer
from tests.ports import free_port


def read(url: str, **env: str) -> str | None:
    """Return the region, where the service is at this address."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(imds, "URL", url)
        return imds.read_region(env)


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
        assert read(peer.url) == region
    assert [one.method for one in peer.requests] == ["PUT", "GET"]


def test_nobody_is_asked_without_a_token() -> None:
    with Peer([http_answer(403, b"")]) as peer:
        assert read(peer.url) is None
    assert len(peer.requests) == 1


@pytest.mark.parametrize("word", ["true", "True", "TRUE"])
def test_a_service_that_is_switched_off_is_not_asked(word: str) -> None:
    with service() as peer:
        assert read(peer.url, AWS_EC2_METADATA_DISABLED=word) is None
    assert peer.requests == []


def test_a_service_that_is_said_to_be_on_is_asked() -> None:
    with service() as peer:
        assert read(peer.url, AWS_EC2_METADATA_DISABLED="false") == "us-west-2"


@pytest.mark.parametrize(
    "region", [b"", b"<html>", b"us-west", b"us-west-2\n", b"us-west-2a", b"\xff", b"evil.example/#"]
)
def test_what_is_no_region_is_not_believed(region: bytes) -> None:
    with service(region) as peer:
        assert read(peer.url) is None


@pytest.mark.parametrize("token", [b"\xff", b"a\r\nX-Evil: 1"])
def test_a_token_that_is_none_ends_the_asking(token: bytes) -> None:
    with service(token=token) as peer:
        assert read(peer.url) is None
    assert [one.method for one in peer.requests] == ["PUT"]


def test_no_service_is_no_region() -> None:
    assert read(f"http://127.0.0.1:{free_port()}") is None


@pytest.mark.parametrize("mode", ["IPv4", "IPv6"])
def test_no_variable_moves_the_service(mode: str) -> None:
    """The SDK does not see these either: a fake service would choose the region, and so the host that is asked."""
    with service(b"eu-west-1") as fake, service() as peer:
        moved = {"AWS_EC2_METADATA_SERVICE_ENDPOINT": fake.url, "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE": mode}
        assert read(peer.url, **moved) == "us-west-2"
    assert fake.requests == []


def test_the_service_is_at_its_link_local_address() -> None:
    assert imds.URL == "http://169.254.169.254"


def test_a_proxy_is_never_asked_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with service(b"eu-west-1") as proxy, service() as peer:
        monkeypatch.setenv("http_proxy", proxy.url)
        assert read(peer.url, http_proxy=proxy.url) == "us-west-2"
    assert proxy.requests == []
