"""Name what the simulation raises where an invariant does not hold."""

from __future__ import annotations


class Violation(BaseException):
    """An invariant does not hold. Nothing in the product handles it: it is no Exception."""
