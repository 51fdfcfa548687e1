"""The URL of a proxy is read as the SDK reads it; what is no proxy stands in `test_request_guard`."""

from __future__ import annotations

import base64

import pytest

from sidecar.marketplace.proxy import parse, variable_for, written_for

URL = "https://metering.example/"


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("proxy.example.com:3128", "http://proxy.example.com:3128"),
        ("http://proxy.example.com", "http://proxy.example.com:80"),
        ("https://proxy.example.com", "https://proxy.example.com:443"),
        ("http://[2001:db8::1]:3128/", "http://[2001:db8::1]:3128"),
    ],
)
def test_scheme_host_and_port_are_those_that_are_written_or_their_defaults(written: str, shown: str) -> None:
    assert str(parse(written)) == shown


def test_name_and_password_become_the_header_and_are_never_shown() -> None:
    found = parse("http://me:p%23ss@proxy.example.com:3128")
    assert found
    assert found.authorization == f"Basic {base64.b64encode(b'me:p#ss').decode()}"
    assert "p%23ss" not in f"{found} {found!r}"
    assert found.authorization not in f"{found} {found!r}"


def test_a_proxy_without_credentials_gets_no_header() -> None:
    found = parse("http://proxy.example.com:3128")
    assert found
    assert found.authorization == ""


def test_the_variable_in_lower_case_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://upper:1")
    monkeypatch.delenv("https_proxy", raising=False)
    monkeypatch.setenv("NO_PROXY", "")
    monkeypatch.setenv("no_proxy", "")
    assert (written_for(URL), variable_for(URL)) == ("http://upper:1", "HTTPS_PROXY")
    monkeypatch.setenv("https_proxy", "http://lower:1")
    assert (written_for(URL), variable_for(URL)) == ("http://lower:1", "https_proxy")


def test_a_host_that_no_proxy_names_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://lower:1")
    monkeypatch.setenv("no_proxy", "metering.example")
    assert written_for(URL) == ""
