"""The page waits for the disk only so long, and one thread waits for it however many pages are asked for."""

from __future__ import annotations

import threading
import time

import pytest

from sidecar.api.page.records import LEDGER_STUCK, READ_BROKE, RecordReader
from sidecar.errors import SidecarError
from sidecar.metering.hours import Hour
from sidecar.metering.states import State
from tests.fakes.clock import NOON
from tests.fakes.usage import FakeUsage
from tests.unit.api.page.samples import record

SINCE = Hour(NOON)


def test_records_are_what_the_ledger_gives() -> None:
    found = RecordReader(FakeUsage(found=[record(1, State.SETTLED)])).read(SINCE)
    assert (found.records, found.reason) == ((record(1, State.SETTLED),), "")


@pytest.mark.parametrize(
    ("broken", "reason", "hint"),
    [
        (SidecarError("ledger_locked", "One each."), "ledger_locked", "One each."),
        (RuntimeError("hunter2"), READ_BROKE, "Reading the records failed: RuntimeError. Report this to the vendor."),
    ],
)
def test_what_cannot_be_read_is_a_reason(broken: Exception, reason: str, hint: str) -> None:
    found = RecordReader(FakeUsage(broken=broken)).read(SINCE)
    assert (found.records, found.reason, found.hint) == ((), reason, hint)


def test_a_stuck_disk_costs_one_thread_and_no_page_waits_for_it_again() -> None:
    stuck, reads = threading.Event(), []
    usage = FakeUsage(on_read=lambda: (reads.append(1), stuck.wait(30)))
    reader = RecordReader(usage, wait_seconds=0.05)
    assert [reader.read(SINCE).reason for _ in range(3)] == [LEDGER_STUCK] * 3
    began = time.monotonic()
    RecordReader(usage, wait_seconds=0.0).read(SINCE)
    assert time.monotonic() - began < 5
    stuck.set()
    assert len(reads) <= 2


def test_a_disk_that_answers_again_is_read_again() -> None:
    stuck = threading.Event()
    usage = FakeUsage(found=[record(1, State.SETTLED)], on_read=lambda: stuck.wait(30))
    reader = RecordReader(usage, wait_seconds=0.05)
    assert reader.read(SINCE).reason == LEDGER_STUCK
    stuck.set()
    deadline = time.monotonic() + 10
    while reader.read(SINCE).reason and time.monotonic() < deadline:
        pass
    assert reader.read(SINCE).records
