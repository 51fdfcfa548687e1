"""Take the pictures of the status page that the documentation shows: python -m tests.browser.screenshots [DIRECTORY]

Invariants:
- What is pictured is what a real sidecar served beside a real emulator.
- A picture has few colours, so that it stays small.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

from sidecar.emulator.keys import SigningKeys
from tests.browser import chromium
from tests.browser.scenes import SCENES, scene

IMAGES = Path(__file__).parents[2] / "docs" / "images"
BYTES_MAX = 120_000
COLOURS = 48
SHOTS: dict[str, dict[str, dict[str, Any]]] = {
    "entitled": {"entitled": {"tall": 1040}},
    "disputed": {
        "disputed": {"tall": 1240},
        "disputed-dark": {"dark": True, "tall": 1240},
        "disputed-phone": {"phone": True, "tall": 1500},
    },
    "denied": {"denied": {"tall": 720}},
    "misconfigured": {"misconfigured": {"tall": 720}},
}
"""Scene → picture → how it is looked at."""


def take(directory: Path) -> None:
    """Write every picture."""
    keys = SigningKeys((1,))
    with chromium.browser() as browser:
        for name in SCENES:
            with tempfile.TemporaryDirectory() as state, scene(name, Path(state), keys) as found:
                for shot, how in SHOTS[name].items():
                    with chromium.page(browser, **how) as page:
                        page.goto(found.url)
                        target = directory / f"status-page-{shot}.png"
                        page.screenshot(path=target, animations="disabled")
                        shrink(target)


def shrink(picture: Path) -> None:
    """Give a picture a palette. Raises SystemExit where it is too large for the repository all the same."""
    from PIL import Image

    with Image.open(picture) as image:
        image.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(picture, optimize=True)
    size = picture.stat().st_size
    print(f"{picture}: {size} bytes")
    if size > BYTES_MAX:
        raise SystemExit(f"{picture} has {size} bytes; at most {BYTES_MAX} go into the repository")


if __name__ == "__main__":
    if reason := chromium.missing():
        raise SystemExit(reason)
    take(Path(sys.argv[1]) if len(sys.argv) > 1 else IMAGES)
