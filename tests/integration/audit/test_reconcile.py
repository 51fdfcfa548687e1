"""Real exports of real ledgers against what the emulator billed."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from sidecar.emulator import Emulator
from tests.integration.audit.conftest import Compare, Run
from tests.integration.audit.support import Pod, events_of, fetched, write_events

Files = tuple[Path, Path, Path, Path]
"""Two exports, the CloudTrail file and the feed."""


@pytest.fixture
def files(aws: Emulator, pods: tuple[Pod, Pod], tmp_path: Path) -> Files:
    """Three hours of two pods, all settled."""
    for _ in range(3):
        pods[0].hour("7", "0.25")
        pods[1].hour("7", "1.5")
    return (
        pods[0].export(tmp_path / "pod-1.jsonl"),
        pods[1].export(tmp_path / "pod-2.jsonl"),
        fetched(aws, "cloudtrail", tmp_path / "trail.json"),
        fetched(aws, "daily-usage", tmp_path / "feed.csv"),
    )


def kinds(found: dict[str, Any]) -> dict[str, int]:
    counts: dict[str, int] = found["counts"]
    return counts


def test_what_was_used_and_billed_is_equal(files: Files, compare: Compare) -> None:
    first, second, trail, feed = files
    found = compare(first, second, "--cloudtrail", trail, "--daily-usage", feed)
    assert found["equal"]
    assert found["totals"] == [
        {"dimension": "gigabytes", "ours": "5.25", "cloudtrail": "5.25", "daily_usage": "5.25"},
        {"dimension": "requests", "ours": "42", "cloudtrail": "42", "daily_usage": "42"},
    ]
    assert found["read"]["exports"]["records"] == 12
    assert found["notes"] == []


def test_the_same_export_twice_counts_once(files: Files, compare: Compare) -> None:
    first, second, trail, _ = files
    found = compare(first, second, first, "--cloudtrail", trail, trail)
    assert found["equal"]
    assert found["totals"][1]["ours"] == "42"


def test_gzip_and_lines_of_events_are_read(files: Files, tmp_path: Path, compare: Compare) -> None:
    first, second, trail, _ = files
    packed = tmp_path / "packed"
    packed.write_bytes(gzip.compress(first.read_bytes()))
    lines = tmp_path / "events.jsonl.gz"
    lines.write_bytes(gzip.compress("".join(json.dumps(one) + "\n" for one in events_of(trail)).encode()))
    assert compare(packed, second, "--cloudtrail", lines)["equal"]


def test_a_pod_whose_export_is_missing_is_billed_and_unknown(files: Files, compare: Compare) -> None:
    first, _, trail, feed = files
    found = compare(first, "--cloudtrail", trail)
    assert kinds(found) == {"billed_twice": 3, "billed_unknown": 3}, "equal quantities look like a second billing"
    found = compare(first, "--daily-usage", feed)
    assert kinds(found) == {"other_quantity": 4}


def test_an_event_that_is_missing_is_ours_and_not_billed(files: Files, tmp_path: Path, compare: Compare) -> None:
    first, second, trail, _ = files
    events = events_of(trail)
    gone = events.pop()
    found = compare(first, second, "--cloudtrail", write_events(tmp_path / "less.json", events))
    assert kinds(found) == {"not_billed": 1}
    assert found["differences"][0]["metering_record_id"] == gone["responseElements"]["meteringRecordId"]


def test_another_quantity_in_an_event_is_named(files: Files, tmp_path: Path, compare: Compare) -> None:
    first, second, trail, _ = files
    events = events_of(trail)
    events[-1]["requestParameters"]["usageQuantityAsDecimal"] = "8"
    found = compare(first, second, "--cloudtrail", write_events(tmp_path / "more.json", events))
    assert kinds(found) == {"other_quantity": 1}
    (one,) = found["differences"]
    assert (one["ours"], one["billed"], one["workload"]) == ("7", "8", "pod-2")


def test_events_of_either_field_for_quantities_are_the_same_bill(
    files: Files, tmp_path: Path, compare: Compare
) -> None:
    first, second, trail, _ = files
    events = events_of(trail)
    asked = events[-1]["requestParameters"]
    asked["usageQuantity"] = int(asked.pop("usageQuantityAsDecimal"))
    assert kinds(compare(first, second, "--cloudtrail", write_events(tmp_path / "both.json", events))) == {}


def test_a_second_record_id_for_one_quantity_is_billed_twice(files: Files, tmp_path: Path, compare: Compare) -> None:
    first, second, trail, _ = files
    events = events_of(trail)
    events.append({**events[-1], "responseElements": {"meteringRecordId": "again"}})
    found = compare(first, second, "--cloudtrail", write_events(tmp_path / "twice.json", events))
    assert kinds(found) == {"billed_twice": 1}
    events[-1] = events[-2]
    assert compare(first, second, "--cloudtrail", write_events(tmp_path / "once.json", events))["equal"]


def test_a_record_id_in_two_hours_is_a_contradiction(files: Files, tmp_path: Path, compare: Compare) -> None:
    first, second, trail, _ = files
    events = events_of(trail)
    events[-1]["requestParameters"]["timestamp"] = "Jan 1, 2026 1:59:59 AM"
    found = compare(first, second, "--cloudtrail", write_events(tmp_path / "moved.json", events))
    assert kinds(found) == {"contradiction": 1}
    assert "2026-01-01T01:00Z" in found["differences"][0]["note"]


def test_a_record_rolled_forward_counts_once_where_it_went(
    aws: Emulator, pods: tuple[Pod, Pod], tmp_path: Path, compare: Compare
) -> None:
    pod = pods[0]
    (late,) = pod.hour("5", submit=False)
    pod.roll_forward(late)
    pod.hour("7")
    found = compare(pod.export(tmp_path / "e"), "--cloudtrail", fetched(aws, "cloudtrail", tmp_path / "t"))
    assert found["equal"]
    assert found["totals"][0]["ours"] == "12"


def test_a_record_rolled_forward_that_aws_had_billed_is_billed_twice(
    aws: Emulator, pods: tuple[Pod, Pod], tmp_path: Path, compare: Compare
) -> None:
    pod = pods[0]
    (lost,) = pod.hour("5", submit=False)
    record_id = pod.bill(lost)
    pod.roll_forward(lost)
    pod.hour("7")
    export, trail = pod.export(tmp_path / "e"), fetched(aws, "cloudtrail", tmp_path / "t")
    feed, draft = fetched(aws, "daily-usage", tmp_path / "f"), tmp_path / "draft.json"
    found = compare(export, "--cloudtrail", trail, "--daily-usage", feed, "--adjustments", draft)
    assert kinds(found) == {"billed_twice": 1, "other_quantity": 1}
    assert found["differences"][0]["metering_record_id"] == record_id
    (entry,) = json.loads(draft.read_text())["request"]["billingAdjustmentRequestEntries"]
    assert entry["adjustmentReasonCode"] == "INCORRECT_METERING"
    assert entry["originalInvoiceId"] is None


def test_a_record_that_waits_is_named_with_its_state_once_aws_billed_it(
    aws: Emulator, pods: tuple[Pod, Pod], tmp_path: Path, compare: Compare
) -> None:
    pod = pods[0]
    (lost,) = pod.hour("5", submit=False)
    export = pod.export(tmp_path / "e")
    for flag, name in (("--cloudtrail", "cloudtrail"), ("--daily-usage", "daily-usage")):
        (one,) = compare(export, flag, fetched(aws, name, tmp_path / name))["differences"]
        assert (one["kind"], one["state"], one["ours"], one["billed"]) == ("not_billed", "sealed", "5", None)
    assert compare(export)["equal"], "without data of AWS's nothing says that it is not billed"
    pod.bill(lost)
    trail = fetched(aws, "cloudtrail", tmp_path / "t")
    (one,) = compare(export, "--cloudtrail", trail)["differences"]
    assert (one["kind"], one["state"], one["workload"]) == ("billed_unknown", "sealed", "pod-1")
    pod.submit(lost)
    later = pod.export(tmp_path / "later")
    assert compare(export, later, "--cloudtrail", trail)["equal"], "the later export supersedes the earlier one"


def test_days_outside_the_period_are_left_out(files: Files, compare: Compare) -> None:
    first, second, trail, feed = files
    both = ("--cloudtrail", trail, "--daily-usage", feed)
    found = compare(first, second, *both, "--from", "2026-01-02", "--to", "2026-01-02")
    assert found["equal"]
    assert found["totals"][1]["ours"] == "28"
    assert found["read"]["exports"]["ignored"]["outside_period"] == 4
    assert compare(first, "--cloudtrail", trail, "--from", "2026-01-04")["totals"] == []


def test_a_log_stands_in_for_an_export(files: Files, tmp_path: Path, compare: Compare) -> None:
    first, second, trail, feed = files
    log = tmp_path / "log"
    lines = [json.dumps({"event": "gate.opened"})]
    for line in second.read_text().splitlines():
        fields = json.loads(line)
        if fields["record"] == "usage":
            lines.append(json.dumps({**{k: v for k, v in fields.items() if k != "record"}, "event": "record.settled"}))
    log.write_text("\n".join(lines) + "\n" + lines[-1][:40])
    found = compare(first, log, second, "--cloudtrail", trail, "--daily-usage", feed)
    assert found["equal"]
    assert found["read"]["exports"]["ignored"]["truncated_last_line"] == 1
    assert any("incomplete" in note for note in found["notes"])


def test_events_of_another_product_are_not_ours(files: Files, tmp_path: Path, compare: Compare) -> None:
    first, second, trail, _ = files
    events = events_of(trail)
    events.append({**events[0], "requestParameters": {**events[0]["requestParameters"], "productCode": "other"}})
    events[-1]["responseElements"] = {"meteringRecordId": "theirs"}
    both = write_events(tmp_path / "both.json", events)
    found = compare(first, second, "--cloudtrail", both)
    assert found["equal"]
    assert found["read"]["cloudtrail"]["ignored"] == {"other_product": 1}
    assert kinds(compare(first, second, "--cloudtrail", both, "--product-code", "other")) != {}


def test_records_without_a_region_are_noted_where_the_feed_is_compared(files: Files, compare: Compare) -> None:
    first, second, trail, feed = files
    for path in (first, second):
        path.write_text(path.read_text().replace('"region": "us-east-1", ', ""))
    assert compare(first, second, "--cloudtrail", trail)["equal"]
    found = compare(first, second, "--daily-usage", feed)
    assert any("12 settled records name no Region" in note for note in found["notes"])


def test_without_anything_of_aws_the_result_says_that_nothing_was_compared(files: Files, run: Run) -> None:
    code, _, err = run(*files[:2])
    assert code == 0
    assert "Nothing was compared with AWS" in err
    assert "\nequal" not in err


def test_contradictory_exports_differ_even_without_aws(files: Files, tmp_path: Path, compare: Compare) -> None:
    other = tmp_path / "other"
    other.write_text(files[0].read_text().replace('"quantity": "7"', '"quantity": "8"', 1))
    assert kinds(compare(files[0], other)) == {"contradiction": 1}
