"""The start warns where a proxy can answer in AWS's place."""

from __future__ import annotations

import pytest

from sidecar.app.run import _warn_of_unsigned_answers
from tests.fakes.config import settings
from tests.fakes.log import logged_events

PROXY = {"HTTPS_PROXY": "http://proxy:3128"}
BUNDLE = {"AWS_CA_BUNDLE": "/ca.pem"}
UNSIGNED = {"entitlement_check": "meter_usage", "dimensions": "requests"}


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy"])
def test_a_proxy_with_its_own_certificates_and_an_unsigned_check_is_warned_of(name: str) -> None:
    with logged_events() as events:
        _warn_of_unsigned_answers(settings(**UNSIGNED), {name: "http://proxy:3128", **BUNDLE})
    assert "NO_PROXY" in events.one("answer.unsigned")["hint"]


@pytest.mark.parametrize(
    ("check", "env"),
    [
        ({}, {**PROXY, **BUNDLE}),
        (UNSIGNED, PROXY),
        (UNSIGNED, BUNDLE),
        (UNSIGNED, {**BUNDLE, "HTTPS_PROXY": " "}),
        (UNSIGNED, {}),
    ],
)
def test_where_one_of_the_three_is_missing_nothing_is_warned_of(check: dict[str, str], env: dict[str, str]) -> None:
    with logged_events() as events:
        _warn_of_unsigned_answers(settings(**check), env)
    assert events.names() == []
