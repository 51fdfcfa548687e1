"""Make the tables of the reference from the code's own tables.

Elsewhere: the tables of the commands (`reference_commands`).

Invariants:
- A word of the code that has no text in `reference_data` and its neighbours is a KeyError, never an empty cell.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import reference_data as data
import reference_fields as fields
import source_scan
from markdown_table import anchor, cell, table
from reference_log_events import LOG_EVENTS

from sidecar.api import metrics as metrics_page
from sidecar.api import probes
from sidecar.api.operations import OPERATIONS
from sidecar.api.operations.operation import Operation
from sidecar.api.operations.refusals import PUSH as PUSH_STATUSES
from sidecar.api.operations.refusals import REFUSALS
from sidecar.doctor.table import CHECKS, Check
from sidecar.entitlement import license_errors
from sidecar.entitlement.classify import UNKNOWN as UNKNOWN_REASON
from sidecar.entitlement.error_table import ROWS as REASON_ROWS
from sidecar.entitlement.status import TRANSITIONS as STATUS_TRANSITIONS
from sidecar.entitlement.status import Event, Status
from sidecar.ledger.errors import REASONS as LEDGER_REASONS
from sidecar.listing.rule import Rule, Severity
from sidecar.listing.table import OWN_RULES_OF as LISTING_RULES
from sidecar.marketplace.resolve_customer import ROWS as RESOLVE_ROWS
from sidecar.metering.batch_dispositions import ROWS as BATCH_ROWS
from sidecar.metering.decide import LATE, OUTCOME_UNKNOWN, PERHAPS_DRAWN
from sidecar.metering.dispositions import ROWS as DISPOSITION_ROWS
from sidecar.metering.dispositions import UNKNOWN as UNKNOWN_DISPOSITION
from sidecar.metering.license_dispositions import ROWS as DRAWDOWN_ROWS
from sidecar.metering.states import TRANSITIONS as RECORD_TRANSITIONS
from sidecar.metering.states import State
from sidecar.pod_status.changes import MEANINGS as POD_EVENTS
from sidecar.pod_status.changes import NORMAL
from sidecar.saas.customer_events import REASONS as CUSTOMER_REASONS
from sidecar.saas.database import REASONS as DATABASE_REASONS
from sidecar.settings import describe

UNVERIFIED = "Check that the public key matches its version and that nothing rewrites answers of AWS."
FIX_FOUND = {
    "{problem}": "the fault of each setting, with an example",
    "{hint}": "the hint of the [reason](reasons.md)",
    "{region_fix}": "what sets the region here: the hint of [`no_region`](reasons.md)",
}
"""A fix of doctor's that is found, not fixed → where it comes from."""


def settings() -> str:
    return describe.markdown()


def doctor_checks() -> str:
    rows = (
        (f"[`{check.id}`](#{check.id})", cell(check.rule), ", ".join(f"`{id_}`" for id_ in check.needs))
        for check in CHECKS
    )
    return table(("Check", "Rule", "Needs"), rows)


def doctor_fixes() -> str:
    """Return a section for each check: what is seen, and the fix."""
    return "\n".join(f"### `{check.id}`\n\n{_fixes(check)}" for check in CHECKS)


def _fixes(check: Check) -> str:
    return table(("Seen", "Fix"), ((cell(seen), _fix(fix)) for seen, fix in check.fixes.items()))


def _fix(fix: str) -> str:
    """Return a fix with its placeholders in capitals; one that is nothing else says where it comes from."""
    if re.fullmatch(r"\{\w+\}", fix):
        return FIX_FOUND[fix]
    filled = re.sub(r"(?<!\{)\{(\w+)\}(?!\})", lambda found: found[1].upper(), fix)
    return "<br>".join(cell(line) for line in filled.replace("{{", "{").replace("}}", "}").splitlines())


def listing_severities() -> str:
    return table(("Severity", "Meaning"), ((f"`{one.value}`", data.LISTING_SEVERITIES[one.value]) for one in Severity))


def listing_rules() -> str:
    """Return a section for each kind of target: its rules, and AWS's rule and the fix of each."""
    return "\n".join(
        f"## {data.LISTING_KINDS[kind.value]}\n\n"
        + table(("Rule", "Severity", "What must be true"), (_listing_row(rule) for rule in rules))
        + "".join(_listing_section(rule) for rule in rules)
        for kind, rules in LISTING_RULES.items()
    )


def _listing_row(rule: Rule) -> Sequence[str]:
    return f"[`{rule.id}`](#{rule.id})", f"`{rule.severity.value}`", cell(rule.title)


