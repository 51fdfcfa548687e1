"""What conftest sets for all tests."""

from __future__ import annotations

from hypothesis import settings


def test_an_example_of_hypothesis_has_no_time_limit() -> None:
    assert settings().deadline is None
