"""Render the page, and the headers that keep it to itself.

Invariants:
- Everything that others wrote is escaped, and characters that do not print are shown as escapes.
- The page fetches nothing but itself. Its one style and its one script are allowed by their digests, so that text that
  is taken for markup all the same could still run nothing.
- The page only reads.

Sources: Content Security Policy Level 3 (W3C), sections 2.3.1 and 6.1; HTML Living Standard.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from sidecar.api.page import chart, facts, findings
from sidecar.api.page.commands import outside
from sidecar.api.page.records import RecentRecords, RecordReader
from sidecar.api.ports import StatusPort
from sidecar.metering.decide import why_it_waits
from sidecar.metering.quantities import plain
from sidecar.printable import printable

HERE: Final = Path(__file__).parent
CHARTS_MAX: Final = 24
WAITING_MAX: Final = 100
"""A page of this size is still read by a person; `usage` lists everything."""
REFRESH_SECONDS: Final = 15
NOTHING: Final = Markup('<span class="none">none</span>')


def render(view: StatusPort, reader: RecordReader, refresh: bool = False) -> str:
    """Return the page. `refresh`: whether it reloads itself where scripts are off."""
    now = view.usage.now()
    recent = reader.read(chart.first_hour(now))
    return _environment().get_template("page.html").render(_model(view, recent, now), refresh=refresh)


@cache
def headers() -> Mapping[str, str]:
    """Return the headers of the page."""
    policy = {
        "default-src": "'none'",
        "style-src": _digest(_asset("page.css")),
        "script-src": _digest(_asset("page.js")),
        "img-src": "data:",
        "connect-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    return {
        "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in policy.items()),
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Cache-Control": "no-store",
    }


def _model(view: StatusPort, recent: RecentRecords, now: datetime) -> dict[str, Any]:
    status: Mapping[str, Any] = view.status()
    drawn = chart.charts(view.usage.dimensions, recent.records, now)
    waiting = findings.still_waiting(recent.records)
    return {
        "now": now,
        "status": status,
        "gate": status["entitlement"],
        "retry_after": view.retry_after_seconds(),
        "gate_commands": findings.gate_commands(status),
        "findings": findings.findings(status, recent, view.usage.orphans(), now=now),
        "outside": outside(status["workload"]),
        "recent": recent,
        "charts": drawn[:CHARTS_MAX],
        "charts_left": len(drawn) - CHARTS_MAX,
        "legend": chart.states_in(drawn[:CHARTS_MAX]),
        "waiting": waiting[:WAITING_MAX],
        "waiting_left": len(waiting) - WAITING_MAX,
        "for_a_person": findings.FOR_A_PERSON,
        "history": list(reversed(status["history"])),
        "facts": facts.groups(status),
        "settings": view.settings(),
    }


@cache
def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"instant": instant, "ago": ago, "plain": plain, "words": _words, "prose": prose}
    made.globals |= {"chart": chart, "why_it_waits": why_it_waits, "refresh_seconds": REFRESH_SECONDS}
    made.globals |= {"style": Markup(_asset("page.css")), "script": Markup(_asset("page.js"))}
    made.globals["build"] = hashlib.sha256((_asset("page.css") + _asset("page.js")).encode()).hexdigest()[:12]
    return made


def instant(value: object) -> Markup:
    """Return an instant, or the text of one, in UTC to the second."""
    if not value:
        return NOTHING
    at = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    at = at.astimezone(UTC)
    return Markup('<time datetime="{}">{} UTC</time>').format(f"{at:%Y-%m-%dT%H:%M:%SZ}", f"{at:%Y-%m-%d %H:%M:%S}")


def ago(value: object, now: datetime) -> str:
    """Return how long ago an instant was, in one unit; it changes once a minute at most."""
    at = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    minutes = int((now - at).total_seconds() // 60)
    if minutes < 1:
        return "just now"
    if minutes < 120:
        return f"{minutes} min ago"
    return f"{minutes // 60} h ago" if minutes < 48 * 60 else f"{minutes // (24 * 60)} days ago"


def prose(text: object) -> Markup:
    """Return a hint with its `code` marked up."""
    parts = str(text or "").split("`")
    marked = (
        Markup("<code>{}</code>").format(printable(part)) if at % 2 else escape(printable(part))
        for at, part in enumerate(parts)
    )
    return Markup().join(marked)


def _words(name: object) -> str:
    return str(name).replace("_", " ")


def _shown(value: object) -> object:
    """Return what the template prints for a value."""
    if isinstance(value, Markup):
        return value
    if value is None or value == "":
        return NOTHING
    return escape(printable(str(value)))


@cache
def _asset(name: str) -> str:
    return (HERE / name).read_text("utf-8")


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
