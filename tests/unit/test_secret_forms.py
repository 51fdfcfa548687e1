"""Forms of secrets, each with what has it and what does not."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.secret_forms import FORMS, JWT_BEGIN, SECRET_NAME, kinds

JWT = next(form for form in FORMS if form.literal == JWT_BEGIN)
SECRETS = {
    b"eyJhbGciOiJQUzI1NiJ9.eyJub25jZSI6MX0.c2ln": "a signed token (JWT)",
    b"id: AKIA" + b"ZZ7Q2M4X8K1PL0WV": "an AWS access key id",
    b"id: ASIA" + b"ZZ7Q2M4X8K1PL0WV": "an AWS access key id",
    b"https://user:pass@host/x": "a user and password in a URL",
    b"Authorization: Bearer abcdefgh1": "a bearer token",
    b"x ghp_" + b"a1B2" * 9: "a GitHub token",
    b"github_pat_" + b"a1B2_" * 9: "a GitHub token",
    b"glpat-" + b"a1B2" * 6: "a GitLab token",
    b"npm_" + b"a1B2" * 9: "an npm token",
    b"pypi-AgE" + b"a1B2" * 12: "a PyPI token",
    b"xoxb-" + b"1234-" * 4: "a Slack token",
    b"-----BEGIN PRIVATE KEY-----": "a private key",
    b"-----BEGIN PGP PRIVATE KEY BLOCK-----": "a private key",
}
HARMLESS = (
    b"",
    b"eyJhbGci.x",
    b"AKIAIOSFODNN7EXAMPLE",
    b"MAKIAZZ7Q2M4X8K1PL0WV",
    b"https://host/x?a=b",
    b"Bearer x",
    b"ghp_short",
    b"npm_config_registry",
    b"-----BEGIN PUBLIC KEY-----",
)


@pytest.mark.parametrize("content", SECRETS, ids=lambda one: SECRETS[one].replace(" ", "-"))
def test_a_secret_is_told_by_its_form(content: bytes) -> None:
    assert list(kinds(b"before " + content + b" after")) == [SECRETS[content]]


@pytest.mark.parametrize("content", HARMLESS)
def test_what_has_no_form_is_none(content: bytes) -> None:
    assert list(kinds(content)) == []


@given(st.lists(st.sampled_from([b"eyJ", b"a", b"abcdefgh", b".", b"-", b" ", b"=", b"\n"]), max_size=12))
def test_a_signed_token_is_found_where_its_pattern_matches(parts: list[bytes]) -> None:
    content = b"".join(parts)
    assert (JWT.kind in kinds(content)) == (JWT.pattern.search(content) is not None)


def test_the_time_to_look_grows_with_the_length_alone() -> None:
    begun = time.process_time()
    for content in (b"eyJ" * 300_000, b"://a:" * 200_000, b"Bearer " * 150_000, b"AKIA-" * 200_000, b"gh" * 500_000):
        assert list(kinds(content)) in ([], ["a user and password in a URL"])
    assert time.process_time() - begun < 5


@pytest.mark.parametrize("name", ["DB_PASSWORD", "apiKey", "API_KEY", "NPM_TOKEN", "client_secret", "PRIVATE_PEM"])
def test_a_variable_for_a_secret_is_told_by_its_name(name: str) -> None:
    assert SECRET_NAME.search(name)


@pytest.mark.parametrize("name", ["GPG_KEY", "PATH", "KEYBOARD", "PASSAGE"])
def test_another_is_not(name: str) -> None:
    assert not SECRET_NAME.search(name)
