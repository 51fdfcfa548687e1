"""Read our side: lines of `usage export`, of the sidecar's log, and the documents of `usage --json`.

Invariants:
- Settled is what has AWS's metering record id, or AWS's quantity where a person accepted that: then that one counts.
- A record that was rolled forward counts where it went, in the later record, and not where it came from.
- What a person settled stands in a log as `record.resolved`: `--confirm` and `--accept-aws` are read there too.
- What was drawn from a license is on no bill of usage; it is counted, and not compared.
- Each line is a JSON object. Other log events, totals and open hours are ignored and counted.

Sources: `docs/reference/http.md` (lines of the audit copy), `docs/reference/log-events.md` (`record.settled`,
`record.resolved`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from sidecar.audit.fields import hour_start, micros, text
from sidecar.audit.input_files import OUTSIDE, Advance, Period, Reading, Unreadable, parsed
from sidecar.audit.merge import RANK
from sidecar.audit.rows import SETTLED, Row
from sidecar.metering.records import DRAWDOWN
from sidecar.strict_json import Repeated, parse, shown

OTHER_EVENT: Final = "other_log_event"
OTHER_LINE: Final = "other_record"
OPEN: Final = "open_hour"
TOTAL: Final = "total"
REMOVED: Final = "removed"
DRAWN: Final = "drawn_from_a_license"
"""AWS's bill and its Daily Usage do not have it: the contract is paid, and License Manager counts what is left."""
SETTLED_EVENTS: Final = ("record.settled", "record.resolved")
NAMES: Final = (b'"record"', b'"records"', *(f'"{name}"'.encode() for name in SETTLED_EVENTS))
"""A line without any of these is a log event about something else."""


class OurRows:
    """Reads exports and logs, and keeps which products they are about."""

    def __init__(self, reading: Reading, period: Period, advance: Advance) -> None:
        self._reading, self._period, self._advance = reading, period, advance
        self.products: set[str] = set()

    def read(self, name: str) -> Iterator[Row]:
        """Yield the records in a file. Raises TooManyFaults."""
        exported, totals = False, self._reading.ignored[TOTAL]
        before = self._reading.lines, len(self._reading.faults)
        for row in parsed(name, self._reading, self._advance, parse_line):
            exported = exported or bool(row.tokens)
            if row.product:
                self.products.add(row.product)
            if self._period.has(row):
                self._reading.rows += 1
                yield row
            else:
                self._reading.ignored[OUTSIDE] += 1
        if exported and self._reading.ignored[TOTAL] == totals:
            self._reading.notes.append(
                f"{name}: the export has no totals at its end, so it is incomplete. Export again."
            )
        if (self._reading.lines, len(self._reading.faults)) == before:
            self._reading.notes.append(
                f"{name}: is empty; an export has totals at its end. Did the command that wrote it fail? Export again."
            )


def parse_line(line: bytes, origin: str) -> Iterator[Row | str]:
    """Yield the records in a line, or why there is none in it. Raises Unreadable."""
    if not any(name in line for name in NAMES) and line.startswith(b"{") and line.rstrip().endswith(b"}"):
        yield OTHER_EVENT
        return
    fields = _object(line)
    if _drawn(fields):
        yield DRAWN
    elif fields.get("event") in SETTLED_EVENTS and fields.get("state", SETTLED) == SETTLED:
        yield _logged(fields, origin)
    elif "event" in fields:  # some have a field `records` of another form
        yield OTHER_EVENT
    elif "records" in fields:
        yield from _document(fields["records"], origin)
    elif fields.get("record") == "usage":
        yield _exported(fields, origin)
    elif fields.get("record") in (TOTAL, REMOVED):
        yield str(fields["record"])
    elif "record" in fields:
        yield OTHER_LINE
    else:
        raise Unreadable(f"{_cut(line)} is no line of `usage export` and no log event of the sidecar.")


def _object(line: bytes) -> Mapping[str, object]:
    try:
        found = parse(line.decode())
    except UnicodeDecodeError:
        raise Unreadable(f"{_cut(line)} is not UTF-8. Each line is a JSON object.") from None
    except ValueError as exc:
        raise Unreadable(f"{_cut(line)} {exc} Each line is a JSON object.") from None
    if isinstance(found, Repeated):
        raise Unreadable(f"{_cut(line)} gives {shown(found.name)} twice.")
    if not isinstance(found, dict):
        raise Unreadable(f"{_cut(line)} is not a JSON object.")
    return found


def _cut(line: bytes) -> str:
    return shown(line.decode("utf-8", "replace").strip())


def _exported(fields: Mapping[str, object], origin: str) -> Row:
    requests = fields.get("requests")
    if not isinstance(requests, list) or not all(isinstance(one, dict) for one in requests):
        raise Unreadable(f"requests is {shown(requests)}; it must be a list of objects.")
    bodies = [one["body"] for one in requests if isinstance(one.get("body"), dict)]
    product = text(fields, "product_code", required=False)
    if not product and bodies:
        product = text(bodies[-1], "product_code", required=False)
    tokens = " ".join(text(one, "client_token") for one in requests)
    return _row(fields, origin, tokens=tokens, product=product)


def _logged(fields: Mapping[str, object], origin: str) -> Row:
    return _row({**fields, "state": SETTLED}, origin, product=text(fields, "product_code", required=False))


def _document(records: object, origin: str) -> Iterator[Row | str]:
    """Yield the records of `usage --json`, of `usage test-records --json`, or of `GET /v1/usage`."""
    if not isinstance(records, list) or not all(isinstance(one, dict) for one in records):
        raise Unreadable(f"records is {shown(records)}; it must be a list of objects.")
    for number, fields in enumerate(records, start=1):
        if fields.get("state") == "open":
            yield OPEN
        elif _drawn(fields):
            yield DRAWN
        else:
            yield _row(fields, f"{origin}#{number}")


def _drawn(fields: Mapping[str, object]) -> bool:
    """Return whether a record is drawn from a license: a line of an export or `usage --json`, or a log event."""
    return fields.get("kind") == DRAWDOWN or (fields.get("event") in SETTLED_EVENTS and bool(fields.get("license")))


def _row(fields: Mapping[str, object], origin: str, tokens: str = "", product: str = "") -> Row:
    state = text(fields, "state")
    if state not in RANK:
        raise Unreadable(f"state is {shown(state)}; it is one of {', '.join(RANK)}.")
    accepted = fields.get("aws_quantity") if state == SETTLED else None
    record_id = text(fields, "metering_record_id", required=state == SETTLED and accepted is None)
    return Row(
        hour=hour_start(text(fields, "hour")),
        dimension=text(fields, "dimension"),
        state=state,
        quantity=micros(fields.get("quantity"), "quantity") if accepted is None else micros(accepted, "aws_quantity"),
        record_id=record_id if state == SETTLED else "",
        tokens=tokens,
        workload=text(fields, "workload", required=False),
        product=product,
        region=text(fields, "region", required=False),
        account=text(fields, "account", required=False),
        origin=origin,
    )
