"""`usage reconcile` as a command: exit codes, files, messages."""

from __future__ import annotations

import io
import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sidecar.__main__ import main
from sidecar.cli import reconcile
from sidecar.errors import Exit
from tests.fakes.config import NOWHERE

Capture = pytest.CaptureFixture[str]
RECORD = {
    "record": "usage",
    "workload": "pod-1",
    "product_code": "p",
    "region": "us-east-1",
    "hour": "2025-11-24T16:00:00Z",
    "dimension": "requests",
    "state": "settled",
    "quantity": "7",
    "metering_record_id": "r-1",
    "requests": [],
}
EVENT = {
    "eventSource": "metering-marketplace.amazonaws.com",
    "eventName": "MeterUsage",
    "awsRegion": "us-east-1",
    "requestParameters": {
        "timestamp": "Nov 24, 2025 4:59:59 PM",
        "usageQuantity": 7,
        "usageDimension": "requests",
        "productCode": "p",
    },
    "responseElements": {"meteringRecordId": "r-1"},
}


@pytest.fixture
def export(tmp_path: Path) -> Path:
    path = tmp_path / "pod.jsonl"
    path.write_text(json.dumps(RECORD) + "\n")
    return path


@pytest.fixture
def trail(tmp_path: Path) -> Path:
    path = tmp_path / "trail.json"
    path.write_text(json.dumps({"Records": [EVENT]}))
    return path


@pytest.fixture
def more(tmp_path: Path) -> Path:
    """A trail in which AWS billed more."""
    path = tmp_path / "more.json"
    event: dict[str, Any] = {**EVENT, "requestParameters": {**EVENT["requestParameters"], "usageQuantity": 9}}  # type: ignore[dict-item]
    path.write_text(json.dumps({"Records": [event]}))
    return path


def code(*arguments: object) -> int:
    try:
        return main(["usage", "reconcile", *map(str, arguments)], str(NOWHERE))
    except SystemExit as exc:
        return int(exc.code or 0)


def test_equal_is_0_and_different_is_1(export: Path, trail: Path, more: Path, capsys: Capture) -> None:
    assert code(export, "--cloudtrail", trail) == Exit.OK
    out, err = capsys.readouterr()
    assert out == "DIMENSION\tOURS\tCLOUDTRAIL\nrequests\t7\t7\n"
    assert err.endswith("\nequal\n")
    assert code(export, "--cloudtrail", more) == 1
    out, err = capsys.readouterr()
    assert "other_quantity\tcloudtrail\t2025-11-24T16:00Z\trequests\tus-east-1\t7\t9\tsettled\tr-1\tpod-1" in out
    assert err.endswith("\ndifferent: 1 other_quantity\n")


def test_what_cannot_be_read_is_65_and_nothing_is_compared(export: Path, tmp_path: Path, capsys: Capture) -> None:
    bad = tmp_path / "bad.jsonl"
    bad.write_text(json.dumps(RECORD) + "\nnonsense\n")
    page = tmp_path / "page.html"
    assert code(export, bad, "--cloudtrail", tmp_path / "none", "--html", page) == Exit.REFUSED
    out, err = capsys.readouterr()
    assert out == ""
    assert f"{bad}, line 2: " in err
    assert f"{tmp_path / 'none'}: cannot be opened" in err
    assert "nothing was compared" in err
    assert not page.exists()
    assert "Traceback" not in err


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["x", "--from", "yesterday"],
        ["x", "--to", "2025-13-01"],
        ["x", "--feed-column", "color=blue"],
        ["x", "--feed-column", "day="],
        ["x", "--from", "2025-11-02", "--to", "2025-11-01"],
    ],
)
def test_a_wrong_flag_is_a_usage_error(arguments: list[str], capsys: Capture) -> None:
    assert code(*arguments) == 2
    assert "usage" in capsys.readouterr().err


def test_files_without_any_record_are_noted(tmp_path: Path, trail: Path, capsys: Capture) -> None:
    empty = tmp_path / "empty"
    empty.write_text("")
    assert code(empty, "--cloudtrail", trail, "--to", "2025-11-01") == Exit.OK
    assert "No record is in what was read" in capsys.readouterr().err


