"""Numbers of a command line that must count something, for benchmarks and for `python -m tests.…`.

A campaign of nothing passes, and a benchmark of nothing divides by it: both are refused with the option's name.
"""

from __future__ import annotations

import argparse
import math


def positive_integer(text: str) -> int:
    """1 or more."""
    try:
        number = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number.") from None
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not 1 or more.")
    return number


def positive_number(text: str) -> float:
    """A time, in whatever unit the option has: above 0, and finite."""
    if not 0 < float(text) < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not above 0.")
    return float(text)
