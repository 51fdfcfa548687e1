"""The tables and the JSON document."""

from __future__ import annotations

import json

from sidecar.audit.input_files import Reading
from sidecar.audit.outcome import OURS, Outcome
from sidecar.audit.report import as_json, summary, tables
from sidecar.audit.rows import Kind, Source, hour_difference, units
from tests.unit.audit.support import MICROS, ours


def outcome(*, equal: bool = False) -> Outcome:
    made = Outcome(compared=(Source.CLOUDTRAIL,), readings={"exports": Reading(lines=3, rows=2, files=["f"])})
    made.readings["exports"].ignored["total"] = 1
    made.add(OURS, [ours("a", 4)])
    if not equal:
        made.count([hour_difference(Kind.NOT_BILLED, ours("a"), ours=1)])
    return made


FOUND = [hour_difference(Kind.NOT_BILLED, ours("a", workload="p\todd"), "note", ours=4 * MICROS).as_json()]


def test_a_table_has_as_many_cells_in_every_line() -> None:
    totals, differences = "".join(tables(outcome(), FOUND)).split("\n\n")
    assert totals.splitlines() == ["DIMENSION\tOURS\tCLOUDTRAIL", "requests\t4\t0"]
    head, line = differences.splitlines()
    assert head.count("\t") == line.count("\t") == 10
    assert line.startswith("not_billed\tcloudtrail\t2025-11-24T16:00Z\trequests\tus-east-1\t4\t-\t")
    assert "p odd" in line


def test_an_equal_result_has_no_table_of_differences() -> None:
    assert "KIND" not in "".join(tables(outcome(equal=True), []))


def test_the_summary_says_what_was_read_and_ignored() -> None:
    text = "".join(summary(outcome()))
    assert text == "exports: 1 files, 3 lines, 2 compared; ignored: 1 total\ndifferent: 1 not_billed\n"
    assert "".join(summary(outcome(equal=True))).endswith("\nequal\n")


def test_the_document_is_one_json_object() -> None:
    found = json.loads("".join(as_json(outcome(), FOUND * 2)))
    assert found["equal"] is False
    assert found["counts"] == {"not_billed": 1}
    assert found["totals"] == [{"dimension": "requests", "ours": "4", "cloudtrail": "0"}]
    assert found["differences"] == FOUND * 2
    assert json.loads("".join(as_json(outcome(equal=True), [])))["differences"] == []


def test_quantities_are_written_in_plain_notation() -> None:
    assert [units(micros) for micros in (0, 1, 1_500_000, -1, -2_000_000)] == [
        "0",
        "0.000001",
        "1.5",
        "-0.000001",
        "-2",
    ]
