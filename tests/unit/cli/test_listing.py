"""The command line of `listing check`: what it takes, how it ends, where it writes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sidecar.cli.parser import run
from sidecar.listing.image.rules import OF_FILES
from sidecar.listing.manifest.rules import RULES as MANIFEST_RULES
from tests.unit.listing.image.support import Layout

CODE = "8f7k2m1q9w3e5r7t0y2u4i6o8"
Capture = pytest.CaptureFixture[str]


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    """A manifest with two warnings and two notes."""
    path = tmp_path / "bad.yaml"
    path.write_text(f"products:\n  - code: {CODE}\n")
    return path


@pytest.fixture
def good(tmp_path: Path) -> Path:
    """A manifest with notes alone."""
    path = tmp_path / "good.yaml"
    path.write_text(f"products:\n  - {{code: {CODE}, entitlement_check: meter_usage, dimensions: [requests]}}\n")
    return path


def code(*arguments: object) -> int:
    try:
        return run(["listing", "check", *map(str, arguments)], Path("/nowhere/product.yaml"))
    except SystemExit as exc:
        return int(exc.code or 0)


def test_findings_end_with_1_and_notes_alone_with_0(bad: Path, good: Path, capsys: Capture) -> None:
    assert code("--manifest", good) == 0
    assert code("--manifest", bad) == 1
    assert code("--manifest", good, "--manifest", bad) == 1
    out = capsys.readouterr().out
    assert "manifest-check-open" in out
    assert out.splitlines()[-1].startswith("0 errors, 2 warnings, 4 notes; 16 rules checked")


def test_strict_ends_with_1_where_a_rule_could_not_be_checked(good: Path, tmp_path: Path) -> None:
    image = Layout(tmp_path / "image").image(b"\x28\xb5\x2f\xfd zstd").written()
    assert code("--manifest", good, "--strict") == 0
    assert code("--manifest", good, "--image", image) == 0
    assert code("--manifest", good, "--image", image, "--strict") == 1
    ids = [rule.id for rule in (*OF_FILES, *MANIFEST_RULES)]
    ignored = [word for id_ in ids for word in ("--ignore", id_)]
    assert code("--manifest", good, "--image", image, "--strict", *ignored) == 0


def test_what_is_ignored_is_counted(bad: Path, capsys: Capture) -> None:
    assert code("--manifest", bad, "--ignore", "manifest-check-open", "--ignore", "manifest-key-open") == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.endswith("; ignored: 1 of manifest-check-open, 1 of manifest-key-open")


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        ([], "nothing to check. Name at least one"),
        (["--manifest", "x", "--ignore", "manifest-chek-open"], "Did you mean manifest-check-open?"),
        (["--manifest", "x", "--ignore", "7"], "is no rule. Rules: chart-"),
        (["--manifest", "x", "--json", "--format", "sarif"], "contradict each other"),
        (["--manifest", "x", "--format", "xml"], "invalid choice"),
        (["--manifest", "x", "--output", "./x"], "is what is to be checked"),
    ],
)
def test_a_wrong_command_line_ends_with_2_and_the_fix(arguments: list[str], fault: str, capsys: Capture) -> None:
    assert code(*arguments) == 2
    captured = capsys.readouterr()
    assert (fault in captured.err, captured.out) == (True, "")


def test_json_is_one_document_and_format_json_the_same(bad: Path, capsys: Capture) -> None:
    assert code("--manifest", bad, "--json") == 1
    first = capsys.readouterr().out
    assert code("--manifest", bad, "--format", "json") == 1
    assert capsys.readouterr().out == first
    assert json.loads(first)["summary"] == {"error": 0, "warning": 2, "note": 2}


def test_output_takes_the_result_and_stderr_its_summary(bad: Path, tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "listing.sarif"
    path.write_text("what was there before")
    assert code("--manifest", bad, "--format", "sarif", "--output", path) == 1
    captured = capsys.readouterr()
    assert json.loads(path.read_text())["version"] == "2.1.0"
    assert captured.out == ""
    assert captured.err.startswith("0 errors, 2 warnings")


def test_an_output_that_cannot_be_written_is_said(bad: Path, tmp_path: Path, capsys: Capture) -> None:
    assert code("--manifest", bad, "--output", tmp_path / "missing" / "x") == 1
    assert "cannot be written: No such file or directory" in capsys.readouterr().err


def test_every_kind_of_target_is_taken(tmp_path: Path, capsys: Capture) -> None:
    missing = tmp_path / "missing.tar"
    flags = ("--chart", "--image", "--task-definition", "--manifest")
    assert code(*(word for flag in flags for word in (flag, missing)), "--json") == 1
    found = json.loads(capsys.readouterr().out)
    assert [one["kind"] for one in found["targets"]] == ["chart", "image", "task-definition", "manifest"]
    assert {one["rule"] for one in found["findings"]} >= {"image-readable", "task-readable", "manifest-valid"}
