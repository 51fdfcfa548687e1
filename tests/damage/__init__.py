"""Ledgers with one damaged byte: `python -m tests.damage`."""
