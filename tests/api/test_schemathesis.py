"""schemathesis asks a real sidecar everything that its description allows and forbids. It runs in the gate: .ci/api."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from sidecar.emulator import Emulator
from tests.acceptance.support import PRODUCT, Sidecar

HERE = Path(__file__).parent
TOOL = Path(sys.executable).with_name("schemathesis")
DIMENSIONS = (
    '["requests", {"name": "gb_hours", "decimals": 3, "tags": ["team"]},'
    ' {"name": "seats", "aggregation": "unique", "scope": "pod"}]'
)
TOKEN = "a-token-of-32-characters-or-more-0001"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which(TOOL) is None, reason="schemathesis is not installed: group `api`"),
]


@contextmanager
def product(directory: Path, **settings: str) -> Iterator[Sidecar]:
    """A sidecar that is entitled and meters one dimension of each kind."""
    with (
        Emulator(product_codes=(PRODUCT,), dimensions=("requests", "gb_hours", "seats")) as aws,
        Sidecar(aws, directory, SIDECAR_DIMENSIONS=DIMENSIONS, **settings) as sidecar,
    ):
        sidecar.shows("entitled")
        yield sidecar


def schemathesis(
    place: Path, document: str, url: str, *arguments: str, **environ: str
) -> subprocess.CompletedProcess[str]:
    """Ask every operation of the document at `url`. `place`: a directory for what the tool writes."""
    command = [str(TOOL), "--config-file", str(HERE / "schemathesis.toml"), "run", document, "--url", url, *arguments]
    env: Mapping[str, str] = {**os.environ, "HOOKS": str(HERE / "hooks.py"), **environ}
    return subprocess.run(command, cwd=place, env=env, capture_output=True, text=True, timeout=300, check=False)


def document() -> str:
    return str(HERE.parents[1] / "docs" / "reference" / "openapi.json")


def test_a_real_sidecar_answers_as_its_description_says(tmp_path: Path) -> None:
    with product(tmp_path) as sidecar:
        url = f"http://127.0.0.1:{sidecar.api_port}"
        done = schemathesis(tmp_path, f"{url}/openapi.json", url)
        assert done.returncode == 0, done.stdout + done.stderr
        assert [one["event"] for one in sidecar.events() if one["level"] == "error"] == []


def test_a_sidecar_with_a_token_refuses_each_request_without_it(tmp_path: Path) -> None:
    token = tmp_path / "api-token"
    token.write_text(TOKEN)
    with product(tmp_path, SIDECAR_API_TOKEN_FILE=str(token)) as sidecar:
        url = f"http://127.0.0.1:{sidecar.api_port}"
        given = ("--phases", "examples,coverage", "--header", f"Authorization: Bearer {TOKEN}")
        done = schemathesis(tmp_path, document(), url, *given, SCHEMATHESIS_TOKEN="1")
        assert done.returncode == 0, done.stdout + done.stderr


def test_a_sidecar_that_is_not_as_described_is_found(tmp_path: Path) -> None:
    """The check itself must be able to fail: a route here is described as another one is."""
    broken = tmp_path / "openapi.json"
    broken.write_text(Path(document()).read_text().replace('"healthy"', '"well"'))
    with product(tmp_path) as sidecar:
        url = f"http://127.0.0.1:{sidecar.api_port}"
        done = schemathesis(tmp_path, str(broken), url, "--include-path", "/healthz", "--phases", "examples,coverage")
        assert done.returncode == 1, done.stdout + done.stderr
        assert "'well' is a required property" in done.stdout or '"well"' in done.stdout
