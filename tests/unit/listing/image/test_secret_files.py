"""Which files hold a secret, and which only look so."""

from __future__ import annotations

import pytest

from sidecar.listing.image.secret_files import by_content, by_name, is_repository

TOKEN = b"npm_" + b"a1B2c3" * 6
KEY = b"-----BEGIN EC PRIVATE KEY-----\nMHcC"
ACCESS_KEY = b"AKIA" + b"ZZ7Q2M4X8K1PL0WV"

BY_NAME = [
    "root/.aws/credentials",
    "home/app/.ssh/id_ed25519",
    "app/id_rsa",
    "root/.netrc",
    "root/.pgpass",
    "root/.git-credentials",
    "root/.vault-token",
    "root/.config/gcloud/application_default_credentials.json",
    "root/.azure/accessTokens.json",
]
NOT_BY_NAME = [
    "root/.aws/config",
    "home/app/.ssh/known_hosts",
    "app/id_rsa.pub",
    "usr/share/doc/aws/credentials",
    "app/netrc.py",
    "home/app/.ssh/id_ed25519.pub",
]
BY_CONTENT = [
    ("root/.npmrc", b"//registry.npmjs.org/:_authToken=abc"),
    ("usr/etc/npmrc", b"_password=abc"),
    ("app/.yarnrc.yml", b"npmAuthToken: abc"),
    ("root/.pypirc", b"[pypi]\npassword = abc"),
    ("etc/pip.conf", b"index-url = https://u:p@host/simple"),
    ("root/.docker/config.json", b'{"auths": {"r": {"auth": "abc"}}}'),
    ("root/.kube/config", b"users:\n- user:\n    token: abc"),
    ("app/.git/config", b"url = https://u:p@github.com/a/b"),
    ("app/.env", b"MODE=1\nexport DB_PASSWORD='abc'"),
    ("app/.env.production", b"API_KEY=abc"),
    ("any/file", KEY),
    ("any/file", b"\n\n-----BEGIN ENCRYPTED PRIVATE KEY-----"),
    ("any/file", b"key: " + ACCESS_KEY),
    ("any/file", b"token " + TOKEN),
]
NOT_BY_CONTENT = [
    ("root/.npmrc", b"registry=https://registry.npmjs.org/"),
    ("root/.npmrc", b"//registry.npmjs.org/:_authToken=${NPM_TOKEN}"),
    ("root/.docker/config.json", b'{"credsStore": "ecr-login"}'),
    ("etc/pip.conf", b"index-url = https://host/simple"),
    ("app/.env", b"MODE=1\nDB_PASSWORD=\nTOKEN_FILE=/run/t\n# API_KEY=abc"),
    ("app/.environment", b"API_KEY=abc"),
    ("any/file.py", b'PEM = "-----BEGIN RSA PRIVATE KEY-----"'),
    ("any/file", b"-----BEGIN PUBLIC KEY-----"),
    ("any/file", b"AKIAIOSFODNN7EXAMPLE"),
    ("any/docs", b"postgres://user:password@host and eyJhbGciOiJub25l.eyJhIjoxfQ.x"),
]


@pytest.mark.parametrize("path", BY_NAME)
def test_a_file_that_is_for_secrets_is_told_by_its_name(path: str) -> None:
    assert by_name(path)


@pytest.mark.parametrize("path", NOT_BY_NAME)
def test_a_file_beside_them_is_not(path: str) -> None:
    assert by_name(path) == ""


@pytest.mark.parametrize(("path", "content"), BY_CONTENT)
def test_a_file_with_a_secret_in_it_is_told_and_the_secret_not_shown(path: str, content: bytes) -> None:
    kind = by_content(path, content)
    assert kind
    assert not any(secret in kind for secret in ("abc", TOKEN.decode(), ACCESS_KEY.decode()))


@pytest.mark.parametrize(("path", "content"), NOT_BY_CONTENT)
def test_a_file_without_one_is_not(path: str, content: bytes) -> None:
    assert by_content(path, content) == ""


def test_a_repository_is_told_by_its_head() -> None:
    assert is_repository("app/.git/HEAD")
    assert not is_repository("app/.github/HEAD.md")
