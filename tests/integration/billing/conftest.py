"""Fixtures of the tests on a real ledger."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.log import Events, logged_events
from tests.integration.billing.support import MakeScene, MakeStory, Scene, Story


@pytest.fixture
def make_story(tmp_path: Path, events: Events) -> Iterator[MakeStory]:
    stories: list[Story] = []

    def make(**more: str) -> Story:
        stories.append(Story(tmp_path, **more))
        return stories[-1]

    yield make
    for story in stories:
        if story.loop.ledger:
            story.loop.ledger.close()


@pytest.fixture
def events() -> Iterator[Events]:
    with logged_events() as logged:
        yield logged


@pytest.fixture
def make_scene(tmp_path: Path, events: Events) -> Iterator[MakeScene]:
    scenes: list[Scene] = []

    def make(**more: str) -> Scene:
        scenes.append(Scene(tmp_path, **more))
        return scenes[-1]

    yield make
    for one in scenes:
        if one.service.loop.ledger:
            one.service.loop.ledger.close()
