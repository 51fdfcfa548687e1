"""Clocks that jump, outages that last, files and disks that fail: usage is kept, billed once, never too early."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sidecar.emulator import Emulator
from sidecar.emulator.keys import SigningKeys
from tests.acceptance.billing.metered import (
    SEALED_NOT_SENT,
    SLOW,
    Metered,
    Product,
    at,
    billed,
    hours,
    marketplace,
    none_too_early,
    problem,
    refused_as_other,
    waiting,
)
from tests.acceptance.billing.small_disk import fill, mounted
from tests.acceptance.support import eventually

pytestmark = pytest.mark.slow  # each starts processes


def ended(sidecar: Metered) -> Metered:
    sidecar.told()
    assert sidecar.ended(SLOW) == 0
    return sidecar


def ledger_file(directory: Path) -> Path:
    (found,) = directory.glob("ledger-*.sqlite3")
    return found


def sealed_hours(*sidecars: Metered) -> list[str]:
    return [event["hour"][8:13] for sidecar in sidecars for event in sidecar.events("hour.sealed")]


# -- outages


def test_after_an_outage_of_three_hours_each_hour_is_billed_in_its_own_place(
    aws: Emulator, tmp_path: Path, product: Product
) -> None:
    sidecar = Metered(aws, tmp_path).start().ready()
    aws.fault("MeterUsage", "drop_before", times=None)
    for hour in (10, 11, 12):
        product.used(sidecar, hour)
        aws.set_clock(now=at(f"{hour + 1}{SEALED_NOT_SENT}"))
        sidecar.until_sealed(f"{hour}:00")
    aws.set_clock(now=at("13:20"))
    sidecar.logged("record.held", SLOW)
    aws.clear_faults()
    aws.set_clock(now=at("13:40"))
    sidecar.until_settled()
    assert hours(aws) == {"10": 10, "11": 11, "12": 12}
    assert waiting(ended(sidecar)) == 0


def test_after_seven_hours_of_outage_unbilled_usage_rolls_forward(
    aws: Emulator, tmp_path: Path, product: Product
) -> None:
    sidecar = Metered(aws, tmp_path).start().ready()
    aws.fault("MeterUsage", "ThrottlingException", times=None)
    product.used(sidecar, 7)
    aws.set_clock(now=at("11:10"))
    sidecar.logged("record.held", SLOW)
    aws.set_clock(now=at("17:30"))
    sidecar.logged("usage.rolled_forward", SLOW)
    product.used(sidecar, 2)
    aws.clear_faults()
    aws.set_clock(now=at("18:10"))
    eventually(lambda: billed(aws) == product.owed, SLOW)
    assert hours(aws) == {"17": 9}
    assert sidecar.metering()["records"]["rejected"] == 0
    assert waiting(ended(sidecar)) == 0


def test_after_seven_hours_an_hour_whose_answer_was_lost_waits_for_a_person(
    aws: Emulator, tmp_path: Path, product: Product
) -> None:
    sidecar = Metered(aws, tmp_path).start().ready()
    product.used(sidecar, 7)
    aws.fault("MeterUsage", "drop_after", times=None)
    aws.set_clock(now=at("11:10"))
    sidecar.logged("record.held", SLOW)
    aws.set_clock(now=at("17:30"))
    assert sidecar.logged("record.rejected", SLOW)["reason"] == "outcome_unknown"
    aws.clear_faults()
    eventually(lambda: sidecar.metering()["records"]["rejected"] == 1, SLOW)  # the status follows at the pass's end
    assert sidecar.metering()["hint"]
    assert waiting(ended(sidecar)) == 7
    assert hours(aws) == {"10": 7}, "it was billed, and not again"


def test_unsent_usage_of_seven_hours_ago_is_billed_in_the_open_hour(
    aws: Emulator, tmp_path: Path, product: Product
) -> None:
    sidecar = Metered(aws, tmp_path).start().ready()
    product.used(sidecar, 7)
    sidecar.killed()
    aws.set_clock(now=at("17:30"))
    again = sidecar.again().start().ready()
    again.logged("usage.rolled_forward", SLOW)
    assert waiting(ended(again)) == 0
    assert hours(aws) == {"17": 7}


# -- clocks


def test_a_clock_set_back_by_hours_seals_no_hour_twice(aws: Emulator, tmp_path: Path, product: Product) -> None:
    sidecar = Metered(aws, tmp_path).start().ready()
    product.used(sidecar, 7)
    aws.set_clock(now=at("11:10"))
    sidecar.until_settled()
    eventually(lambda: hours(aws) == {"10": 7})
    aws.set_clock(now=at("08:30"))
    sidecar.look()
    product.used(sidecar, 5)
    sidecar.look()
    aws.set_clock(now=at("12:10"))
    eventually(lambda: billed(aws) == 12, SLOW)
    assert hours(aws) == {"10": 7, "11": 5}
    ended(sidecar)
    assert len(sealed_hours(sidecar)) == len(set(sealed_hours(sidecar)))
    assert none_too_early(aws)
    assert waiting(sidecar) == 0


def test_a_clock_set_forward_by_hours_bills_every_hour_once(aws: Emulator, tmp_path: Path, product: Product) -> None:
    sidecar = Metered(aws, tmp_path).start().ready()
    product.used(sidecar, 7)
    aws.set_clock(now=at("13:30"))
    eventually(lambda: hours(aws) == {"10": 7}, SLOW)
    product.used(sidecar, 5)
    assert waiting(ended(sidecar)) == 0
    assert hours(aws) == {"10": 7, "13": 5}
    assert none_too_early(aws)


def test_a_clock_set_back_by_hours_sends_nothing_from_the_future(
    aws: Emulator, tmp_path: Path, product: Product
) -> None:
    """Hours were sealed by the wrong clock. What is in them waits for its time, here past the end."""
    sidecar = Metered(aws, tmp_path).start().ready()
    aws.fault("MeterUsage", "ThrottlingException", times=None)
    product.used(sidecar, 7)
    aws.set_clock(now=at("13:30"))
    sidecar.until_sealed("10:00")
    product.used(sidecar, 5)
    aws.set_clock(now=at("14" + SEALED_NOT_SENT))
    sidecar.until_sealed("13:00")
    aws.set_clock(now=at("10:40"))
    sidecar.look()
    aws.clear_faults()
    product.used(sidecar, 3)
    ended(sidecar)
    assert billed(aws) + waiting(sidecar) == product.owed
    assert [call.answer for call in aws.calls() if call.answer == "TimestampOutOfBoundsException"] == []
    assert none_too_early(aws)


def test_usage_under_a_fast_clock_is_billed_when_its_hour_comes(
    aws: Emulator, tmp_path: Path, product: Product
) -> None:
    sidecar = Metered(aws, tmp_path).start().ready()
    product.used(sidecar, 7)
    aws.set_clock(now=at("13" + SEALED_NOT_SENT))
    sidecar.until_sealed("10:00")
    aws.set_clock(now=at("10:40"))
    sidecar.look()
    product.used(sidecar, 3)
    aws.set_clock(now=at("14:10"))
    eventually(lambda: billed(aws) == product.owed, SLOW)
    ended(sidecar)
    assert len(sealed_hours(sidecar)) == len(set(sealed_hours(sidecar)))
    assert none_too_early(aws)
    assert waiting(sidecar) == 0


def test_ended_while_the_clock_is_behind_nothing_is_stamped_in_the_future(
    aws: Emulator, tmp_path: Path, product: Product
) -> None:
    """The hour that is open lies ahead of the clock: it cannot be sealed yet, and is left for the next start."""
    sidecar = Metered(aws, tmp_path).start().ready()
    product.used(sidecar, 7)
    aws.set_clock(now=at("12:10"))
    eventually(lambda: billed(aws) == 7, SLOW)
    aws.set_clock(now=at("09:30"))
    sidecar.look()
    product.used(sidecar, 5)
    ended(sidecar)
    assert billed(aws) + waiting(sidecar) == product.owed
    assert waiting(sidecar) == 5
    assert len(sidecar.events("usage.left_behind")) == 1
    assert none_too_early(aws)
    aws.set_clock(now=at("12:50"))
    again = sidecar.again().start().ready()
    assert waiting(ended(again)) == 0
    assert hours(aws) == {"10": 7, "12": 5}


def test_usage_postponed_by_a_fast_clock_is_billed_by_the_next_pod(
    keys: SigningKeys, tmp_path: Path, product: Product
) -> None:
    with marketplace(keys, "58:20") as aws:
        sidecar = Metered(aws, tmp_path).start().ready()
        aws.set_clock(now=at("10:20"))
        sidecar.look()
        product.used(sidecar, 5)
        said = sidecar.logged("usage.postponed", SLOW)
        assert (said["open_hour"], said["quantities"]) == ("2026-01-04T10:00:00.000Z", {"requests": "5"})
        assert "clock" in sidecar.metering()["hint"]
        sidecar.killed()
        following = Metered(aws, tmp_path).start().ready()
        following.look()
        assert following.metering()["hint"] is None
        ended(following)
        assert hours(aws) == {"10": 5}


def test_late_usage_of_a_sealed_hour_is_billed_once_in_the_open_one(
    aws: Emulator, tmp_path: Path, product: Product
) -> None:
    sidecar = Metered(aws, tmp_path).start().ready()
    product.used(sidecar, 7)
    aws.set_clock(now=at("11:10"))
    eventually(lambda: hours(aws) == {"10": 7}, SLOW)
    assert product.use(sidecar, 2, at="2026-01-02T10:30:00Z") == 200
    assert product.use(sidecar, 3) == 200
    sidecar.killed()
    again = sidecar.again().start().ready()
    assert waiting(ended(again)) == 0
    assert hours(aws) == {"10": 7, "11": 5}


# -- files


def test_a_corrupt_ledger_is_set_aside_and_the_next_hour_is_metered(
    aws: Emulator, tmp_path: Path, product: Product
) -> None:
    sidecar = Metered(aws, tmp_path).start().ready()
    product.used(sidecar, 7)
    ended(sidecar)
    assert hours(aws) == {"10": 7}
    path = ledger_file(tmp_path)
    path.write_bytes(b"no database any more" * 400)
    before = path.read_bytes()
    again = sidecar.again().start().ready()
    aside = Path(again.logged("ledger.set_aside", SLOW)["path"])
    assert aside.read_bytes() == before
    product.used(again, 5)
    aws.set_clock(now=at("11:10"))
    again.look()
    assert hours(aws) == {"10": 7}, "the current hour counts as sealed: it may have been sent"
    aws.set_clock(now=at("12:10"))
    eventually(lambda: hours(aws) == {"10": 7, "11": 5}, SLOW)
    assert waiting(ended(again)) == 0
    assert refused_as_other(aws) == []


def damaged(path: Path) -> None:
    """Garbage in the middle of the pages, the header as it was."""
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(max(path.stat().st_size - 4096, 4096)))


def cut_off(path: Path) -> None:
    os.truncate(path, 6000)


@pytest.mark.parametrize("harm", [damaged, cut_off])
def test_a_ledger_that_is_damaged_inside_is_set_aside_too(
    aws: Emulator, tmp_path: Path, product: Product, harm: Callable[[Path], None]
) -> None:
    sidecar = Metered(aws, tmp_path).start().ready()
    product.used(sidecar, 7)
    ended(sidecar)
    harm(ledger_file(tmp_path))
    again = sidecar.again().start().ready()
    again.logged("ledger.set_aside", SLOW)
    product.used(again, 5)
    assert again.probe("/readyz")[0] == 200
    aws.set_clock(now=at("12:10"))
    eventually(lambda: hours(aws) == {"10": 7, "11": 5}, SLOW)
    ended(again)


def test_a_ledger_of_a_newer_version_is_left_untouched_and_another_is_begun(
    aws: Emulator, tmp_path: Path, product: Product
) -> None:
    sidecar = Metered(aws, tmp_path).start().ready()
    product.used(sidecar, 7)
    ended(sidecar)
    path = ledger_file(tmp_path)
    with sqlite3.connect(path) as connection:
        connection.execute(
            "INSERT INTO migration (version, name, applied_at)"
            " SELECT max(version) + 1, 'of the future', 'later' FROM migration"
        )
    connection.close()
    before = path.read_bytes()
    again = sidecar.again().start().ready()
    assert Path(again.logged("ledger.passed_over", SLOW)["path"]) == path
    product.used(again, 5)
    aws.set_clock(now=at("12:10"))
    eventually(lambda: hours(aws) == {"10": 7, "11": 5}, SLOW)
    ended(again)
    assert path.read_bytes() == before
    assert refused_as_other(aws) == []


# -- a full disk


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A volume of two megabytes."""
    with mounted(tmp_path / "volume") as point:
        if point is None:
            pytest.skip("mounting a small volume is not permitted here")
        yield point


