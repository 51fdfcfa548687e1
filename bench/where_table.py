"""Prints what `where.py` found as Markdown tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

KIB, MS = 1024, 1e6
ROWS = 24
"""What a table shows, dearest first; the others are one row."""


def table(title: str, head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    print(f"\n### {title}\n")
    print("| " + " | ".join(head) + " |")
    print("| " + " | ".join("---" for _ in head) + " |")
    for row in rows:
        print("| " + " | ".join(str(cell) for cell in row) + " |")
