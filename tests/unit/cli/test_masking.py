"""What is secret is found by its value and by its form, and nothing else is touched."""

from __future__ import annotations

import json
import os
from pathlib import Path
from urllib.parse import quote

import pytest

from sidecar.cli.masking import MASK, Masking, without_secrets

JWT = "eyJhbGciOiJQUzI1NiJ9.eyJub25jZSI6ImFiYyJ9.c2lnbmF0dXJl"
SECRET = 'wJalrXUtnFEMI/K7MDENG+bPxRfi"CY\\é'


@pytest.mark.parametrize(
    "name",
    [
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "DB_PASSWORD",
        "my_api_key",
    ],
)
@pytest.mark.parametrize("write", [str, json.dumps, lambda one: json.dumps(one, ensure_ascii=False), quote])
def test_a_secret_of_the_environment_is_masked_however_it_is_written(name: str, write: object) -> None:
    text = f"before {write(SECRET)} after"  # type: ignore[operator]
    masked = Masking({name: SECRET}).masked(text.encode())
    assert MASK in masked
    assert b"wJalr" not in masked
    assert masked.startswith(b"before ")
    assert masked.endswith(b" after")


@pytest.mark.parametrize(
    "name", ["AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "SIDECAR_API_TOKEN_FILE"]
)
def test_the_content_of_a_token_file_is_masked_and_its_path_is_not(name: str, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("0123456789abcdef\n")
    assert Masking({name: str(file)}).masked(f"{file}: 0123456789abcdef".encode()) == f"{file}: ".encode() + MASK


def test_a_file_that_no_variable_names_may_be_given(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("0123456789abcdef")
    assert Masking({}, [file, tmp_path / "absent"]).masked(b"0123456789abcdef") == MASK


def test_a_token_file_that_is_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "token")
    assert Masking({"SIDECAR_API_TOKEN_FILE": str(tmp_path / "token")}).masked(b"text") == b"text"


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        (f'{{"t": "{JWT}"}}', '{"t": "[masked]"}'),
        ("id AKIAIOSFODNN7EXAMPLE.", "id [masked]."),
        ("id ASIAIOSFODNN7EXAMPLE.", "id [masked]."),
        ("http://user:pa55@proxy:3128/", "http://[masked]@proxy:3128/"),
        ("Authorization: Bearer abcdef012345", "Authorization: Bearer [masked]"),
    ],
)
def test_a_secret_is_known_by_its_form_where_no_source_is(text: str, masked: str) -> None:
    assert Masking({}).masked(text.encode()).decode() == masked


def test_a_password_of_a_proxy_is_masked_alone_and_decoded() -> None:
    masking = Masking({"HTTPS_PROXY": "http://user:s%40cret99@proxy:3128"})
    assert masking.masked(b"s%40cret99 and s@cret99") == MASK + b" and " + MASK


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("http://joe:pa55word@proxy:3128", "http://[masked]@proxy:3128"),
        ("joe:pa55word@proxy:3128", "[masked]@proxy:3128"),
        ("http://joe:pa55/word@proxy:3128", "http://[masked]@proxy:3128"),
        ("http://joe:pa55@word@proxy:3128", "http://[masked]@proxy:3128"),
        ("joe:pa55://word@proxy:3128", "[masked]@proxy:3128"),
        ("https://127.0.0.1/creds?id=pa55word", "https://127.0.0.1/creds?[masked]"),
        ("http://proxy:3128", "http://proxy:3128"),
        ("proxy:3128", "proxy:3128"),
    ],
)
def test_a_url_is_shown_without_user_password_and_query(written: str, shown: str) -> None:
    assert without_secrets(written) == shown


@pytest.mark.parametrize(
    "proxy", ["joe:pa55word@proxy:3128", "http://joe:pa55/word@proxy", "http://joe:pa55@word@proxy"]
)
def test_a_password_of_a_proxy_that_is_no_url_is_masked_elsewhere_too(proxy: str) -> None:
    password = proxy.rpartition("@")[0].partition("joe:")[2]
    masking = Masking({"https_proxy": proxy})
    assert masking.masked(f"refused: {password}.".encode()) == b"refused: " + MASK + b"."


@pytest.mark.parametrize(
    "text",
    [
        "AWS_SECRET_ACCESS_KEY is set",
        "arn:aws:iam::123456789012:role/product",
        "http://127.0.0.1:8485/v1/status, write to support@seller.example",
        "6f1c0f9e-8d5a-4b1e-9c55-0b6a2d4f7e11",
        "SHA-256 3f:aa:bb",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    env = {"AWS_REGION": "us-east-1", "POD_UID": "6f1c0f9e-8d5a-4b1e-9c55-0b6a2d4f7e11", "SIDECAR_ON_DENIED": "hold"}
    assert Masking(env).masked(text.encode()) == text.encode()


def test_a_word_of_a_few_letters_is_not_taken_for_a_secret() -> None:
    assert Masking({"DB_PASSWORD": "on"}).masked(b"on_denied: on") == b"on_denied: on"