def test_a_full_disk_refuses_usage_stops_no_traffic_and_recovers_by_itself(
    aws: Emulator, tmp_path: Path, product: Product, small_disk: Path
) -> None:
    sidecar = Metered(aws, tmp_path, SIDECAR_STATE_DIR=str(small_disk)).start().ready()
    product.used(sidecar, 7)
    ballast = fill(small_disk)
    eventually(lambda: product.use(sidecar, 1) == 503, SLOW)
    assert problem(sidecar) == (503, "ledger_full")
    eventually(lambda: sidecar.probe("/readyz")[0] == 503, SLOW)
    assert sidecar.probe("/entitled")[0] == 200
    assert sidecar.probe("/healthz")[0] == 200
    ballast.unlink()
    product.send_again(sidecar)
    eventually(lambda: sidecar.probe("/readyz")[0] == 200, SLOW)
    aws.set_clock(now=at("11:10"))
    eventually(lambda: billed(aws) == product.owed, SLOW)
    assert waiting(ended(sidecar)) == 0
    assert hours(aws) == {"10": int(product.owed)}


def failing_at(aws: Emulator, sidecar: Metered, words: str) -> None:
    """Wait for a pass at this time, which fails."""
    sidecar.logged("ledger.failed", SLOW)
    aws.set_clock(now=at(words))
    eventually(lambda: (sidecar.metering()["passed_at"] or "")[11:16] == words, SLOW)


