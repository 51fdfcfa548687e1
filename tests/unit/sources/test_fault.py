"""The how-to names every reason."""

from __future__ import annotations

from pathlib import Path

from sidecar.sources.fault import MEANINGS

PAGE = Path(__file__).parents[3] / "docs" / "howto" / "pull-usage.md"


def test_the_how_to_has_every_reason_and_its_meaning() -> None:
    text = PAGE.read_text()
    assert all(f"| `{reason}` | {meaning} |" in text for reason, meaning in MEANINGS.items())
