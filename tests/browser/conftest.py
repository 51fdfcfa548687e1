"""One browser and one set of signing keys for all of these tests; without a browser they are skipped, and say why."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from sidecar.emulator.keys import SigningKeys
from tests.browser import chromium
from tests.browser.scenes import Scene, scene

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    if reason := chromium.missing():
        pytest.skip(reason)
    with chromium.browser() as started:
        yield started


@pytest.fixture(scope="session")
def keys() -> SigningKeys:
    return SigningKeys((1,))


@pytest.fixture(scope="session")
def scenes(
    browser: Browser, keys: SigningKeys, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Scene]]:
    """Return a running scene by its name; each is started once, and never changed by a test."""
    with ExitStack() as stack:
        running: dict[str, Scene] = {}

        def found(name: str) -> Scene:
            if name not in running:
                running[name] = stack.enter_context(scene(name, tmp_path_factory.mktemp(name), keys))
            return running[name]

        yield found


@pytest.fixture
def own(browser: Browser, keys: SigningKeys, tmp_path: Path) -> Iterator[Callable[..., Scene]]:
    """Return a scene that a test may change or end."""
    with ExitStack() as stack:
        yield lambda name, **more: stack.enter_context(scene(name, tmp_path, keys, **more))


@pytest.fixture
def tab(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Return an empty tab whose complaints fail the test at its end; `noisy`: the test expects some."""
    with ExitStack() as stack:
        complaints: list[str] = []

        def opened(noisy: bool = False, **how: Any) -> Page:
            page = stack.enter_context(chromium.page(browser, **how))
            if not noisy:
                page.on("console", lambda one: complaints.append(f"{one.type}: {one.text}"))
                page.on("pageerror", lambda one: complaints.append(f"error: {one}"))
            return page

        yield opened
        assert complaints == []
