"""The package as the image for production has it: without the emulator and the demo."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import prune
import pytest

import sidecar

pytestmark = pytest.mark.slow  # each starts processes

PACKAGE = Path(sidecar.__file__).parent


@pytest.fixture
def production(tmp_path: Path) -> Path:
    shutil.copytree(PACKAGE, tmp_path / "sidecar", ignore=shutil.ignore_patterns("__pycache__"))
    prune.remove(tmp_path / name for name in prune.EMULATOR)
    return tmp_path


def command(where: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sidecar", *words], cwd=where, capture_output=True, text=True, timeout=60, check=False
    )


def test_help_lists_what_is_there_and_says_what_is_not(production: Path) -> None:
    said = command(production, "--help")
    assert said.returncode == 0, said.stderr
    commands = said.stdout.split("COMMAND\n")[1].split("\n\n")[0]
    assert "healthcheck" in commands
    assert "emulator" not in commands
    assert "demo" not in commands
    assert "image for tests" in said.stdout


def test_the_whole_package_offers_the_demo() -> None:
    assert "entitlement-sidecar demo" in command(PACKAGE.parent, "--help").stdout


@pytest.mark.parametrize("missing", ["emulator", "demo"])
def test_what_is_not_there_is_refused_as_no_command(production: Path, missing: str) -> None:
    said = command(production, missing)
    assert said.returncode == 2
    assert "invalid choice" in said.stderr


def test_every_other_module_can_be_imported(production: Path) -> None:
    walk = (
        "import importlib, pkgutil, sidecar\n"
        "names = [m.name for m in pkgutil.walk_packages(sidecar.__path__, 'sidecar.')]\n"
        "migrations = [n for n in names if '.migrations.' in n]  # Alembic runs them\n"
        "[importlib.import_module(n) for n in names if n not in ('sidecar.__main__', *migrations)]\n"
        "print(sidecar.__file__, len(names))"
    )
    said = subprocess.run(
        [sys.executable, "-c", walk], cwd=production, capture_output=True, text=True, timeout=60, check=False
    )
    assert said.returncode == 0, said.stderr
    assert said.stdout.startswith(str(production))
