"""How doctor shows what it found."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from sidecar.cli import doctor
from sidecar.doctor.context import Context

ONE = {"id": "region", "status": "fail", "seen": "none\nat all", "rule": "There is one.", "fix": "Set it.\nThen again."}
FINE = {"id": "dns", "status": "pass", "seen": "fine", "rule": "It resolves.", "fix": ""}
ODD = {"id": "clock", "status": "warn", "seen": "off", "rule": "It agrees.", "fix": "Set the clock."}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def context(tmp_path: Path) -> Context:
    """A container with wrong settings: nothing of AWS is asked."""
    env = {"SIDECAR_PRODUCT_CODE": "", "POD_UID": "p", "SIDECAR_STATE_DIR": str(tmp_path)}
    return Context(env=env, manifest_path=tmp_path / "none", read_instance_region=lambda env: None, tokens=())


def test_what_fails_has_its_rule_and_each_fix_in_a_line_of_its_own() -> None:
    lines = doctor.table({"ok": False, "checks": [FINE, ONE]}).splitlines()
    assert lines == [
        "CHECK\tSTATUS\tSEEN",
        "dns\tpass\tfine",
        "region\tfail\tnone at all",
        "\trule\tThere is one.",
        "\tfix\tSet it.",
        "\tfix\tThen again.",
        "1 failing: region",
    ]


def test_a_warning_has_its_fix_and_is_no_failure() -> None:
    lines = doctor.table({"ok": True, "checks": [ODD]}).splitlines()
    assert "\tfix\tSet the clock." in lines
    assert lines[-1] == "nothing fails"


def test_progress_goes_to_a_terminal_and_is_wiped(context: Context) -> None:
    out, progress = io.StringIO(), Terminal()
    assert doctor.run(context, False, out, progress) == 1
    assert "checking settings" in progress.getvalue()
    assert progress.getvalue().endswith("\r\x1b[K")
    assert "\x1b" not in out.getvalue()


def test_no_progress_goes_to_a_file(context: Context) -> None:
    out, progress = io.StringIO(), io.StringIO()
    doctor.run(context, True, out, progress)
    assert progress.getvalue() == ""
    assert json.loads(out.getvalue())["ok"] is False


def test_columns_are_aligned_on_a_terminal_and_apart_by_tabs_elsewhere(context: Context) -> None:
    terminal, file = Terminal(), io.StringIO()
    for out in (terminal, file):
        doctor.run(context, False, out, io.StringIO())
    assert "\t" not in terminal.getvalue()
    starts = [line.index(" skip ") for line in terminal.getvalue().splitlines() if " skip " in line]
    assert starts
    assert set(starts) == {doctor.COLUMN - 1}
    assert "\nsettings\tfail\t" in file.getvalue()
