"""Write a report as SARIF, for code scanning.

Invariants:
- Each result has a file and a line: GitHub shows no other. Where a finding is about a whole file, or in an image, that
  is the first line of the target.
- Rules that were not checked are notifications of the run, as SARIF has them for conditions of the tool itself.
- Paths are URI references relative to where the command runs: GitHub reads them from the root of the repository.

Sources: SARIF 2.1.0 (OASIS), sections 3.13 (log), 3.20 (invocation), 3.27 (result), 3.49 (reportingDescriptor), 3.58
(notification); GitHub, "SARIF support for code scanning".
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from typing import Final
from urllib.parse import quote

from sidecar import __version__
from sidecar.listing.finding import Finding, Target
from sidecar.listing.report import Report, TargetReport
from sidecar.listing.rule import Rule
from sidecar.listing.table import RULES

SCHEMA: Final = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
TOOL: Final = "entitlement-sidecar listing check"
FINGERPRINT: Final = "entitlementSidecarListing/v1"

Json = Mapping[str, object]


def sarif(report: Report) -> Json:
    """Return a log with one run, which has every rule of the table."""
    index = {rule.id: at for at, rule in enumerate(RULES)}
    results = [_result(one.target, finding, index) for one in report.targets for finding in one.findings]
    unchecked = [note for one in report.targets for note in _not_checked(one, index)]
    driver = {"name": TOOL, "version": __version__, "rules": [_descriptor(rule) for rule in RULES]}
    run = {
        "tool": {"driver": driver},
        "invocations": [{"executionSuccessful": True, "toolExecutionNotifications": unchecked}],
        "columnKind": "unicodeCodePoints",
        "results": results,
    }
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}


def _descriptor(rule: Rule) -> Json:
    markdown = f"{rule.aws}\n\nFix: {rule.fix}\n\nSource: <{rule.source}>"
    return {
        "id": rule.id,
        "shortDescription": {"text": rule.title},
        "fullDescription": {"text": rule.aws},
        "help": {"text": f"{rule.aws} Fix: {rule.fix} Source: {rule.source}", "markdown": markdown},
        "helpUri": rule.source,
        "defaultConfiguration": {"level": rule.severity.value},
    }


def _result(target: Target, finding: Finding, index: Mapping[str, int]) -> Json:
    return {
        "ruleId": finding.rule.id,
        "ruleIndex": index[finding.rule.id],
        "level": finding.rule.severity.value,
        "message": {"text": f"{finding.message} {finding.rule.fix}"},
        "locations": [_location(target, finding)],
        "partialFingerprints": {FINGERPRINT: _fingerprint(target, finding)},
    }


def _location(target: Target, finding: Finding) -> Json:
    region = {"startLine": finding.line or 1}
    if finding.column is not None:
        region["startColumn"] = finding.column
    location: dict[str, object] = {
        "physicalLocation": {"artifactLocation": {"uri": _uri(finding.file or target.name)}, "region": region}
    }
    if finding.place:
        location["logicalLocations"] = [{"fullyQualifiedName": finding.place}]
    return location


def _uri(path: str) -> str:
    """Return a relative reference; a path outside of where the command runs stays as it is written."""
    relative = os.path.relpath(path) if os.path.isabs(path) else os.path.normpath(path)
    return quote(path if relative.startswith("..") else relative, errors="surrogateescape").removeprefix("./")


def _fingerprint(target: Target, finding: Finding) -> str:
    """Return what tells a finding from others, without its line: it stays the same while lines move."""
    parts = (finding.rule.id, _uri(finding.file or target.name), finding.place, finding.message)
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogateescape")).hexdigest()


def _not_checked(report: TargetReport, index: Mapping[str, int]) -> Iterator[Json]:
    name = report.target.name
    if not report.complete:
        yield _notification(f"{name} could not be read: {report.rules_not_checked} rules were not checked.")
    for one in report.not_checked:
        notification = _notification(f"{name}: {one.rule.id} was not checked: {one.reason}")
        yield {**notification, "associatedRule": {"id": one.rule.id, "index": index[one.rule.id]}}


def _notification(text: str) -> Json:
    return {"level": "warning", "message": {"text": text}}