def test_stdin_is_an_input_once(export: Path, trail: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    with export.open() as file:
        monkeypatch.setattr(sys, "stdin", file)
        assert code("-", "--cloudtrail", trail) == Exit.OK
    assert code("-", "--cloudtrail", "-") == Exit.REFUSED
    assert "stdin can be read once" in capsys.readouterr().err


def test_a_page_and_a_draft_are_written_and_replaced(export: Path, more: Path, tmp_path: Path, capsys: Capture) -> None:
    page, draft = tmp_path / "page.html", tmp_path / "draft.json"
    for _ in range(2):  # the second time they are replaced
        assert code(export, "--cloudtrail", more, "--html", page, "--adjustments", draft) == 1
    assert "other_quantity" in page.read_text()
    document = json.loads(draft.read_text())
    assert document["sent"] is False
    assert document["review"][0]["findings"][0]["quantity"] == "2"
    assert stat.S_IMODE(draft.stat().st_mode) == 0o600
    assert "nothing was sent to AWS" in capsys.readouterr().err
    assert sorted(one.name for one in tmp_path.iterdir()) == ["draft.json", "more.json", "page.html", "pod.jsonl"]


@pytest.mark.parametrize("flag", ["--html", "--adjustments"])
def test_a_file_of_someone_else_is_never_replaced(export: Path, trail: Path, flag: str, capsys: Capture) -> None:
    before = export.read_bytes()
    assert code(trail, "--cloudtrail", trail, flag, export) == Exit.REFUSED
    assert export.read_bytes() == before
    err = capsys.readouterr().err
    assert str(export) in err
    assert flag in err


def test_a_file_in_a_directory_that_is_missing_is_refused_first(export: Path, tmp_path: Path, capsys: Capture) -> None:
    assert code(export, "--html", tmp_path / "none" / "page.html") == Exit.REFUSED
    assert "directory does not exist" in capsys.readouterr().err
    assert code(export, "--html", tmp_path / "same", "--adjustments", tmp_path / "same") == Exit.REFUSED
    assert "the same file" in capsys.readouterr().err


def test_a_temporary_file_that_cannot_grow_is_said(export: Path) -> None:
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))\n"
    run = "import sys; from sidecar.__main__ import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-B", "-c", limit + run, "usage", "reconcile", str(export)]  # -B: no module is cut
    line = json.dumps({**RECORD, "dimension": "d" * 2000, "metering_record_id": "r"}) + "\n"
    export.write_text(line * 12_000)
    # An empty environment: what measures coverage would write a file that cannot grow either.
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env={})
    assert (done.returncode, done.stdout) == (Exit.REFUSED, "")
    assert "TMPDIR" in done.stderr
    assert "Traceback" not in done.stderr


def test_rows_go_to_a_file_without_a_name_in_tmpdir(export: Path, tmp_path: Path) -> None:
    look = (
        "import os, sys; from sidecar.audit import spill; from sidecar.audit.rows import Row\n"
        "with spill.temporary_spill() as rows:\n"
        "    rows.add(Row(n, 'd' * 1000, 'settled', 1) for n in range(30_000))\n"
        "    print([os.readlink(one) for n in range(3, 20) if os.path.islink(one := f'/proc/self/fd/{n}')])\n"
    )
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    before = sorted(os.listdir(tmp_path))
    command = [sys.executable, "-c", look]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=True)
    assert f"{tmp_path}/" in done.stdout
    assert "(deleted)" in done.stdout
    assert sorted(os.listdir(tmp_path)) == before


def test_progress_is_shown_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    for stream, shown in ((Terminal(), True), (io.StringIO(), False)):
        monkeypatch.setattr(sys, "stderr", stream)
        reading = reconcile.Reading()
        reading.advance("dir/export.jsonl", 50, 200)
        reading.progress.clear()
        assert ("export.jsonl 25 %" in stream.getvalue()) is shown
        assert bool(stream.getvalue()) is shown