def test_a_disk_that_is_full_for_too_long_is_overdue_metering_until_it_has_room(
    aws: Emulator, tmp_path: Path, product: Product, small_disk: Path
) -> None:
    shut = {"SIDECAR_STATE_DIR": str(small_disk), "SIDECAR_ON_METERING_OVERDUE": "shut"}
    sidecar = Metered(aws, tmp_path, **shut).start().ready()
    product.used(sidecar, 7)
    ballast = fill(small_disk)
    eventually(lambda: product.use(sidecar, 1) == 503, SLOW)
    failing_at(aws, sidecar, "10:30")
    assert sidecar.probe("/entitled")[0] == 200
    aws.set_clock(now=at("12:40"))
    sidecar.shows("unavailable", SLOW)
    assert sidecar.logged("metering.overdue")["since"] < "2026-01-02T11"
    ballast.unlink()
    sidecar.shows("entitled", SLOW)
    product.send_again(sidecar)
    ended(sidecar)
    assert waiting(sidecar) == 0
    assert billed(aws) == product.owed


def test_a_state_directory_that_cannot_be_used_is_overdue_metering(aws: Emulator, tmp_path: Path) -> None:
    unusable = {"SIDECAR_STATE_DIR": "/proc/nowhere", "SIDECAR_ON_LEDGER_UNUSABLE": "alert"}
    sidecar = Metered(aws, tmp_path, **unusable, SIDECAR_ON_METERING_OVERDUE="shut").start()
    sidecar.shows("entitled", SLOW)
    failing_at(aws, sidecar, "10:30")
    assert sidecar.probe("/entitled")[0] == 200
    aws.set_clock(now=at("12:40"))
    sidecar.shows("unavailable", SLOW)
    assert sidecar.probe("/entitled")[1]["reason"] == "metering_overdue"


