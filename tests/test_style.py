"""Linting, formatting and types are tests like any other."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CHECKS = {
    "ruff check": ["ruff", "check", "."],
    "ruff format": ["ruff", "format", "--check", "."],
}
SLOW_CHECKS = {
    "mypy --strict": ["mypy", "--strict"],
    "mypy --strict, docs": ["mypy", "--strict", "docs/generate.py"],
}


@pytest.mark.parametrize("check", [*CHECKS, *(pytest.param(check, marks=pytest.mark.slow) for check in SLOW_CHECKS)])
def test_the_tree_passes(check: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *(CHECKS | SLOW_CHECKS)[check]],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_mypy_would_refuse_an_untyped_function(tmp_path: Path) -> None:
    (tmp_path / "wrong.py").write_text("def f(x):\n    return x\n")
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--config-file",
        ROOT / "pyproject.toml",
        tmp_path / "wrong.py",
    ]
    assert subprocess.run(command, cwd=ROOT, capture_output=True, timeout=600, check=False).returncode == 1
