"""Write a report for a person: by target, then by rule, each with its places, AWS's rule, the fix and the source."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from sidecar.listing.finding import Finding
from sidecar.listing.report import Report, TargetReport
from sidecar.listing.rule import Rule, Severity
from sidecar.printable import one_line


def text(report: Report) -> str:
    """Return the report with a summary in its last line."""
    lines = [line for one in report.targets for line in _target(one)]
    return "\n".join([*lines, summary(report)]) + "\n"


def summary(report: Report) -> str:
    """Return the numbers of a report in one line."""
    counts = ", ".join(_number(count, severity.value) for severity, count in report.counts.items())
    rules = sum(one.rules_checked for one in report.targets)
    line = f"{counts}; {_number(rules, 'rule')} checked, {report.not_checked} not checked"
    hidden = ", ".join(f"{count} of {id_}" for id_, count in sorted(report.ignored.items()))
    return line + (f"; ignored: {hidden}" if hidden else "")


def place(finding: Finding, target: str) -> str:
    """Return where a finding is, as an editor opens it: file, line, column; then the place inside."""
    numbers = [str(one) for one in (finding.line, finding.column) if one is not None]
    where = ":".join([finding.file or one_line(target), *numbers])
    return f"{where}, {finding.place}" if finding.place else where


def _target(one: TargetReport) -> Iterator[str]:
    yield f"{one.target.kind.value} {one_line(one.target.name)}"
    for rule_id, found in groupby(one.findings, key=lambda finding: finding.rule.id):
        findings = list(found)
        yield from _rule(findings[0].rule, rule_id)
        yield from (f"    {place(finding, one.target.name)}: {finding.message}" for finding in findings)
        yield from _advice(findings[0].rule)
    yield from _not_checked(one)
    if not one.complete:
        yield f"  not checked  {_number(one.rules_not_checked, 'other rule')}: the target could not be read"
    if not one.findings:
        yield f"  nothing found by {_number(one.rules_checked, 'rule')}"


def _not_checked(one: TargetReport) -> Iterator[str]:
    """Yield the rules that were not checked, those with one reason together."""
    by_reason: dict[str, list[str]] = {}
    for rule in one.not_checked:
        by_reason.setdefault(rule.reason, []).append(rule.rule.id)
    for reason, ids in by_reason.items():
        yield f"  not checked  {', '.join(ids)}"
        yield f"    {reason}"


def _rule(rule: Rule, rule_id: str) -> Iterator[str]:
    yield f"  {rule.severity.value}  {rule_id}: {rule.title}"


def _advice(rule: Rule) -> Iterator[str]:
    yield f"      rule    {rule.aws}"
    if rule.severity is not Severity.NOTE:
        yield f"      fix     {rule.fix}"
    yield f"      source  {rule.source}"


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
