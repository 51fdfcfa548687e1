"""Mask what is secret in a text that leaves this machine.

A second barrier: what is collected for a support bundle has no secrets in it to begin with.

Invariants:
- A secret is found by its value, as it stands in the environment and in the files that the environment names, however
  it is quoted; and by its form, where no source is known: a signed token, an access key, a password in a URL.
- What is too short to be told from a word is found by its form alone.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote

from sidecar.secret_forms import FORMS, SECRET_NAME

MASK: Final = b"[masked]"
SHORTEST: Final = 6
"""Characters of a secret that is found by its value."""
FILE_BYTES_MAX: Final = 65_536
SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
TOKEN_FILES: Final = (
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "SIDECAR_API_TOKEN_FILE",
)
"""Variables that name a file with a secret in it."""
MOUNTED_TOKEN: Final = "/var/run/secrets/kubernetes.io/serviceaccount/token"  # noqa: S105 - a path


class Masking:
    """What is secret here."""

    def __init__(self, env: Mapping[str, str], token_files: Iterable[Path] = ()) -> None:
        """`token_files`: files with a secret that no variable names."""
        named = (Path(env[name]) for name in TOKEN_FILES if env.get(name))
        files = (_content(path) for path in (*named, *token_files, Path(MOUNTED_TOKEN)))
        values = {*_in_environment(env), *files}
        texts = {form for value in values if len(value) >= SHORTEST for form in _forms(value)}
        self._known = sorted(texts, key=len, reverse=True)

    def masked(self, content: bytes) -> bytes:
        """Return the content with everything secret replaced."""
        for secret in self._known:
            content = content.replace(secret, MASK)
        for form in FORMS:
            content = form.pattern.sub(MASK, content)
        return content


def _in_environment(env: Mapping[str, str]) -> Iterator[str]:
    for name, value in env.items():
        if SECRET_NAME.search(name) and not name.endswith("_FILE"):
            yield value.strip()
        if is_url(name, value):
            yield from _of_url(value)


def is_url(name: str, value: str) -> bool:
    """Return whether a variable holds a URL, or a proxy, which may be written without a scheme."""
    return "://" in value or (name.lower().endswith("_proxy") and name.lower() != "no_proxy")


def without_secrets(url: str) -> str:
    """Return a URL, or a proxy that is written without a scheme, without its user, password and query."""
    scheme, rest = _split(url)
    credentials, at, rest = rest.rpartition("@")
    rest, mark, query = rest.partition("?")
    mask = MASK.decode()
    return f"{scheme}{mask if credentials else ''}{at}{rest}{mark}{mask if query else ''}"


def _of_url(url: str) -> Iterator[str]:
    """Yield what is secret in a URL, as it is written and decoded; a user's name alone is found by its form."""
    credentials, _, rest = _split(url)[1].rpartition("@")
    password, query = credentials.partition(":")[2], rest.partition("?")[2]
    for one in (credentials if password else "", password, query):
        if one:
            yield from (one, unquote(one))


def _split(url: str) -> tuple[str, str]:
    """Return the scheme with its mark, empty where there is none, and the rest.

    What is behind it is not parsed: a password with `/` or `@` in it makes it no URL, and is a password all the same.
    """
    scheme = SCHEME.match(url)
    return (scheme[0], url[scheme.end() :]) if scheme else ("", url)


def _forms(secret: str) -> tuple[bytes, ...]:
    """Return the ways in which a text can be written: plain, in JSON, in a URL."""
    in_json = (json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1])
    written = (
        secret,
        *in_json,
        quote(secret, errors="surrogateescape"),
        quote(secret, safe="", errors="surrogateescape"),
    )
    return tuple(one.encode("utf-8", "surrogateescape") for one in written)


def _content(path: Path) -> str:
    """Return what is in a file; empty where it cannot be read, since no part has it from there either.

    A pipe is not waited for.
    """
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            return file.read(FILE_BYTES_MAX).decode("utf-8", "surrogateescape").strip()
    except OSError:
        return ""
