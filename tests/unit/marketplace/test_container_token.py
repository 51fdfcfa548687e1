"""Errors of the credentials endpoint's token are told from every other error of the same class."""

from __future__ import annotations

import errno
from pathlib import Path

import botocore.credentials
import pytest

from sidecar.marketplace.container_token import VARIABLE, ContainerTokenUnreadable, refused_token
from sidecar.marketplace.request_guard import MalformedCredentials

ENDPOINT = {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1:9/"}


def raised(env: dict[str, str]) -> Exception:
    """Return what the SDK itself raises in this environment."""
    with pytest.raises((OSError, ValueError)) as caught:
        botocore.credentials.ContainerProvider(environ=ENDPOINT | env).load()
    return caught.value


@pytest.mark.parametrize("place", ["", ".", "token/below", "nowhere"])
def test_a_file_that_cannot_be_read_is_named(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "token").touch()
    path = str(tmp_path / place) if place else ""
    monkeypatch.setenv(VARIABLE, path)
    assert isinstance(refused_token(raised({VARIABLE: path})), ContainerTokenUnreadable)


def test_the_variable_is_the_sdks() -> None:
    assert botocore.credentials.ContainerProvider.ENV_VAR_AUTH_TOKEN_FILE == VARIABLE


@pytest.mark.parametrize("token", ["a\n", "a\r\n", "\ra", "a\nb"])
def test_a_line_break_in_the_token_is_a_malformed_credential(token: str) -> None:
    exc = raised({"AWS_CONTAINER_AUTHORIZATION_TOKEN": token})
    assert isinstance(refused_token(exc), MalformedCredentials)


@pytest.mark.parametrize(
    "exc",
    [
        FileNotFoundError(errno.ENOENT, "No such file", "/other"),
        FileNotFoundError(errno.ENOENT, "No such file"),
        FileNotFoundError(),
        ConnectionResetError(errno.ECONNRESET, "reset"),
        ValueError("Unsupported host 'x'"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid"),
        KeyError("AccessKeyId"),
    ],
    ids=repr,
)
@pytest.mark.parametrize("given", ["/var/token", None])
def test_another_error_is_not_about_this_token(
    exc: Exception, given: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, given) if given else monkeypatch.delenv(VARIABLE, raising=False)
    assert refused_token(exc) is None
