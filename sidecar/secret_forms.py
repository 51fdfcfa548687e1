"""Know the forms of secrets: how a credential looks, and how a variable that holds one is named.

Invariants:
- A form is precise enough that what has it is a secret, unless it is an example; what is told by its name alone may be
  none.
- Each form has a literal text that stands in every match, so that a large file without it is passed over quickly.

Sources: RFC 7519 (JSON Web Token), RFC 7468 (textual encodings of keys), RFC 6750 (bearer tokens); IAM user guide, "IAM
identifiers" (AKIA, ASIA); GitHub, GitLab, npm, PyPI and Slack documentation on the prefixes of their tokens.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from sidecar.quick_dataclasses import dataclass

SECRET_NAME: Final = re.compile(
    r"SECRET|TOKEN|PASSW|CREDENTIALS_RELATIVE_URI|API_?KEY|ACCESS_KEY|PRIVATE", re.IGNORECASE
)
"""In the name of a variable that holds a secret."""
EXAMPLE: Final = re.compile(rb"EXAMPLE")
"""In the keys of AWS's own documentation, which give access to nothing."""


@dataclass(frozen=True, kw_only=True)
class Form:
    """One form. `literal` stands in every match."""

    kind: str
    literal: bytes
    pattern: re.Pattern[bytes]
    in_files: bool = True
    """False: in a file that is no configuration it is more often an example than a secret."""


JWT_BEGIN: Final = b"eyJ"
"""A JSON object in base64url."""
BASE64URL: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
FORMS: Final[tuple[Form, ...]] = (
    Form(
        kind="a signed token (JWT)",
        literal=JWT_BEGIN,
        pattern=re.compile(rb"eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)?"),
        in_files=False,
    ),
    Form(kind="an AWS access key id", literal=b"AKIA", pattern=re.compile(rb"\bAKIA[A-Z0-9]{12,}\b")),
    Form(kind="an AWS access key id", literal=b"ASIA", pattern=re.compile(rb"\bASIA[A-Z0-9]{12,}\b")),
    Form(
        kind="a user and password in a URL",
        literal=b"://",
        pattern=re.compile(rb"(?<=://)[^\s/@\"']+(?=@)"),
        in_files=False,
    ),
    Form(
        kind="a bearer token",
        literal=b"Bearer ",
        pattern=re.compile(rb"(?<=Bearer )[A-Za-z0-9._~+/=-]{8,}"),
        in_files=False,
    ),
    Form(kind="a GitHub token", literal=b"gh", pattern=re.compile(rb"\bgh[opsur]_[A-Za-z0-9]{36,}\b")),
    Form(kind="a GitHub token", literal=b"github_pat_", pattern=re.compile(rb"\bgithub_pat_[A-Za-z0-9_]{40,}")),
    Form(kind="a GitLab token", literal=b"glpat-", pattern=re.compile(rb"\bglpat-[A-Za-z0-9_-]{20,}")),
    Form(kind="an npm token", literal=b"npm_", pattern=re.compile(rb"\bnpm_[A-Za-z0-9]{36}\b")),
    Form(kind="a PyPI token", literal=b"pypi-AgE", pattern=re.compile(rb"\bpypi-AgE[A-Za-z0-9_-]{40,}")),
    Form(kind="a Slack token", literal=b"xox", pattern=re.compile(rb"\bxox[abprs]-[A-Za-z0-9-]{10,}")),
)
PRIVATE_KEY: Final = re.compile(rb"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----")
"""RFC 7468, section 10; OpenSSH's and PGP's have the same frame."""


def kinds(content: bytes, *, in_files: bool = False) -> Iterator[str]:
    """Yield the kind of each form that stands in the content. `in_files`: it is a file of any kind."""
    for form in FORMS:
        if (form.in_files or not in_files) and form.literal in content and _stands(form, content):
            yield form.kind
    if b"PRIVATE KEY" in content and PRIVATE_KEY.search(content):
        yield "a private key"


def _stands(form: Form, content: bytes) -> bool:
    if form.literal == JWT_BEGIN:
        return _has_token(content)
    return any(not EXAMPLE.search(found[0]) for found in form.pattern.finditer(content))


def _has_token(content: bytes) -> bool:
    """Return whether a signed token stands in the content, as its pattern does, in time that grows with the length."""
    before, *parts = content.split(b".")
    for part in parts:
        header = before[len(before.rstrip(BASE64URL)) :]
        payload = len(part) - len(part.lstrip(BASE64URL))
        if 0 <= header.find(JWT_BEGIN) <= len(header) - len(JWT_BEGIN) - 8 and payload >= 8:
            return True
        before = part
    return False
