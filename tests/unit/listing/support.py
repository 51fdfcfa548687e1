"""Make reports without reading anything."""

from __future__ import annotations

from sidecar.listing.finding import Finding, Kind, NotChecked, Target
from sidecar.listing.manifest.rules import CHECK_OPEN, OPEN_SETTINGS, VALID
from sidecar.listing.report import Report, TargetReport

TARGET = Target(kind=Kind.MANIFEST, name="shop/product.yaml")
OTHER = Target(kind=Kind.MANIFEST, name="/else/where.yaml")


def report() -> Report:
    """Return a report with a finding of each severity, a rule that was not checked, and one that is ignored."""
    findings = [
        Finding(rule=VALID, file="shop/product.yaml", line=3, column=5, place="a.b", seen="x", message="is wrong."),
        Finding(rule=VALID, file="shop/product.yaml", line=9, message="is wrong too."),
        Finding(rule=CHECK_OPEN, message="is open."),
        Finding(rule=OPEN_SETTINGS, file="shop/pro duct.yaml", message="open: log_level."),
    ]
    missing = NotChecked(rule=CHECK_OPEN, reason="A tool is not there.")
    return Report(
        targets=[
            TargetReport(target=TARGET, findings=findings, not_checked=[missing], rules_checked=6, complete=True),
            TargetReport(target=OTHER, findings=[], not_checked=[], rules_checked=1, complete=False),
        ],
        ignored={"manifest-unsigned-check": 2, "manifest-key-open": 0},
    )
