"""What the page asks a person to do, and in which order."""

from __future__ import annotations

from typing import Any

import pytest

from sidecar.api.page.findings import DECISIONS_MAX, findings, gate_commands
from sidecar.api.page.records import RecentRecords
from sidecar.metering.states import State
from tests.fakes.clock import NOON
from tests.unit.api.page.samples import gate, licenses, metering, record, status

NONE = RecentRecords()


def titles(document: dict[str, Any], recent: RecentRecords = NONE) -> list[str]:
    return [one.title for one in findings(document, recent, now=NOON)]


def test_where_all_is_well_there_is_nothing_to_do() -> None:
    assert titles(status(metering=metering())) == []
    assert gate_commands(status()) == []


@pytest.mark.parametrize(
    ("document", "title"),
    [
        (status(loops={"entitlement": "running", "metering": "stopped"}), "The metering loop has stopped"),
        (status(metering=metering(overdue_since="2026-01-02T09:00:00.000Z")), "Metering is overdue"),
        (status(metering=metering(hint="Some wait.")), "Usage waits for a person"),
        (status(unused_ledgers=["/state/a.db"]), "No dimension is set, and usage in older ledgers is not billed"),
        (status(entitlement__kept_answer=True), "The gate is open on a kept answer"),
        (status(entitlement__public_key_superseded_at="2026-01-01"), "Public key version 1 is superseded"),
        (status(entitlement__public_key_weak_bits=1024), "The public key has 1024 bits"),
        (status(aws__region_disagreement="IMDS says x"), "Sources of the region disagree"),
        (status(aws__credential_caution="Node role."), "AWS may refuse these credentials"),
        (
            status(kubernetes={"condition": None, "reachable": False, "refused": []}),
            "The Kubernetes API does not answer",
        ),
    ],
)
def test_what_is_wrong_is_a_finding(document: dict[str, Any], title: str) -> None:
    assert titles(document) == [title]


SEAT = licenses()["seats"][0]
LOST = SEAT | {"lost_at": "2026-01-02T11:40:00.000Z", "fault": {"reason": "unreachable", "hint": "Look at the proxy."}}
SOURCE = {"source": "heartbeat/hours/1", "failing_since": None, "reason": None, "hint": None}
FAILING = SOURCE | {"failing_since": "2026-01-02T11:00:00.000Z", "reason": "target_refused", "hint": "Correct the url."}


@pytest.mark.parametrize("policy", ["hold", "shut"])
def test_a_lost_seat_is_urgent_and_says_whether_the_gate_stays_open(policy: str) -> None:
    (found,) = findings(status(licenses=licenses(seats=[LOST], on_seat_lost=policy)), NONE, now=NOON)
    assert (found.title, found.reason) == ("The seat seats is lost since 02 Jan 11:40 UTC", "unreachable")
    assert found.urgent
    assert ("stays open" in found.why) is (policy == "hold")
    assert found.commands[0].line.endswith("recheck")


def test_a_seat_that_is_held_is_none_even_where_its_extension_failed() -> None:
    assert titles(status(licenses=licenses(seats=[SEAT | {"fault": LOST["fault"]}]))) == []


@pytest.mark.parametrize(
    ("ends_at", "title", "urgent"),
    [
        ("2026-01-02T11:59:00.000Z", "The contract ended 02 Jan 11:59 UTC", True),
        ("2026-01-09T11:59:00.000Z", "The contract ends 09 Jan 11:59 UTC", False),
    ],
)
def test_a_contract_that_ends_within_a_week_is_a_finding(ends_at: str, title: str, urgent: bool) -> None:
    (found,) = findings(status(licenses=licenses(ends_at=ends_at)), NONE, now=NOON)
    assert (found.title, found.urgent) == (title, urgent)


@pytest.mark.parametrize("ends_at", [None, "2026-01-09T12:01:00.000Z"])
def test_a_contract_that_ends_later_is_none(ends_at: str | None) -> None:
    assert titles(status(licenses=licenses(ends_at=ends_at))) == []


def test_a_source_that_fails_is_a_finding_and_one_that_is_read_is_not() -> None:
    (found,) = findings(status(sources=[SOURCE, FAILING]), NONE, now=NOON)
    assert found.title == "No usage is pulled from heartbeat/hours/1 since 02 Jan 11:00 UTC"
    assert (found.why, found.reason) == ("Correct the url.", "target_refused")


def test_what_the_kubernetes_api_refuses_names_the_right() -> None:
    refused = [{"code": 403, "verb": "patch", "resource": "pods/status", "hint": "Grant it."}]
    (found,) = findings(status(kubernetes={"condition": None, "reachable": True, "refused": refused}), NONE, now=NOON)
    assert (found.title, found.why) == ("The Kubernetes API refuses patch pods/status", "Grant it.")


def test_a_ledger_that_cannot_be_used_is_named_once() -> None:
    ledger = metering()["ledger"] | {"writable": False, "reason": "ledger_stuck", "hint": "Replace the volume."}
    recent = RecentRecords(reason="internal_error", hint="x")
    (found,) = findings(status(metering=metering(ledger=ledger)), recent, now=NOON)
    assert (found.reason, found.why) == ("ledger_stuck", "Replace the volume.")


def test_records_that_cannot_be_read_are_a_finding_of_their_own() -> None:
    (found,) = findings(status(metering=metering()), RecentRecords(reason="internal_error", hint="Look."), now=NOON)
    assert (found.title, found.why) == ("Records cannot be read now", "Look.")


def test_each_record_that_waits_for_a_person_has_its_decisions() -> None:
    recent = RecentRecords(records=[record(3, State.DISPUTED, last_error="DuplicateRequestException")])
    (found,) = findings(status(metering=metering()), recent, now=NOON)
    assert (found.title, found.reason) == ("requests, 02 Jan 09:00 UTC: 7 disputed", "duplicate_request")
    assert any("--accept-aws" in one.line for one in found.commands)
    assert all("--hour 2026-01-02T09:00:00Z --dimension requests" in one.line for one in found.commands)


@pytest.mark.parametrize("state", [State.OPEN, State.SEALED, State.SETTLED, State.EXPIRED, State.ROLLED_FORWARD])
def test_a_record_that_waits_for_nobody_has_none(state: State) -> None:
    assert titles(status(metering=metering()), RecentRecords(records=[record(3, state)])) == []


def test_a_record_of_a_workload_that_is_gone_names_it() -> None:
    (found,) = findings(status(metering=metering()), NONE, [("old-pod", record(9, State.REJECTED))], now=NOON)
    assert found.title.endswith("of old-pod, which is gone")
    assert all("--workload old-pod" in one.line for one in found.commands)


def test_many_records_are_counted_and_not_all_listed() -> None:
    many = RecentRecords(records=[record(hours, State.REJECTED) for hours in range(1, 9)])
    found = findings(status(metering=metering()), many, now=NOON)
    assert len(found) == DECISIONS_MAX + 1
    assert found[-1].title == f"Records that wait for a person besides: {8 - DECISIONS_MAX}"


def test_what_is_urgent_comes_before_what_is_not() -> None:
    document = status(entitlement__kept_answer=True, metering=metering(hint="Some wait."), aws__credential_caution="x")
    assert [one.urgent for one in findings(document, NONE, now=NOON)] == [True, False, False]


@pytest.mark.parametrize(("word", "count"), [("pending", 1), ("denied", 2), ("unavailable", 2), ("misconfigured", 3)])
def test_a_shut_gate_says_what_to_run(word: str, count: int) -> None:
    assert len(gate_commands(gate(word, "r", "h"))) == count
