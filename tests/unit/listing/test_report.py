"""What is collected of several targets, and what is ignored."""

from __future__ import annotations

from pathlib import Path

from sidecar.listing.finding import Kind, Target
from sidecar.listing.report import report_of
from sidecar.listing.rule import Severity

CODE = "8f7k2m1q9w3e5r7t0y2u4i6o8"


def manifest(tmp_path: Path, name: str, text: str) -> Target:
    (tmp_path / name).write_text(text)
    return Target(kind=Kind.MANIFEST, name=str(tmp_path / name))


def test_targets_keep_their_order_and_are_checked_once(tmp_path: Path) -> None:
    first = manifest(tmp_path, "b.yaml", f"products: [{{code: {CODE}}}]")
    second = manifest(tmp_path, "a.yaml", "products: []")
    begun: list[Target] = []
    report = report_of([first, second, first], frozenset(), begun.append)
    assert [one.target for one in report.targets] == begun == [first, second]


def test_findings_are_worst_first_and_by_rule(tmp_path: Path) -> None:
    report = report_of([manifest(tmp_path, "a.yaml", f"products: [{{code: {CODE}}}]")], frozenset())
    assert [one.rule.id for one in report.findings] == [
        "manifest-check-open",
        "manifest-key-open",
        "manifest-dimensions-open",
        "manifest-open-settings",
    ]
    assert (report.counts[Severity.WARNING], report.counts[Severity.NOTE], report.refused) == (2, 2, True)


def test_what_is_ignored_is_counted_and_refuses_nothing(tmp_path: Path) -> None:
    target = manifest(tmp_path, "a.yaml", f"products: [{{code: {CODE}}}, {{code: other}}]")
    report = report_of([target], {"manifest-check-open", "manifest-key-open", "manifest-valid"})
    assert report.ignored == {"manifest-check-open": 2, "manifest-key-open": 2, "manifest-valid": 0}
    assert not report.refused
    assert report.not_checked == 0


def test_a_target_that_cannot_be_read_leaves_its_other_rules_unchecked(tmp_path: Path) -> None:
    report = report_of([Target(kind=Kind.MANIFEST, name=str(tmp_path / "missing.yaml"))], frozenset())
    assert (report.targets[0].rules_checked, report.not_checked, report.refused) == (1, 7, True)
