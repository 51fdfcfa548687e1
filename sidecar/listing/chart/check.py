"""Check one chart, named by its directory.

Invariants:
- A hostile chart ends with a finding: no error of reading or parsing leaves this module.
- Without helm, rules about what is rendered are not checked, and the report says so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from sidecar.listing.chart import calls, files, helm, images, metadata, rules, schema, secrets, template_rules
from sidecar.listing.chart.chart import METADATA, charts_of
from sidecar.listing.chart.subject import Subject
from sidecar.listing.chart.values import merged
from sidecar.listing.finding import Checked, Finding, NotChecked
from sidecar.listing.rule import Rule

FINDINGS_MAX: Final = 500
"""Of one rule and chart."""
NO_HELM: Final = "helm is not on PATH. Install it: https://helm.sh/docs/intro/install/."
NO_HELM_FOR_REST: Final = f"Only the source was checked, and not what is rendered: {NO_HELM}"
NOT_RENDERED: Final = "The chart is not rendered: see chart-helm-template."


def check(name: str) -> Checked:
    """Return what the chart in the directory `name` breaks."""
    root = Path(name)
    if not (root / METADATA).is_file():
        message = f"There is no {METADATA} in it."
        return Checked(findings=[Finding(rule=rules.READABLE, message=message, seen=name)], complete=False)
    read = files.read(root)
    chart, troubles = charts_of(read)
    subject = Subject(
        root=name,
        chart=chart,
        values=merged(chart),
        contents=read.contents,
        unread=frozenset(one.path for one in troubles),
    )
    found = [
        subject.finding(rules.READABLE, one.path, f"{one.path} {one.fault}.", line=one.line, seen=one.path)
        for one in troubles
    ]
    for kind in (metadata, images, template_rules, schema):
        found.extend(kind.check(subject))
    found.extend(secrets.find(subject))
    binary = helm.found()
    if binary:
        found.extend(calls.check(subject, helm.Helm(binary=binary, chart=root, name=chart.name), tuple(found)))
    return Checked(
        findings=list(_bounded(dict.fromkeys(found))), not_checked=list(_not_checked(found, has_helm=bool(binary)))
    )


def _bounded(found: Iterable[Finding]) -> Iterator[Finding]:
    """Yield the first findings of each rule; the next run has the rest."""
    count: Counter[str] = Counter()
    for one in found:
        count[one.rule.id] += 1
        if count[one.rule.id] <= FINDINGS_MAX:
            yield one


def _not_checked(found: list[Finding], *, has_helm: bool) -> Iterator[NotChecked]:
    if not has_helm:
        yield from _each(rules.NEED_HELM, NO_HELM)
        yield from _each(rules.MORE_WITH_HELM, NO_HELM_FOR_REST)
    elif not calls.renders(found):
        need_rendering = [one for one in rules.NEED_HELM if one not in (calls.LINT, calls.TEMPLATE)]
        yield from _each((*need_rendering, *rules.MORE_WITH_HELM), NOT_RENDERED)


def _each(unchecked: tuple[Rule, ...], reason: str) -> Iterator[NotChecked]:
    return (NotChecked(rule=one, reason=reason) for one in unchecked)
