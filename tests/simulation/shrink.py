"""Shorten a failing list of steps to the fewest that still fail: delta debugging.

Invariants:
- What is returned fails; taking any one step out of it makes it pass.

Sources: Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing Input" (2002), ddmin.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")


def shrink(items: Sequence[T], fails: Callable[[Sequence[T]], bool]) -> list[T]:
    """Return a shortest list of these items, in their order, for which `fails` still says True."""
    found, pieces = list(items), 2
    while len(found) >= 2:
        size = -(-len(found) // pieces)
        for start in range(0, len(found), size):
            without = found[:start] + found[start + size :]
            if without and fails(without):
                found, pieces = without, max(pieces - 1, 2)
                break
        else:
            if size == 1:
                break
            pieces = min(pieces * 2, len(found))
    return found
