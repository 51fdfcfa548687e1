"""Start Debian's Chromium under Playwright, and say why where that cannot be."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

FLAGS = (
    "--no-sandbox",  # as root, in a container
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PHONE = {"width": 390, "height": 844}
DESKTOP = {"width": 1280, "height": 860}


def path() -> str | None:
    """Return the browser's program: SIDECAR_CHROMIUM, or what the PATH has."""
    return os.environ.get("SIDECAR_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")


def missing() -> str | None:
    """Return what is not here, or None."""
    if importlib.util.find_spec("playwright") is None or importlib.util.find_spec("axe_playwright_python") is None:
        return "no Playwright here: uv sync --group browser"
    return None if path() else "no Chromium here: apt-get install chromium, or name one in SIDECAR_CHROMIUM"


@contextmanager
def browser() -> Iterator[Browser]:
    """Run a headless Chromium."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path(), args=list(FLAGS))
        try:
            yield started
        finally:
            started.close()


@contextmanager
def page(
    of: Browser, *, dark: bool = False, phone: bool = False, script: bool = True, tall: int = 0, **more: Any
) -> Iterator[Page]:
    """Open an empty tab. `tall`: its height in pixels."""
    size = PHONE if phone else DESKTOP
    context = of.new_context(
        viewport={**size, "height": tall or size["height"]},  # type: ignore[arg-type]
        color_scheme="dark" if dark else "light",
        java_script_enabled=script,
        reduced_motion="reduce",
        **more,
    )
    try:
        yield context.new_page()
    finally:
        context.close()
