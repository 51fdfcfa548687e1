"""The picture of the demo is well formed, fetches nothing, and shows the acts that the demo prints."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

from sidecar.cli import demo

PICTURE = Path(__file__).parent.parent / "docs" / "images" / "demo.svg"


def shown() -> str:
    """The picture's text, without what separates its pieces."""
    return re.sub(r"\s+", "", "".join(ElementTree.fromstring(PICTURE.read_text()).itertext()))


def test_the_picture_shows_each_act_of_the_demo() -> None:
    for act in demo.HEADINGS:
        assert re.sub(r"\s+", "", act.split(":")[0]) in shown()


def test_the_picture_fetches_nothing() -> None:
    text = PICTURE.read_text()
    assert not re.search(r"url\(['\"]?https?:|href=['\"]https?:|@import", text)
    assert not re.search(r"(?<![\w.])/(home|root|Users)/", text)
