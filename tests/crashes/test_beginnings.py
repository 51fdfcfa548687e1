"""A sidecar that is killed while it begins leaves the present hour open; a push in another hour would be named."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sidecar.emulator.keys import SigningKeys
from tests.acceptance.billing.metered import marketplace
from tests.crashes.beginnings import CUT_OFF, NOTHING, WHOLE, Beginnings, Outcome, left_in, main, report

HOUR = datetime(2026, 1, 2, 10, tzinfo=UTC)


@pytest.mark.slow
def test_what_is_pushed_after_killed_beginnings_is_in_the_present_hour(tmp_path: Path) -> None:
    with marketplace(SigningKeys((1,))) as aws:
        told = Beginnings(aws, tmp_path, 1)
        for number in range(4):
            told.run(f"{number}")
    assert told.outcome.wrong == []
    assert told.outcome.beginnings == 4
    assert 4 <= told.outcome.left.total() <= 12


@pytest.mark.parametrize(
    ("hours", "failed", "wrong"),
    [
        ([HOUR], [], 0),
        ([], [], 1),
        ([HOUR + timedelta(hours=1)], [], 1),
        ([HOUR, HOUR + timedelta(hours=1)], [], 1),
        ([HOUR], [Path("ledger-a.sqlite3.corrupt-20260102T100000Z")], 1),
    ],
    ids=["the present hour", "lost", "the next hour", "twice", "set aside"],
)
def test_only_a_push_in_the_present_hour_is_right(hours: list[datetime], failed: list[Path], wrong: int) -> None:
    outcome = Outcome()
    outcome.tell("0", HOUR, hours, failed)
    assert len(report(1, outcome)["wrong"]) == wrong


def test_what_a_kill_left_is_told_apart(tmp_path: Path) -> None:
    assert left_in(tmp_path) == NOTHING
    path = tmp_path / "ledger-a.sqlite3"
    path.write_bytes(b"")
    assert left_in(tmp_path) == CUT_OFF
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE meta (owner TEXT)")
    connection.commit()
    assert left_in(tmp_path) == CUT_OFF
    connection.execute("INSERT INTO meta VALUES ('pod')")
    connection.commit()
    connection.close()
    assert left_in(tmp_path) == WHOLE


def test_a_campaign_of_nothing_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--beginnings", "0"])
    assert ended.value.code == 2
    assert "--beginnings: 0 is not 1 or more." in capsys.readouterr().err
