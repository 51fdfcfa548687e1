"""A registration token in a body, decoded once, and whose customers are ours."""

from __future__ import annotations

import pytest

from sidecar.api.json_body import Malformed
from sidecar.saas.resolving import read_token

TOKEN = "aB+c/d=:_.-9"
FORM = "application/x-www-form-urlencoded"


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        ('{"token": "aB+c/d=:_.-9"}', "application/json"),
        ('{"token": "aB+c/d=:_.-9"}', FORM),
        ("x-amzn-marketplace-token=aB+c/d=:_.-9", FORM),
        ("a=1&x-amzn-marketplace-token=aB%2Bc%2Fd%3D%3A_.-9", f"{FORM}; charset=utf-8"),
    ],
)
def test_a_token_keeps_its_plus(body: str, content_type: str) -> None:
    assert read_token(body.encode(), content_type) == TOKEN


@pytest.mark.parametrize(
    "body", ["{}", '"REPEATED"', '{"token": 3}', '{"token": ""}', '{"token": "a b"}', '{"other": "x"}', "x"]
)
def test_what_is_no_token_is_refused_and_not_repeated(body: str) -> None:
    with pytest.raises(Malformed) as refused:
        read_token(body.encode(), "application/json")
    assert "REPEATED" not in str(refused.value)


def test_a_blank_is_said_to_be_a_plus_that_was_lost() -> None:
    with pytest.raises(Malformed, match="decoded"):
        read_token(b'{"token": "aB c"}', "application/json")
