"""A command that counts refuses a number that counts nothing: a campaign of nothing would pass."""

from __future__ import annotations

import argparse
import ast
import importlib
from pathlib import Path

import pytest

from bench.arguments import positive_integer, positive_number

ROOT = Path(__file__).parent.parent
COUNTS = {
    "crashes": ("--kills", "--stories", "--minutes"),
    "damage": ("--files",),
    "fleet": ("--seeds",),
    "fuzz": ("--executions", "--seconds"),
    "power": ("--cuts", "--each", "--pushes"),
    "simulation": ("--jobs", "--years"),
}
"""Package of tests that is a command → its options that count something."""
OTHERS = {"--seed", "--port", "--latency-ms"}
"""Numbers that count nothing, so that 0 is one like any other."""


@pytest.mark.parametrize("words", ["0", "-3", "x"])
@pytest.mark.parametrize(("command", "option"), [(name, one) for name, options in COUNTS.items() for one in options])
def test_a_number_that_counts_nothing_is_refused(
    command: str, option: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        importlib.import_module(f"tests.{command}.__main__").main([option, words])
    assert ended.value.code == 2
    complaint = capsys.readouterr().err
    assert option in complaint
    assert words in complaint


@pytest.mark.parametrize("words", ["0", "-1", "0.5", "x", ""])
def test_what_is_no_count_is_refused(words: str) -> None:
    with pytest.raises((argparse.ArgumentTypeError, ValueError)):
        positive_integer(words)


@pytest.mark.parametrize("words", ["0", "-0.1", "nan", "inf", "x", ""])
def test_what_is_no_time_is_refused(words: str) -> None:
    with pytest.raises((argparse.ArgumentTypeError, ValueError)):
        positive_number(words)


def test_what_counts_something_is_taken() -> None:
    assert (positive_integer("1"), positive_integer("10")) == (1, 10)
    assert (positive_number("0.5"), positive_number("3")) == (0.5, 3.0)


def unbounded(source: str) -> set[str]:
    """Return the options of a script that take any number."""
    return {
        str(call.args[0].value)
        for call in ast.walk(ast.parse(source))
        if isinstance(call, ast.Call) and call.args and isinstance(call.args[0], ast.Constant)
        for given in call.keywords
        if given.arg == "type" and isinstance(given.value, ast.Name) and given.value.id in ("int", "float")
    }


def test_no_other_option_takes_every_number() -> None:
    scripts = [*ROOT.glob("bench/*.py"), *ROOT.glob("tests/*/*.py")]
    assert set().union(*(unbounded(script.read_text()) for script in scripts)) <= OTHERS
    assert unbounded('parser.add_argument("--rounds", nargs="?", type=int)') == {"--rounds"}
