"""Tell files that hold a secret: by name, by what they begin with, by a credential in them.

Invariants:
- No value is given out: the kind alone.
- A name alone is enough where the file is for nothing else (`.aws/credentials`); where it may be harmless (`.npmrc`,
  `.env`) something must be in it.

Sources: AWS Marketplace seller guide, "Container-based product requirements" (no hardcoded secrets); the documentation
of the tools whose files these are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from sidecar.listing.secret_values import secret_kind
from sidecar.secret_forms import PRIVATE_KEY, kinds

SCANNED_MAX: Final = 256 << 10
"""Bytes of a file that is read for credentials. What a person writes by hand is smaller."""
BY_NAME: Final[Mapping[re.Pattern[str], str]] = {
    re.compile(r"(^|/)\.aws/credentials$"): "keys of the AWS CLI",
    re.compile(r"(^|/)\.ssh/(id_\w+|identity)$|(^|/)id_(rsa|dsa|ecdsa|ed25519)$"): "a private key of SSH",
    re.compile(r"(^|/)\.netrc$"): "passwords of .netrc",
    re.compile(r"(^|/)\.pgpass$"): "a password of PostgreSQL",
    re.compile(r"(^|/)\.git-credentials$"): "passwords of Git",
    re.compile(r"(^|/)\.vault-token$"): "a token of Vault",
    re.compile(
        r"(^|/)\.config/gcloud/(credentials\.db|application_default_credentials\.json)$"
    ): "keys of Google Cloud",
    re.compile(r"(^|/)\.azure/(accessTokens|msal_token_cache)\.json$"): "tokens of Azure",
}
"""Path → what such a file holds."""
BY_NAME_AND_CONTENT: Final[Mapping[re.Pattern[str], tuple[re.Pattern[bytes], str]]] = {
    re.compile(r"(^|/)\.?npmrc$"): (re.compile(rb"_(authToken|auth|password)\s*=\s*[^\s$]"), "a token of npm"),
    re.compile(r"(^|/)\.yarnrc\.yml$"): (re.compile(rb"npmAuth(Token|Ident):\s*[^\s$]"), "a token of npm"),
    re.compile(r"(^|/)\.pypirc$"): (re.compile(rb"(?m)^\s*password\s*[=:]\s*\S"), "a token of PyPI"),
    re.compile(r"(^|/)pip\.conf$"): (re.compile(rb"://[^\s/@:]+:[^\s/@]+@"), "a password of a package index"),
    re.compile(r"(^|/)\.docker/config\.json$|(^|/)\.dockercfg$"): (
        re.compile(rb'"auth"\s*:\s*"[^"]'),
        "a password of a registry",
    ),
    re.compile(r"(^|/)\.kube/config$"): (
        re.compile(rb"(client-key-data|token|password):\s*\S"),
        "a key or token of Kubernetes",
    ),
    re.compile(r"(^|/)\.git/config$"): (re.compile(rb"://[^\s/@:]+:[^\s/@]+@"), "a password in a Git remote"),
}
"""Path → what must stand in such a file, and what that is."""
ENV_FILE: Final = re.compile(r"(^|/)\.env(\.\w+)?$")
ENV_LINE: Final = re.compile(rb"(?m)^[ \t]*(?:export[ \t]+)?(\w+)[ \t]*=[ \t]*[\"']?([^\s\"'#]+)")
GIT: Final = re.compile(r"(^|/)\.git/HEAD$")
"""In every repository, and in nothing else."""


def is_repository(path: str) -> bool:
    """Return whether a path tells a Git repository."""
    return GIT.search(path) is not None


def by_name(path: str) -> str:
    """Return what a file of this name holds; empty where a name tells nothing."""
    return next((kind for pattern, kind in BY_NAME.items() if pattern.search(path)), "")


def by_content(path: str, content: bytes) -> str:
    """Return what secret stands in the content of a file; empty for none."""
    for pattern, (needle, kind) in BY_NAME_AND_CONTENT.items():
        if pattern.search(path) and needle.search(content):
            return kind
    if ENV_FILE.search(path) and (name := _in_env_file(content)):
        return f"a value of {name}"
    if PRIVATE_KEY.match(content.lstrip()):
        return "a private key"
    found = (kind for kind in kinds(content, in_files=True) if kind != "a private key")
    return next(found, "")


def _in_env_file(content: bytes) -> str:
    """Return the name of the first variable that holds a secret; empty for none."""
    pairs = (
        (name.decode("ascii", "replace"), value.decode("utf-8", "replace")) for name, value in ENV_LINE.findall(content)
    )
    return next((name for name, value in pairs if secret_kind(name, value)), "")
