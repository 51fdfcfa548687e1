"""The page is one file that runs nothing but its own script, and it shows whatever is known."""

from __future__ import annotations

import base64
import hashlib
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
import reference_tables

from sidecar.api.page import document
from sidecar.entitlement.status import Status
from sidecar.errors import SidecarError
from sidecar.metering.states import State
from tests.fakes.usage import FakeUsage
from tests.fakes.view import FakeView
from tests.unit.api.page.samples import gate, get, licenses, metering, record, status, view

ROOT = Path(__file__).parents[4]
HOSTILE = "</script><script>alert(1)</script>\"'><img src=x onerror=alert(1)>‮"


class Elements(HTMLParser):
    """Every element with its attributes, and the text of those that hold raw text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str]]] = []
        self.raw: dict[str, str] = {}
        self._open = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, {name: value or "" for name, value in attrs}))
        self._open = tag if tag in ("style", "script") else ""

    def handle_endtag(self, tag: str) -> None:
        self._open = ""

    def handle_data(self, data: str) -> None:
        if self._open:
            self.raw[self._open] = self.raw.get(self._open, "") + data

    def attributes(self) -> Iterator[tuple[str, str, str]]:
        yield from ((tag, name, value) for tag, attrs in self.found for name, value in attrs.items())


def full() -> FakeView:
    """Return a view in which every part of the page has something to show."""
    every = [record(hours, state, last_error="X") for hours, state in enumerate(State)]
    held = [{"aws_error": "X", "reason": "r", "hint": "Use `this`.", "oldest_hour": "2026-01-02T11:00:00.000Z"}]
    found = gate("denied", "customer_not_entitled", "Subscribe.") | {"metering": metering(held=held)}
    return view(found, *every, setting_rows=[("SIDECAR_A", "a", "file"), ("SIDECAR_B", "b", "default")])


def policy() -> dict[str, str]:
    text = document.headers()["Content-Security-Policy"]
    return dict(one.split(" ", 1) for one in text.split("; "))


# -- what the browser is told


def test_the_policy_allows_this_style_and_this_script_and_no_other() -> None:
    page = Elements(get(full()).text)
    for directive, tag in (("style-src", "style"), ("script-src", "script")):
        digest = base64.b64encode(hashlib.sha256(page.raw[tag].encode()).digest()).decode()
        assert policy()[directive] == f"'sha256-{digest}'"
        assert [one for one, _ in page.found].count(tag) == 1


def test_the_policy_allows_nothing_else() -> None:
    rest = {name: value for name, value in policy().items() if name not in ("style-src", "script-src")}
    assert rest == {
        "default-src": "'none'",
        "img-src": "data:",
        "connect-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    assert "unsafe" not in document.headers()["Content-Security-Policy"]


def test_no_cache_keeps_it_and_no_other_site_learns_of_it() -> None:
    found = get(full())
    assert found.content_type == "text/html; charset=utf-8"
    assert found.headers["Cache-Control"] == "no-store"
    assert found.headers["Referrer-Policy"] == "no-referrer"
    assert found.headers["X-Content-Type-Options"] == "nosniff"


def test_nothing_is_fetched_from_elsewhere_and_nothing_can_be_sent() -> None:
    page = Elements(get(full()).text)
    for tag, name, value in page.attributes():
        assert name not in ("src", "srcset", "action", "style", "background"), (tag, name)
        assert not name.startswith("on"), (tag, name)
        if name == "href":
            assert value.startswith(("#", "/", "data:image/svg+xml,")), value
            assert not value.startswith("//")
    assert not {"form", "input", "button", "iframe", "object", "base"} & {tag for tag, _ in page.found}
    assert not re.search(r"@import|url\((?!\"#)", page.raw["style"])
    assert not re.search(r"https?://|innerHTML\s*=|eval\(|import\(|method:", page.raw["script"])


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_a_page_is_only_read(method: str) -> None:
    from werkzeug.test import Client

    from sidecar.api.flask_app import application

    found = Client(application(full())).open("/", method=method)
    assert (found.status_code, found.get_json(force=True)["reason"]) == (405, "method_not_allowed")


# -- what others wrote


def test_hostile_text_stays_text_wherever_it_comes_from() -> None:
    found = gate("misconfigured", HOSTILE, HOSTILE, aws_error=HOSTILE, aws_request_id=HOSTILE)
    found |= {
        "workload": {"id": HOSTILE, "kind": "pod", "pod": HOSTILE, "namespace": HOSTILE, HOSTILE: HOSTILE},
        "metering": metering(hint=HOSTILE, quantities={HOSTILE: {"accepted": "1", "settled": "1", "waiting": "0"}}),
        "history": [{"at": "2026-01-01T09:00:00Z", "status": "pending", "reason": HOSTILE}],
    }
    row = record(1, State.REJECTED, dimension=HOSTILE, last_error=HOSTILE, record_id=HOSTILE)
    text = get(view(found, row, setting_rows=[(HOSTILE, HOSTILE, HOSTILE)])).text
    page = Elements(text)
    assert [tag for tag, _ in page.found if tag in ("script", "img")] == ["script"]
    assert not [name for _, name, _ in page.attributes() if name.startswith("on")]
    assert "alert(1)" not in page.raw["script"]
    assert "‮" not in text


# -- what is shown


@pytest.mark.parametrize("word", [one.value for one in Status])
def test_every_status_says_its_reason_and_its_hint_first(word: str) -> None:
    text = get(view(gate(word, "some_reason", "Do `this` now."))).text
    main = text[text.index("<main") :]
    assert main.index("some_reason") < main.index("Do <code>this</code> now.") < main.index('id="actions"')
    assert f"<title>{word.capitalize()} (some_reason)" in text


def test_every_state_of_an_hour_stands_in_chart_legend_and_table() -> None:
    text = get(full()).text
    for state in State:
        assert text.count(f'class="bar {state.value}"') == 2, state
        assert f'<span class="state {state.value}">{state.value.replace("_", " ")}</span>' in text


def test_a_sidecar_that_knows_nothing_yet_has_a_page() -> None:
    found = gate("pending", "asking", "Wait.", checked_at=None)
    found |= {"workload": {"id": None, "kind": None}, "history": []}
    found["aws"] = dict.fromkeys(found["aws"])
    known = view(found)
    known.usage = FakeUsage(dimensions={})
    text = get(known).text
    assert "The commands run in the sidecar" not in text
    assert "Nothing is metered: no dimension is set." in text


def test_a_contract_is_shown_with_its_end_and_its_seats() -> None:
    seat = licenses()["seats"][0]
    lost = seat | {"lost_at": "2026-01-02T12:40:00.000Z", "fault": {"reason": "throttled", "hint": "Wait."}}
    text = get(view(status(licenses=licenses(seats=[seat | {"name": "others"}, lost])))).text
    assert "prod-4kq7example2x" in text
    assert "2026-12-31" in text
    assert "seats: lost since" in text
    assert "throttled" in text


def test_a_product_without_a_contract_shows_none() -> None:
    assert "Contract ends" not in get(view(status())).text


def test_records_that_cannot_be_read_leave_the_rest_of_the_page() -> None:
    broken = view(status(metering=metering()))
    broken.usage = BrokenRecords()
    text = get(broken).text
    assert text.count("Records cannot be read now") == 3
    assert "ledger_read_only" in text
    assert "registered" in text


class BrokenRecords(FakeUsage):
    def recent_records(self, since: object) -> list[object]:  # type: ignore[override]
        raise SidecarError("ledger_read_only", "Remount it.")


def test_many_dimensions_are_counted_and_not_all_drawn() -> None:
    many = [record(1, State.SETTLED, dimension=f"d{number}") for number in range(document.CHARTS_MAX + 4)]
    text = get(view(status(metering=metering()), *many)).text
    assert text.count('class="dimension"') == document.CHARTS_MAX
    assert "5 more dimensions are not drawn" in text  # `requests` is configured besides


@pytest.mark.parametrize(("query", "reloads"), [("", False), ("?refresh=on", True), ("?refresh=1;url=//x", False)])
def test_a_page_without_script_reloads_where_it_is_asked_to(query: str, reloads: bool) -> None:
    assert ('<noscript><meta http-equiv="refresh" content="15"></noscript>' in get(full(), f"/{query}").text) is reloads


@pytest.mark.slow
def test_the_sample_document_has_the_fields_of_the_real_one() -> None:
    """Otherwise these tests would show a page of another document."""
    pod = {"condition": None, "reachable": True, "refused": []}
    sample = status(licenses=licenses(), metering=metering(), kubernetes=pod)
    names = {name for name in reference_tables.status_names() if "*" not in name}
    for name in names:
        at: object = sample
        for part in name.split("."):
            assert isinstance(at, dict)
            assert part in at, name
            at = at[part]


def test_the_page_is_imported_at_the_first_request_for_it() -> None:
    program = """
import sys
import sidecar.app.wiring
from sidecar.api import probes
from sidecar.api.reply import API
from tests.fakes.view import FakeView
from sidecar.api.router import Router
from tests.unit.api.support import RouterReply
for path in probes.ROUTES:
    RouterReply(Router(FakeView()), path)
def loaded(*names):
    return [name for name in sys.modules if name.startswith(names)]
assert not loaded("sidecar.api.page", "jinja2", "sidecar.settings.describe")
assert RouterReply(Router(FakeView()), "/v1/status", listener=API).status == 200
assert not loaded("sidecar.api.page", "sidecar.settings.describe")
"""
    ended = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stderr
