from __future__ import annotations

from sidecar.listing.finding import Finding, Kind, NotChecked, Target
from sidecar.listing.manifest.rules import CHECK_OPEN, VALID
from sidecar.listing.report import Report, TargetReport
from sidecar.listing.text import summary, text
from sidecar.quick_dataclasses import replace
from tests.unit.listing.support import report


def test_places_of_one_rule_stand_together_with_rule_fix_and_source() -> None:
    lines = text(report()).splitlines()
    at = lines.index("  error  manifest-valid: The product manifest can be read, and each of its fields is valid")
    assert lines[at + 1] == "    shop/product.yaml:3:5, a.b: is wrong."
    assert lines[at + 2] == "    shop/product.yaml:9: is wrong too."
    assert lines[at + 3] == f"      rule    {VALID.aws}"
    assert lines[at + 4] == f"      fix     {VALID.fix}"
    assert lines[at + 5] == f"      source  {VALID.source}"


def test_a_rule_that_was_not_checked_is_shown_with_the_reason() -> None:
    lines = text(report()).splitlines()
    at = lines.index("  not checked  manifest-check-open")
    assert lines[at + 1] == "    A tool is not there."


def test_rules_that_were_not_checked_for_one_reason_stand_together() -> None:
    missing = [NotChecked(rule=rule, reason="A tool is not there.") for rule in (VALID, CHECK_OPEN)]
    target = replace(report().targets[0], findings=[], not_checked=missing)
    assert "  not checked  manifest-valid, manifest-check-open\n    A tool" in text(Report(targets=[target]))


def test_a_target_that_could_not_be_read_says_how_many_rules_are_left() -> None:
    assert "  not checked  7 other rules: the target could not be read" in text(report())


def test_the_last_line_has_the_numbers() -> None:
    assert text(report()).splitlines()[-1] == summary(report())
    assert summary(report()) == (
        "2 errors, 1 warning, 1 note; 7 rules checked, 9 not checked;"
        " ignored: 0 of manifest-key-open, 2 of manifest-unsigned-check"
    )


def test_nothing_found_is_said() -> None:
    target = replace(report().targets[0], findings=[], not_checked=[], rules_checked=8)
    assert text(Report(targets=[target])).splitlines() == [
        "manifest shop/product.yaml",
        "  nothing found by 8 rules",
        "0 errors, 0 warnings, 0 notes; 8 rules checked, 0 not checked",
    ]


def test_no_text_of_others_reaches_the_terminal_as_a_control() -> None:
    finding = Finding(rule=VALID, file="a\x1b[2J", place="\u202e", seen="\n", message="\x07\nx")
    target = Target(kind=Kind.MANIFEST, name="b\x1b]0;x")
    report = Report(
        targets=[TargetReport(target=target, findings=[finding], not_checked=[], rules_checked=1, complete=True)]
    )
    assert all(line.isprintable() for line in text(report).splitlines())
