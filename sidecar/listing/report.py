"""Check every target, and collect what was found, what was ignored and what was not checked.

Invariants:
- What is ignored is counted, by rule, and shown.
- Findings are in the order of targets, then worst first, then by rule and place: two runs print the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

from sidecar.listing.finding import Checked, Finding, NotChecked, Target
from sidecar.listing.rule import Severity
from sidecar.listing.table import CHECK_OF, RULES_OF
from sidecar.quick_dataclasses import dataclass, field

SEVERITIES = tuple(Severity)


@dataclass(frozen=True, kw_only=True)
class TargetReport:
    """What was found of one target, without what is ignored."""

    target: Target
    findings: Sequence[Finding]
    not_checked: Sequence[NotChecked]
    rules_checked: int
    """Rules that were checked, those that are ignored included."""
    complete: bool
    """False: the target could not be read."""

    @property
    def rules_not_checked(self) -> int:
        """Return how many rules were not checked."""
        return len(RULES_OF[self.target.kind]) - self.rules_checked


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a run came to."""

    targets: Sequence[TargetReport]
    ignored: Mapping[str, int] = field(default_factory=dict)
    """Rule given to `--ignore` → findings that it hides."""

    @property
    def findings(self) -> Iterator[Finding]:
        """Return every finding that is not ignored."""
        return (finding for one in self.targets for finding in one.findings)

    @property
    def counts(self) -> Mapping[Severity, int]:
        """Return the number of findings of each severity."""
        found = Counter(one.rule.severity for one in self.findings)
        return {severity: found[severity] for severity in Severity}

    @property
    def not_checked(self) -> int:
        """Return how many rules were not checked, over all targets."""
        return sum(one.rules_not_checked for one in self.targets)

    @property
    def unchecked(self) -> bool:
        """Return whether a rule that is not ignored was not checked."""
        return any(one.not_checked or not one.complete for one in self.targets)

    @property
    def refused(self) -> bool:
        """Return whether there is an error or a warning. A note refuses nothing."""
        return bool(self.counts[Severity.ERROR] or self.counts[Severity.WARNING])


def report_of(
    targets: Sequence[Target], ignore: Collection[str], begun: Callable[[Target], None] = lambda _: None
) -> Report:
    """Check each target. `ignore`: ids of rules; `begun` is told each target before it is checked."""
    ignored: Counter[str] = Counter(dict.fromkeys(ignore, 0))
    reports = []
    for target in dict.fromkeys(targets):
        begun(target)
        checked = CHECK_OF[target.kind](target.name)
        ignored.update(one.rule.id for one in checked.findings if one.rule.id in ignore)
        reports.append(_without(target, checked, ignore))
    return Report(targets=reports, ignored=dict(ignored))


def _without(target: Target, checked: Checked, ignore: Collection[str]) -> TargetReport:
    return TargetReport(
        target=target,
        findings=sorted((one for one in checked.findings if one.rule.id not in ignore), key=_order),
        not_checked=[one for one in checked.not_checked if one.rule.id not in ignore],
        rules_checked=_rules_checked(target, checked),
        complete=checked.complete,
    )


def _rules_checked(target: Target, checked: Checked) -> int:
    if not checked.complete:
        return len({one.rule.id for one in checked.findings})
    return len(RULES_OF[target.kind]) - len({one.rule.id for one in checked.not_checked})


def _order(one: Finding) -> tuple[int, str, str, int, int, str]:
    severity = SEVERITIES.index(one.rule.severity)
    return severity, one.rule.id, one.file, one.line or 0, one.column or 0, f"{one.place} {one.message}"
