"""A token says its audience and its end, and nothing else of it is shown."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from sidecar.doctor.web_identity import WebIdentity


def token(directory: Path, claims: object) -> str:
    path = directory / "token"
    path.write_text(f"e30.{base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip('=')}.c2ln")
    return str(path)


@pytest.mark.parametrize(
    ("audience", "for_sts"),
    [
        ("sts.amazonaws.com", True),
        (["sts.amazonaws.com"], True),
        (["vault", "sts.amazonaws.com.cn"], True),
        (["vault"], False),
    ],
)
def test_a_token_is_for_sts_where_that_is_among_its_audiences(tmp_path: Path, audience: object, for_sts: bool) -> None:
    found = WebIdentity.of(token(tmp_path, {"aud": audience, "exp": 1_900_000_000, "sub": "nobody-sees-this"}))
    assert found
    assert found.for_sts is for_sts
    assert "valid until 2030-03-17" in str(found)
    assert "nobody" not in str(found)


@pytest.mark.parametrize("claims", [{}, [], {"aud": 7}, {"aud": [7]}, "text"])
def test_a_token_without_an_audience_says_nothing(tmp_path: Path, claims: object) -> None:
    assert WebIdentity.of(token(tmp_path, claims)) is None


@pytest.mark.parametrize("expiry", [None, "soon", 10**30])
def test_an_end_that_is_no_instant_is_left_out(tmp_path: Path, expiry: object) -> None:
    assert str(WebIdentity.of(token(tmp_path, {"aud": "a", "exp": expiry}))) == "its token is for a"


@pytest.mark.parametrize("path", ["", "/nonexistent/token", "/"])
def test_no_token_says_nothing(path: str) -> None:
    assert WebIdentity.of(path) is None
