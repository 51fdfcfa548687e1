"""Write what a comparison came to as one HTML page that needs nothing else.

Invariants:
- Nothing is fetched and nothing runs: the Content-Security-Policy allows one style sheet, by its hash.
- All text that came from a file is escaped.
- The page stays small: the first differences are on it, and it says how many are not.

Sources: CSP Level 3, section 2.3.1 (hash sources); WCAG 2.2 (headings, table headers, contrast, colour schemes).
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from html import escape
from typing import Any, Final

from sidecar.audit.chart import chart, legend
from sidecar.audit.outcome import OURS, Outcome
from sidecar.audit.report import COLUMNS, EMPTY_CELL
from sidecar.clock import iso
from sidecar.printable import one_line

MADE_BY: Final = "<!doctype html><!-- entitlement-sidecar usage reconcile -->"
DIFFERENCES_MAX: Final = 1000
CHARTS_MAX: Final = 24
"""Dimensions of a product, at most (AWS Marketplace seller guide)."""
STYLE: Final = """
:root{color-scheme:light dark;--text:#1b1f24;--back:#fff;--line:#8a929c;--head:#f0f2f5;
--ours:#0b62a4;--cloudtrail:#b35900;--daily_usage:#2d7d46;--bad:#a40e26;--good:#1a6b34}
@media(prefers-color-scheme:dark){:root{--text:#e6e9ed;--back:#15181c;--line:#7b848f;--head:#242a31;
--ours:#6bb3ee;--cloudtrail:#f0a04b;--daily_usage:#6fcf8e;--bad:#ff8592;--good:#7fdc9c}}
body{font:16px/1.5 system-ui,sans-serif;margin:0 auto;padding:1rem;max-width:80rem;color:var(--text);
background:var(--back)}
.equal{color:var(--good)}.different{color:var(--bad)}
.wide{overflow-x:auto}
table{border-collapse:collapse;font-size:.875rem}
caption{text-align:left;padding:.5rem 0}
th,td{border:1px solid var(--line);padding:.25rem .5rem;text-align:left;vertical-align:top}
thead th{background:var(--head)}
td.number{text-align:right;font-variant-numeric:tabular-nums}
svg{max-width:100%;height:auto;display:block;margin:.5rem 0}
svg text{fill:var(--text);font:12px system-ui,sans-serif}
.axis{stroke:var(--line)}
rect.ours{fill:var(--ours)}rect.cloudtrail{fill:var(--cloudtrail)}rect.daily_usage{fill:var(--daily_usage)}
.legend{list-style:none;padding:0;display:flex;flex-wrap:wrap;gap:1rem}
.key{display:inline-block;width:.8rem;height:.8rem;margin-right:.4rem}
.key.ours{background:var(--ours)}.key.cloudtrail{background:var(--cloudtrail)}.key.daily_usage{background:var(--daily_usage)}
"""
HASH: Final = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
POLICY: Final = f"default-src 'none'; style-src 'sha256-{HASH}'; base-uri 'none'; form-action 'none'"
NUMBERS: Final = ("ours", "billed")


def page(outcome: Outcome, differences: Iterable[Mapping[str, Any]], now: datetime) -> str:
    """Return the page. `differences`: the first DIFFERENCES_MAX of them."""
    verdict = "Equal" if outcome.equal else "Different"
    title = f"{verdict}: used and billed"
    body = "\n".join(
        (
            f'<h1 class="{verdict.lower()}">{title}</h1>',
            f"<p>Made {escape(iso(now))} by <code>entitlement-sidecar usage reconcile</code>.</p>",
            _read(outcome),
            _notes(outcome.all_notes),
            _totals(outcome),
            _charts(outcome),
            _differences(outcome, differences),
        )
    )
    return (
        f'{MADE_BY}\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{STYLE}</style></head>\n<body><main>\n{body}\n</main></body></html>\n"
    )


def _read(outcome: Outcome) -> str:
    rows = []
    for name, read in outcome.read().items():
        ignored = "; ".join(f"{count} {reason}" for reason, count in outcome.readings[name].ignored.items())
        rows.append([name, read["files"], read["lines"], read["records"], ignored])
    return _table("What was read", ("Input", "Files", "Lines or events", "Compared", "Ignored"), rows, (1, 2, 3))


def _notes(notes: Sequence[str]) -> str:
    if not notes:
        return ""
    return "<h2>Notes</h2><ul>" + "".join(f"<li>{_cell(note)}</li>" for note in notes) + "</ul>"


def _totals(outcome: Outcome) -> str:
    names = (OURS, *(one.value for one in outcome.compared))
    rows = [[row["dimension"], *(row[name] for name in names)] for row in outcome.totals()]
    return _table("Totals by dimension", ("Dimension", *names), rows, range(1, len(names) + 1))


def _charts(outcome: Outcome) -> str:
    names = (OURS, *(one.value for one in outcome.compared))
    by_dimension: dict[str, dict[str, Mapping[str, int]]] = {}
    for (dimension, day), sums in outcome.days.items():
        by_dimension.setdefault(dimension, {})[day] = sums
    if not by_dimension:
        return ""
    drawn = "".join(
        f'<h3>{_cell(dimension)}</h3><div class="wide">{chart(one_line(dimension), days, names)}</div>'
        for dimension, days in sorted(by_dimension.items())[:CHARTS_MAX]
    )
    return f'<h2>By day</h2><ul class="legend">{legend(names)}</ul>{drawn}'


def _differences(outcome: Outcome, differences: Iterable[Mapping[str, Any]]) -> str:
    if outcome.equal:
        return "<h2>Differences</h2><p>None.</p>"
    rows = [[one[name] for name in COLUMNS.values()] for one in differences]
    left = outcome.counts.total() - len(rows)
    rest = f"<p>{left} more are not on this page; the command prints all.</p>" if left else ""
    heads = [head.replace("_", " ").capitalize() for head in COLUMNS]
    numbers = [at for at, name in enumerate(COLUMNS.values()) if name in NUMBERS]
    return _table("Differences", heads, rows, numbers) + rest


def _table(name: str, heads: Iterable[str], rows: Iterable[Sequence[object]], numbers: Iterable[int]) -> str:
    right = set(numbers)
    head = "".join(f'<th scope="col">{escape(one)}</th>' for one in heads)
    body = "".join(
        "<tr>"
        + "".join(
            f'<td class="number">{_cell(cell)}</td>' if at in right else f"<td>{_cell(cell)}</td>"
            for at, cell in enumerate(row)
        )
        + "</tr>"
        for row in rows
    )
    return (
        f'<h2>{escape(name)}</h2><div class="wide" tabindex="0" role="region" aria-label="{escape(name)}"><table>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _cell(value: object) -> str:
    return escape(one_line(str(value))) if value not in (None, "") else EMPTY_CELL