def _listing_section(rule: Rule) -> str:
    return f"\n### `{rule.id}`\n\n{rule.aws}\n\nFix: {rule.fix}\n\nSource: <{rule.source}>\n"


def statuses() -> str:
    rows = ((f"`{one.value}`", str(probes.HTTP_STATUS[one]), data.STATUSES[one.value]) for one in Status)
    return table(("Status", "HTTP", "Meaning"), rows)


def status_events() -> str:
    return table(("Event", "Meaning"), ((f"`{one.value}`", data.STATUS_EVENTS[one.value]) for one in Event))


def status_transitions() -> str:
    rows = (
        [f"`{status.value}`", *(f"`{STATUS_TRANSITIONS[status, event].value}`" for event in Event)] for status in Status
    )
    return table(["From", *(f"`{event.value}`" for event in Event)], rows)


def reasons() -> str:
    return table(("Reason", "Said", "Status", "Do this"), _reason_rows())


def _reason_rows() -> Iterator[Sequence[str]]:
    for row in REASON_ROWS:
        codes = ", ".join(f"`{code}`" for code in row.codes if code != row.reason)
        asked = [data.ASKED[one.name] for one in row.asked]
        only = f" ({', '.join(asked)})" if len(asked) == 1 or row in license_errors.ROWS else ""
        said = f"{codes}{only}" if codes else "the answer does not verify" if "" in asked else "-"
        yield f"`{row.reason}`", said, data.ANSWER_CLASSES[row.answer.name], _hint(row.hint or UNVERIFIED)
    other = UNKNOWN_REASON
    yield f"`{other.reason}`", "any other code", data.ANSWER_CLASSES[other.answer.name], _hint(other.hint)


def _hint(hint: str) -> str:
    return cell(re.sub(r"\{(\w+)\}", lambda found: data.PLACEHOLDERS[found[1]], hint))


def database_reasons() -> str:
    return table(("Reason", "Do this"), ((f"`{reason}`", cell(do)) for reason, do in DATABASE_REASONS.items()))


def other_reasons() -> str:
    rows = ((f"`{reason}`", where, meaning) for reason, (where, meaning) in data.OTHER_REASONS.items())
    return table(("Reason", "Shown in", "Meaning"), rows)


def states() -> str:
    return table(("State", "Meaning"), ((f"`{one.value}`", data.STATES[one.value]) for one in State))


def record_transitions() -> str:
    rows = (
        (f"`{state.value}`", data.MOVES[move.value], f"`{then.value}`")
        for (state, move), then in RECORD_TRANSITIONS.items()
    )
    return table(("From", "What happens", "To"), rows)


def metering_answers() -> str:
    return table(("Reason", "Said", "The record is then", "Do this"), _metering_rows())


def _metering_rows() -> Iterator[Sequence[str]]:
    for row in DISPOSITION_ROWS:
        codes = ", ".join(f"`{code.partition(':')[0]}`" for code in row.codes)
        yield f"`{row.reason}`", codes, data.DISPOSITIONS[row.disposition.value], cell(row.hint)
    other = UNKNOWN_DISPOSITION
    yield f"`{other.reason}`", "any other code", data.DISPOSITIONS[other.disposition.value], cell(other.hint)
    for (reason, hint), then in ((LATE, "expire"), (OUTCOME_UNKNOWN, "reject")):
        yield f"`{reason}`", "no answer: the hour is too old", data.DISPOSITIONS[then], cell(hint)


def drawdown_answers() -> str:
    return table(("Reason", "Said", "The record is then", "Do this"), _drawdown_rows())


def _drawdown_rows() -> Iterator[Sequence[str]]:
    reason, hint = PERHAPS_DRAWN
    for row in DRAWDOWN_ROWS:
        codes = ", ".join(f"`{code.partition(':')[0]}`" for code in row.codes if code.islower() is False)
        then = row.disposition.value if row.definite else "reject"
        name, does = (row.reason, row.hint) if row.definite else (reason, hint)
        yield f"`{name}`", codes or "-", data.DISPOSITIONS[then], cell(does)
    yield f"`{reason}`", "no answer, or one that allows something else", data.DISPOSITIONS["reject"], cell(hint)


def batch_answers() -> str:
    return table(("Reason", "Said", "The record is then", "Do this"), _batch_rows())


def _batch_rows() -> Iterator[Sequence[str]]:
    for row in BATCH_ROWS:
        codes = ", ".join(f"`{code}`" for code in row.codes if code != row.reason) or "-"
        yield f"`{row.reason}`", codes, data.DISPOSITIONS[row.disposition.value], cell(row.hint)


