"""Write a report as one JSON document, for machines.

Invariants:
- Every key is always there; what is unknown is null.
"""

from __future__ import annotations

from collections.abc import Mapping

from sidecar.listing.finding import Finding, NotChecked, Target
from sidecar.listing.report import Report


def document(report: Report) -> Mapping[str, object]:
    """Return `ok` (neither errors nor warnings), targets, findings, rules not checked, ignored ones and counts."""
    return {
        "ok": not report.refused,
        "targets": [
            {
                "kind": one.target.kind.value,
                "name": one.target.name,
                "complete": one.complete,
                "rules_checked": one.rules_checked,
                "rules_not_checked": one.rules_not_checked,
            }
            for one in report.targets
        ],
        "findings": [_finding(one.target, finding) for one in report.targets for finding in one.findings],
        "not_checked": [_not_checked(one.target, rule) for one in report.targets for rule in one.not_checked],
        "ignored": dict(sorted(report.ignored.items())),
        "summary": {severity.value: count for severity, count in report.counts.items()},
    }


def _finding(target: Target, finding: Finding) -> Mapping[str, object]:
    return {
        "rule": finding.rule.id,
        "severity": finding.rule.severity.value,
        "kind": target.kind.value,
        "target": target.name,
        "file": finding.file or None,
        "line": finding.line,
        "column": finding.column,
        "place": finding.place or None,
        "seen": finding.seen or None,
        "message": finding.message,
        "title": finding.rule.title,
        "aws": finding.rule.aws,
        "fix": finding.rule.fix,
        "source": finding.rule.source,
    }


def _not_checked(target: Target, one: NotChecked) -> Mapping[str, object]:
    return {"rule": one.rule.id, "kind": target.kind.value, "target": target.name, "reason": one.reason}
