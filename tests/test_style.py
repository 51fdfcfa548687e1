"""Linting, formatting and types are tests like any other."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
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


# -- wide excepts

WIDE = {"Exception", "BaseException"}
MAYBE = re.compile(r"(except|suppress\().*\b(Base)?Exception\b|except:")
"""Which files are worth parsing."""


def unexplained(source: str) -> Iterator[int]:
    """Yield the line of each handler that takes any exception, raises none, and does not say why."""
    lines = source.splitlines()
    for node in ast.walk(ast.parse(source)) if MAYBE.search(source) else ():
        if isinstance(node, ast.ExceptHandler):
            wide = node.type is None or WIDE & {one.id for one in ast.walk(node.type) if isinstance(one, ast.Name)}
            raises = any(isinstance(one, ast.Raise) for one in ast.walk(node))
            beside = lines[node.lineno - 1 : node.body[0].lineno]
        elif isinstance(node, ast.With):
            wide = re.search(r"suppress\((Base)?Exception\b", lines[node.lineno - 1])
            raises, beside = False, lines[node.lineno - 1 : node.body[0].lineno]
        else:
            continue
        if wide and not raises and not any("# " in line for line in beside):
            yield node.lineno


def test_a_handler_of_any_exception_raises_it_or_says_why_not() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for directory in ("sidecar", "tests", "bench", "docs", "image")
        for path in sorted((ROOT / directory).rglob("*.py"))
        for number in unexplained(path.read_text())
    ]
    assert found == []


@pytest.mark.parametrize(
    ("handler", "lines"),
    [
        ("except Exception:\n    pass", [3]),
        ("except:\n    pass", [3]),
        ("except (OSError, BaseException) as exc:\n    kept = exc", [3]),
        ("except BaseException:\n    close()\n    raise", []),
        ("except Exception as exc:\n    raise Fault from exc", []),
        ("except Exception:  # the outermost edge\n    pass", []),
        ("except Exception:\n    # the outermost edge\n    pass", []),
        ("except OSError:\n    pass", []),
        ("except OSError:\n    with suppress(Exception):\n        close()", [4]),
    ],
)
def test_a_handler_without_a_reason_is_found(handler: str, lines: list[int]) -> None:
    assert list(unexplained(f"try:\n    work()\n{handler}\n")) == lines