def resolve_answers() -> str:
    rows = (
        (str(row.status), f"`{row.reason}`", ", ".join(f"`{code}`" for code in row.codes), cell(row.hint))
        for row in RESOLVE_ROWS
    )
    return table(("HTTP", "Reason", "Said", "Do this"), rows)


def customer_refusals() -> str:
    rows = ((str(status), f"`{reason}`", cell(hint)) for reason, (status, hint) in CUSTOMER_REASONS.items())
    return table(("HTTP", "Reason", "Do this"), rows)


def push_refusals() -> str:
    said = {**data.PUSH_REASONS, **LEDGER_REASONS}
    rows = sorted(PUSH_STATUSES.items(), key=lambda one: one[1])
    return table(("HTTP", "Reason", "Do this"), ((str(status), f"`{one}`", cell(said[one])) for one, status in rows))


def pod_events() -> str:
    rows = ((f"`{one}`", "Normal" if one in NORMAL else "Warning", cell(text)) for one, text in POD_EVENTS.items())
    return table(("Reason", "Type", "Meaning"), rows)


def metrics() -> str:
    labels = source_scan.metric_labels()
    when = {one.metric: f"`{_braced(one.labels)}{one.condition}` for {one.lasting}" for one in source_scan.alerts()}
    rows = (
        (
            f"`{one.name}`",
            one.kind,
            ", ".join(f"`{label}`" for label in labels.get(one.name, ())),
            cell(one.help),
            when.get(one.name, "").replace("|", "\\|").replace(" for 0m", ""),
        )
        for one in source_scan.metrics()
    )
    return table(("Metric", "Type", "Labels", "Meaning", "Alert when"), rows)


def _braced(labels: str) -> str:
    return f"{{{labels}}} " if labels else ""


def alerts() -> str:
    rows = (
        (f"`{one.name}`", one.severity, f"`{metrics_page.PREFIX}{one.metric}`", cell(one.summary))
        for one in source_scan.alerts()
    )
    return table(("Alert", "Severity", "Metric", "It means"), rows)


def log_events() -> str:
    rows = (
        (f"`{name}`", " or ".join(sorted(levels)), cell(LOG_EVENTS[name]))
        for name, levels in sorted(source_scan.log_events().items())
    )
    return table(("Event", "Level", "Meaning"), rows)


def routes() -> str:
    rows = (
        (f"[`{one.name}`](#{anchor(one.name)})", "both" if one.is_probe else "product", cell(one.does))
        for one in OPERATIONS
    )
    return table(("Route", "Listener", "What it is for"), rows)


def route_sections() -> str:
    return "\n".join(_route(one) for one in OPERATIONS)


def _route(one: Operation) -> str:
    takes = f"{one.takes}\n\n" if one.takes else ""
    answers = table(("Status", "Answer"), ((str(status), cell(found.when)) for status, found in one.answers.items()))
    return f"### `{one.name}`\n\n{one.does}\n\n{takes}{answers}"


def status_fields() -> str:
    return table(("Field", "Meaning"), ((f"`{name}`", cell(fields.STATUS_FIELDS[name])) for name in status_names()))


def export_fields() -> str:
    names = source_scan.document_fields("requests", "late_from")
    return table(("Field of a record", "Meaning"), ((f"`{name}`", fields.EXPORT_FIELDS[name]) for name in names))


def total_fields() -> str:
    names = source_scan.document_fields("events", "balanced")
    return table(("Field of a total", "Meaning"), ((f"`{name}`", fields.TOTAL_FIELDS[name]) for name in names))


def status_names() -> list[str]:
    """Return the fields of `GET /v1/status` in their order, those of each package in their places."""
    gate = source_scan.document_fields("entitlement", "workload")
    inner = {
        "licenses": source_scan.document_fields("product_sku", "seats"),
        "metering": source_scan.document_fields("open_hour", "ledger"),
        "kubernetes": source_scan.document_fields("condition", "reachable"),
    }
    outer = source_scan.document_fields("started_at", "loops")
    at = outer.index("*")
    names = [*outer[:at], *gate, *outer[at + 1 :]]
    return [one for name in names for one in (name, *(f"{name}.{field}" for field in inner.get(name, ())))]


def http_reasons() -> str:
    rows = ((f"`{reason}`", str(one.status), one.meaning) for reason, one in REFUSALS.items())
    return table(("Reason", "HTTP", "Meaning"), rows)
