"""The start warns where another server can answer in AWS's place, and asks once."""

from __future__ import annotations

import pytest

from sidecar.app.run import _ask, _warn_of_unsigned_answers
from sidecar.restart_state import RestartState
from tests.fakes.config import check_request, settings
from tests.fakes.log import logged_events

PROXY = {"HTTPS_PROXY": "http://proxy:3128"}
BUNDLE = {"AWS_CA_BUNDLE": "/ca.pem"}
UNSIGNED = {"entitlement_check": "meter_usage", "dimensions": "requests"}


@pytest.mark.parametrize("env", [{}, PROXY, {"https_proxy": "http://proxy:3128"}, {"NO_PROXY": "*"}])
def test_certificates_beside_the_sdks_own_and_an_unsigned_check_are_warned_of(env: dict[str, str]) -> None:
    """With a proxy or without: a hosts file or DNS leads to another server as well."""
    with logged_events() as events:
        _warn_of_unsigned_answers(settings(**UNSIGNED), {**env, **BUNDLE})
    hint = events.one("answer.unsigned")["hint"]
    assert "AWS_CA_BUNDLE" in hint
    assert "hosts file" in hint


@pytest.mark.parametrize(
    ("check", "env"),
    [
        ({}, {**PROXY, **BUNDLE}),
        ({}, BUNDLE),
        (UNSIGNED, PROXY),
        (UNSIGNED, {"AWS_CA_BUNDLE": ""}),
        (UNSIGNED, {}),
    ],
)
def test_signed_answers_and_the_sdks_own_certificates_are_not_warned_of(
    check: dict[str, str], env: dict[str, str]
) -> None:
    with logged_events() as events:
        _warn_of_unsigned_answers(settings(**check), env)
    assert events.names() == []


def test_the_first_check_is_noted_before_it_is_asked_and_no_later_worker_asks_another() -> None:
    state, noted = RestartState(), list[object]()

    class Waiting:
        def ask(self, _: object) -> None:
            noted.append(state.read()["open_checks"])

    for _ in range(3):
        _ask(check_request(settings()), state, Waiting)  # type: ignore[arg-type]
    assert noted == [1]
