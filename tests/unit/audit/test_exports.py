"""Lines of exports and logs: what counts, what is ignored, what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sidecar.audit.exports import DRAWN, OurRows, parse_line
from sidecar.audit.input_files import Period, Reading, Unreadable
from sidecar.audit.rows import Row
from tests.unit.audit.support import HOUR

EXPORTED: dict[str, Any] = {
    "record": "usage",
    "workload": "pod-1",
    "product_code": "product",
    "region": "us-east-1",
    "hour": "2025-11-24T16:00:00+00:00",
    "dimension": "requests",
    "state": "settled",
    "quantity": "7.000001",
    "metering_record_id": "r-1",
    "requests": [
        {"number": 0, "client_token": "t-0", "body": {"product_code": "product"}},
        {"number": 1, "client_token": "t-1", "body": {"product_code": "product"}},
    ],
}
LOGGED: dict[str, Any] = {
    "at": "2025-11-24T17:00:03.000+00:00",
    "level": "info",
    "event": "record.settled",
    "workload": "pod-1",
    "product_code": "product",
    "region": "us-east-1",
    "account": "1",
    "hour": "2025-11-24T16:00:00.000Z",
    "dimension": "requests",
    "quantity": "7",
    "metering_record_id": "r-1",
}


def parse(value: object) -> list[Row | str]:
    line = value if isinstance(value, bytes) else json.dumps(value).encode()
    return list(parse_line(line + b"\n", "file:1"))


def row(value: object) -> Row:
    (found,) = parse(value)
    assert isinstance(found, Row)
    return found


@pytest.mark.parametrize(
    "line",
    [
        EXPORTED | {"kind": "drawdown"},
        LOGGED | {"license": "pages"},
        LOGGED | {"license": "pages", "event": "record.resolved", "state": "settled"},
        {"records": [LOGGED | {"state": "settled", "kind": "drawdown"}]},
    ],
    ids=["export", "log", "resolved", "usage"],
)
def test_what_is_drawn_from_a_license_is_on_no_bill_and_counted_apart(line: dict[str, Any]) -> None:
    assert parse(line) == [DRAWN]


@pytest.mark.parametrize("line", [EXPORTED | {"kind": "meter_usage"}, LOGGED | {"license": None}])
def test_what_is_metered_is_compared(line: dict[str, Any]) -> None:
    assert isinstance(row(line), Row)


def test_a_line_of_an_export_is_read_exactly() -> None:
    found = row(EXPORTED)
    assert found == Row(
        hour=HOUR,
        dimension="requests",
        state="settled",
        quantity=7_000_001,
        record_id="r-1",
        tokens="t-0 t-1",
        workload="pod-1",
        product="product",
        region="us-east-1",
        origin="file:1",
    )


def test_an_export_without_owner_takes_the_product_from_its_request() -> None:
    older = {name: value for name, value in EXPORTED.items() if name not in ("workload", "product_code", "region")}
    found = row(older)
    assert (found.product, found.workload, found.region) == ("product", "", "")


def test_a_settled_log_event_is_read() -> None:
    found = row(LOGGED)
    assert (found.hour, found.quantity, found.record_id, found.account) == (HOUR, 7_000_000, "r-1", "1")


@pytest.mark.parametrize(
    ("fields", "quantity", "record_id"),
    [({}, 7_000_000, "r-1"), ({"aws_quantity": "5", "metering_record_id": None}, 5_000_000, "")],
    ids=["confirmed", "accepted"],
)
def test_what_a_person_settled_is_read_from_the_log(fields: dict[str, Any], quantity: int, record_id: str) -> None:
    resolved = {**LOGGED, "event": "record.resolved", "state": "settled", "aws_quantity": None, **fields}
    found = row(resolved)
    assert (found.state, found.quantity, found.record_id) == ("settled", quantity, record_id)


@pytest.mark.parametrize("state", ["sealed", "rolled_forward"])
def test_another_decision_of_a_person_is_ignored(state: str) -> None:
    resolved = {**LOGGED, "event": "record.resolved", "state": state, "metering_record_id": None}
    assert parse(resolved) == ["other_log_event"]


def test_the_documents_of_usage_and_of_test_records_are_read() -> None:
    record = {"hour": "2025-11-24T16:00:00Z", "dimension": "d", "state": "settled", "quantity": "1"}
    found = parse({"records": [{**record, "metering_record_id": "r-1"}, {**record, "state": "open"}]})
    assert [one if isinstance(one, str) else one.record_id for one in found] == ["r-1", "open_hour"]


def test_a_quantity_of_aws_that_was_accepted_takes_the_place_of_ours() -> None:
    found = row({**EXPORTED, "aws_quantity": "5", "metering_record_id": None})
    assert (found.state, found.quantity, found.record_id) == ("settled", 5_000_000, "")
    assert row({**EXPORTED, "aws_quantity": None}).quantity == 7_000_001


@pytest.mark.parametrize("state", ["sealed", "rejected", "disputed", "expired", "rolled_forward"])
def test_a_record_that_is_not_settled_has_no_record_id(state: str) -> None:
    assert row({**EXPORTED, "state": state}).record_id == ""


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ({"record": "total", "dimension": "requests"}, "total"),
        ({"record": "removed", "dimension": "requests"}, "removed"),
        ({"record": "something_new"}, "other_record"),
        ({"event": "record.held", "record": 1}, "other_log_event"),
        ({"event": "gate.opened"}, "other_log_event"),
        ({"event": "x", "text": 'about "record.settled"'}, "other_log_event"),
        ({"event": "hour.sealed", "hour": "2025-11-24T16:00:00Z", "records": {"requests": "7"}}, "other_log_event"),
        ({"event": "ledger.opened", "path": "/l.sqlite3", "records": {}}, "other_log_event"),
    ],
    ids=["total", "removed", "new", "held", "gate", "text", "sealed", "opened"],
)
def test_other_lines_are_ignored_with_a_reason(line: object, reason: str) -> None:
    assert parse(line) == [reason]


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in EXPORTED.items() if key != name}


BAD: dict[str, tuple[object, str]] = {
    "no JSON": (b"Traceback (most recent call last):", "Traceback"),
    "half": (b'{"record": "usage", "hour": "2025', "is not JSON"),
    "no UTF-8": (b'{"record": "\xff"}', "UTF-8"),
    "twice": (b'{"record": "usage", "record": "total"}', "twice"),
    "no object": (b'["record"]', "not a JSON object"),
    "foreign": ({"record ": 1, "x": "record", "records ": "records"}, "is no line"),
    "hour": ({**EXPORTED, "hour": "2025-11-24T16:30:00Z"}, "start of an hour"),
    "no hour": (without("hour"), "hour is missing"),
    "no dimension": (without("dimension"), "dimension is missing"),
    "no receipt": (without("metering_record_id"), "metering_record_id is missing"),
    "state": ({**EXPORTED, "state": "paid"}, "paid"),
    "float": (json.dumps(EXPORTED).replace('"7.000001"', "7.0000001").encode(), "six|6 decimal"),
    "seven places": ({**EXPORTED, "quantity": "0.0000001"}, "decimal places"),
    "negative": ({**EXPORTED, "quantity": "-1"}, "plain decimal digits"),
    "no quantity": (without("quantity"), "neither a number"),
    "too much": ({**EXPORTED, "quantity": "10000000000"}, "more than"),
    "requests": ({**EXPORTED, "requests": "none"}, "list of objects"),
    "records": ({"records": 1}, "list of objects"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_line_that_breaks_a_rule_is_refused_by_name(name: str) -> None:
    line, words = BAD[name]
    with pytest.raises(Unreadable, match=words):
        parse(line)


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([], "is empty"),
        ([EXPORTED], "no totals"),
        ([EXPORTED, {"record": "total", "dimension": "requests"}], ""),
        ([LOGGED], ""),
    ],
    ids=["empty", "cut", "whole", "log"],
)
def test_an_export_that_did_not_come_whole_is_noted(tmp_path: Path, lines: list[object], words: str) -> None:
    """A shell makes the file before `kubectl exec` fails: the usage of that pod is missing, whatever is equal."""
    path = tmp_path / "export.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    reading = Reading()
    list(OurRows(reading, Period(), advance=lambda *_: None).read(str(path)))
    assert reading.faults == []
    assert [words in note for note in reading.notes] == ([True] if words else [])


def test_a_file_that_cannot_be_opened_is_not_called_empty(tmp_path: Path) -> None:
    reading = Reading()
    list(OurRows(reading, Period(), advance=lambda *_: None).read(str(tmp_path / "missing")))
    assert (len(reading.faults), reading.notes) == (1, [])
