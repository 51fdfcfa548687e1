"""The status page in a real Chromium: readable by everyone, quiet, and following what the sidecar says."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from tests.browser.scenes import SCENES, Scene

if TYPE_CHECKING:
    from playwright.sync_api import Page

Scenes = Callable[..., Scene]
Tab = Callable[..., "Page"]
REFRESH_MS = 15_000

LOOKS = {
    "light": {},
    "dark": {"dark": True},
    "phone": {"phone": True},
}


def violations(page: Page) -> list[str]:
    """Return what axe-core finds, each with the elements it is about."""
    from axe_playwright_python.sync_playwright import Axe

    found: Any = Axe().run(page).response["violations"]
    return [f"{one['id']}: {[node['target'] for node in one['nodes']]}" for one in found]


def without_script(text: str) -> str:
    """Return the page as a browser builds it where scripts are off: axe-core itself needs them on."""
    return re.sub(r"</?noscript>", "", re.sub(r"<script>.*?</script>", "", text, flags=re.DOTALL))


def open_everything(page: Page) -> None:
    page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")


# -- read by everyone


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("name", SCENES)
def test_axe_core_finds_nothing(scenes: Scenes, tab: Tab, name: str, look: str) -> None:
    page = tab(**LOOKS[look])
    page.goto(scenes(name).url)
    open_everything(page)
    assert violations(page) == []


@pytest.mark.parametrize("name", SCENES)
def test_axe_core_finds_nothing_without_script(scenes: Scenes, tab: Tab, name: str) -> None:
    page = tab()
    page.route("**/", lambda route: route.fulfill(body=without_script(route.fetch().text()), content_type="text/html"))
    page.goto(scenes(name).url)
    open_everything(page)
    assert page.get_by_role("link", name="Reload it", exact=True).is_visible()
    assert violations(page) == []


@pytest.mark.parametrize("name", SCENES)
@pytest.mark.parametrize("script", [True, False])
def test_state_and_next_step_are_seen_at_once(scenes: Scenes, tab: Tab, name: str, script: bool) -> None:
    page = tab(script=script)
    page.goto(scenes(name).url)
    heading = page.locator("h1")
    assert heading.inner_text().lower().startswith(SCENES[name])
    box = page.locator("#state .hint").bounding_box()
    assert box is not None
    assert box["y"] + box["height"] < 860


@pytest.mark.parametrize("name", SCENES)
def test_no_page_is_wider_than_a_phone(scenes: Scenes, tab: Tab, name: str) -> None:
    page = tab(phone=True)
    page.goto(scenes(name).url)
    open_everything(page)
    assert page.evaluate("document.documentElement.scrollWidth") == 390


def test_the_hours_stand_in_a_table_for_a_screen_reader(scenes: Scenes, tab: Tab) -> None:
    page = tab()
    page.goto(scenes("disputed").url)
    page.get_by_text("Hours of requests as a table").click()
    table = page.get_by_role("table", name="Hours of requests, the newest first")
    assert table.get_by_role("row").count() == 49
    assert table.get_by_role("row").filter(has_text="disputed").count() == 1
    assert page.get_by_role("img", name=re.compile("^requests, .*The table below has each")).count() == 2


def test_a_keyboard_reaches_everything_in_order_and_sees_where_it_is(scenes: Scenes, tab: Tab) -> None:
    page = tab()
    page.goto(scenes("disputed").url)
    reached = []
    for _ in range(60):
        page.keyboard.press("Tab")
        where = page.evaluate(
            "() => { const one = document.activeElement; const style = getComputedStyle(one);"
            " return [one.tagName, one.id, style.outlineStyle, one.getBoundingClientRect().top + scrollY] }"
        )
        if where[0] == "BODY":
            break
        reached.append(where)
    assert reached[0][0] == "A", "the link that skips the header comes first"
    assert {outline for _, _, outline, _ in reached} == {"solid"}
    tops = [top for _, _, _, top in reached[1:]]
    assert tops == sorted(tops), "from the top to the bottom"
    ids = [name for _, name, _, _ in reached]
    assert {"copy-do-1-1", "hours-1-summary", "waiting-scroll", "history-scroll", "defaults-summary"} <= set(ids)


def test_a_table_opens_by_keyboard(scenes: Scenes, tab: Tab) -> None:
    page = tab()
    page.goto(scenes("disputed").url)
    page.focus("#hours-1-summary")
    page.keyboard.press("Enter")
    assert page.locator("#hours-1 table").is_visible()


# -- quiet


@pytest.mark.parametrize("name", SCENES)
def test_it_asks_nobody_but_the_sidecar(scenes: Scenes, tab: Tab, name: str) -> None:
    page, asked = tab(), []
    page.on("request", lambda request: asked.append(request.url))
    found = scenes(name)
    page.clock.install()
    page.goto(found.url)
    with page.expect_response(found.url):
        page.clock.fast_forward(REFRESH_MS)
    assert [url for url in asked if not url.startswith("data:")] == [found.url, found.url]


def test_what_is_smuggled_in_does_not_run(scenes: Scenes, tab: Tab) -> None:
    """The policy holds even where escaping would have failed."""
    page = tab(noisy=True)

    def smuggle(route: Any) -> None:
        answer = route.fetch()
        evil = "<script>window.ran = 1</script><img src=x onerror='window.ran = 2'><p style='color: red' id=red>x</p>"
        route.fulfill(response=answer, body=answer.text().replace("</main>", f"{evil}</main>"))

    page.route("**/", smuggle)
    page.goto(scenes("entitled").url)
    assert page.evaluate("window.ran") is None
    assert page.evaluate("getComputedStyle(document.getElementById('red')).color") != "rgb(255, 0, 0)"


# -- following


def test_it_follows_a_change_by_itself_and_says_it(own: Scenes, tab: Tab) -> None:
    found = own("denied", SIDECAR_REASK_SECONDS="5")
    page = tab()
    page.clock.install()
    page.goto(found.url)
    assert page.locator("h1").inner_text().startswith("Denied")
    found.aws.subscribe()
    page.focus("#history-scroll")
    found.sidecar.shows("entitled", 40)
    page.clock.fast_forward(REFRESH_MS)
    page.locator("main[data-status=entitled]").wait_for()
    assert page.locator("h1").inner_text().startswith("Entitled")
    assert "Entitled, registered" in page.get_by_role("status").inner_text()
    assert page.title().startswith("Entitled")
    assert page.evaluate("document.activeElement.id") == "history-scroll", "the focus stays"


def test_it_keeps_what_a_reader_opened_and_selected(own: Scenes, tab: Tab) -> None:
    found = own("disputed")
    page = tab()
    page.clock.install()
    page.goto(found.url)
    page.get_by_text("Hours of requests as a table").click()
    page.evaluate("scrollTo(0, 700)")
    found.sidecar.command("report", "requests", "5000")
    page.clock.fast_forward(REFRESH_MS)
    page.get_by_role("cell", name="5418").wait_for()
    assert page.locator("#hours-1").get_attribute("open") is not None
    assert page.evaluate("document.activeElement.id") == "hours-1-summary"
    assert page.evaluate("scrollY") == 700


def test_it_says_that_the_sidecar_no_longer_answers_and_that_it_does_again(own: Scenes, tab: Tab) -> None:
    found = own("entitled")
    page = tab(noisy=True)
    page.clock.install()
    page.goto(found.url)
    found.sidecar.told(signal.SIGTERM)
    found.sidecar.ended()
    page.clock.fast_forward(REFRESH_MS)
    banner = page.locator("#offline")
    banner.wait_for(state="visible")
    assert "The sidecar no longer answers (no connection)" in banner.inner_text()
    assert "no longer answers" in page.get_by_role("status").inner_text()
    assert violations(page) == []
    found.sidecar.start()
    found.sidecar.shows("entitled")
    page.clock.fast_forward(REFRESH_MS)
    banner.wait_for(state="hidden")
    assert page.get_by_role("status").inner_text() == "The sidecar answers again."


def test_it_asks_nothing_while_nobody_looks(scenes: Scenes, tab: Tab) -> None:
    found, page, asked = scenes("entitled"), tab(), []
    page.clock.install()
    page.goto(found.url)
    page.evaluate("Object.defineProperty(document, 'hidden', {configurable: true, get: () => true})")
    page.on("request", lambda request: asked.append(request.url))
    page.clock.fast_forward(REFRESH_MS * 4)
    page.evaluate("1")  # a round trip: what would have been asked has been
    assert asked == []
    with page.expect_response(found.url):
        page.evaluate(
            "Object.defineProperty(document, 'hidden', {get: () => false});"
            " document.dispatchEvent(new Event('visibilitychange'))"
        )


def test_a_saved_page_is_readable_and_asks_nobody(scenes: Scenes, tab: Tab, tmp_path: Any) -> None:
    saved = tmp_path / "status.html"
    served = tab()
    saved.write_text(served.request.get(scenes("disputed").url).text())
    page = tab()
    page.clock.install()
    page.goto(saved.as_uri())
    page.clock.fast_forward(REFRESH_MS)
    assert page.locator("#offline").is_hidden()
    assert page.locator("h1").inner_text().startswith("Entitled")


def test_a_command_is_copied_whole(scenes: Scenes, tab: Tab) -> None:
    page = tab(permissions=["clipboard-read", "clipboard-write"])
    page.goto(scenes("denied").url)
    page.get_by_role("button", name="Copy the command: Ask AWS again now").click()
    page.get_by_text("Copied").wait_for()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied == page.locator("#gate-1").inner_text()
    assert copied.endswith("entitlement-sidecar recheck")