def test_a_gate_does_not_open_on_a_state_directory_that_cannot_be_used(aws: Emulator, tmp_path: Path) -> None:
    sidecar = Metered(aws, tmp_path, SIDECAR_STATE_DIR="/proc/nowhere").start()
    sidecar.shows("misconfigured", SLOW)
    found = sidecar.probe("/entitled")[1]
    assert found["reason"] == "ledger_missing_directory"
    assert "/proc belongs to user 0" in found["hint"]
    assert sidecar.events("gate.opened") == []


def test_killed_on_a_full_disk_nothing_acknowledged_is_lost(
    aws: Emulator, tmp_path: Path, product: Product, small_disk: Path
) -> None:
    sidecar = Metered(aws, tmp_path, SIDECAR_STATE_DIR=str(small_disk)).start().ready()
    product.used(sidecar, 7)
    ballast = fill(small_disk)
    for _ in range(200):
        if product.use(sidecar, 1) != 200:
            break
    sidecar.killed()
    again = sidecar.again().start()
    again.shows("entitled", SLOW)
    assert again.probe("/entitled")[0] == 200
    ballast.unlink()
    again.takes_usage()
    product.send_again(again)
    ended(again)
    assert waiting(again) == 0
    assert billed(aws) == product.owed


def test_ended_on_a_full_disk_what_is_left_is_logged_whole(
    aws: Emulator, tmp_path: Path, product: Product, small_disk: Path
) -> None:
    sidecar = Metered(aws, tmp_path, SIDECAR_STATE_DIR=str(small_disk)).start().ready()
    product.used(sidecar, 7)
    ballast = fill(small_disk)
    eventually(lambda: product.use(sidecar, 1) == 503, SLOW)
    ended(sidecar)
    ballast.unlink()
    left = sum(int(event["left"]["quantity"]) for event in sidecar.events("usage.left_behind"))
    assert left == waiting(sidecar) == product.owed - billed(aws)
