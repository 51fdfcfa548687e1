"""The page: one file, nothing fetched, nothing run, everything escaped."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any

import pytest

from sidecar.audit.input_files import Reading
from sidecar.audit.outcome import OURS, Outcome
from sidecar.audit.page import HASH, MADE_BY, STYLE, page
from sidecar.audit.rows import Kind, Source, hour_difference
from tests.unit.audit.support import MICROS, billed, ours

NOW = datetime(2025, 11, 25, tzinfo=UTC)
EVIL = '<script>alert("1")</script>\x1b[31m'


class Tags(HTMLParser):
    """Collects elements and text of a page, and checks that they are closed in order."""

    VOID = ("meta", "rect", "line", "!doctype")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def made(dimension: str = "requests", note: str = "") -> str:
    outcome = Outcome(compared=(Source.CLOUDTRAIL,), readings={"exports": Reading(notes=[note] if note else [])})
    outcome.add(OURS, [ours("a", 4, dimension=dimension)])
    outcome.add("cloudtrail", [billed("a", 6, dimension=dimension)])
    found = hour_difference(
        Kind.OTHER_QUANTITY, billed("a", dimension=dimension), note, ours=4 * MICROS, billed=6 * MICROS
    )
    outcome.count([found])
    return page(outcome, [found.as_json()], NOW)


def test_the_page_is_well_formed_and_has_the_numbers() -> None:
    tags = Tags(made())
    assert tags.open == []
    for words in ("Different: used and billed", "other_quantity", "requests", "4", "6"):
        assert words in tags.text


def test_the_policy_allows_the_style_sheet_alone() -> None:
    tags = Tags(made())
    (policy,) = (attrs["content"] for tag, attrs in tags.seen if attrs.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert f"<style>{STYLE}</style>" in made()
    assert HASH in policy


def test_nothing_is_fetched_or_run() -> None:
    tags = Tags(made())
    assert not {"script", "link", "img", "iframe", "a"} & {tag for tag, _ in tags.seen}
    for _, attrs in tags.seen:
        assert not {"style", "src", "href"} & set(attrs)
        assert not any(name.startswith("on") for name in attrs)
    assert "url(" not in STYLE
    assert "@import" not in STYLE


def test_text_of_files_is_escaped_and_has_no_controls() -> None:
    text = made(dimension=EVIL, note=EVIL)
    assert "script" not in {tag for tag, _ in Tags(text).seen}
    assert "\x1b" not in text


def test_a_drawing_has_a_name_and_each_bar_its_value() -> None:
    text = made()
    tags = Tags(text)
    (drawing,) = (attrs for tag, attrs in tags.seen if tag == "svg")
    assert drawing["role"] == "img"
    assert "requests" in str(drawing["aria-label"])
    assert re.findall(r"<title>(2025-11-24, \w+: \d)</title>", text) == [
        "2025-11-24, ours: 4",
        "2025-11-24, cloudtrail: 6",
    ]


def test_light_and_dark_are_both_there() -> None:
    assert "prefers-color-scheme:dark" in STYLE
    assert "color-scheme:light dark" in STYLE


def test_a_page_without_differences_says_so() -> None:
    text = page(Outcome(compared=(Source.CLOUDTRAIL,)), [], NOW)
    assert "Equal: used and billed" in text
    assert "<p>None.</p>" in text
    assert text.startswith(MADE_BY)


@pytest.mark.parametrize("listed", [0, 2])
def test_differences_that_are_left_out_are_counted(listed: int) -> None:
    outcome = Outcome(compared=(Source.CLOUDTRAIL,))
    found = [hour_difference(Kind.NOT_BILLED, ours(str(number)), ours=1) for number in range(5)]
    outcome.count(found)
    shown: list[dict[str, Any]] = [one.as_json() for one in found[:listed]]
    assert f"{5 - listed} more are not on this page" in page(outcome, shown, NOW)
