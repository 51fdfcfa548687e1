from __future__ import annotations

import json

from sidecar.listing.document import document
from sidecar.listing.report import Report
from tests.unit.listing.support import report

KEYS = {
    "rule", "severity", "kind", "target", "file", "line", "column", "place", "seen", "message", "title", "aws", "fix",
    "source",
}  # fmt: skip


def test_each_finding_has_every_key() -> None:
    made = json.loads(json.dumps(document(report())))
    assert all(set(one) == KEYS for one in made["findings"])
    assert made["findings"][0] | {"title": "", "aws": "", "fix": "", "source": ""} == {
        "rule": "manifest-valid",
        "severity": "error",
        "kind": "manifest",
        "target": "shop/product.yaml",
        "file": "shop/product.yaml",
        "line": 3,
        "column": 5,
        "place": "a.b",
        "seen": "x",
        "message": "is wrong.",
        "title": "",
        "aws": "",
        "fix": "",
        "source": "",
    }
    assert made["findings"][2]["line"] is None


def test_the_rest_says_what_was_checked_and_what_was_not() -> None:
    made = document(report())
    assert (made["ok"], made["summary"]) == (False, {"error": 2, "warning": 1, "note": 1})
    assert made["ignored"] == {"manifest-key-open": 0, "manifest-unsigned-check": 2}
    assert made["not_checked"] == [
        {
            "rule": "manifest-check-open",
            "kind": "manifest",
            "target": "shop/product.yaml",
            "reason": "A tool is not there.",
        }
    ]
    assert made["targets"] == [
        {
            "kind": "manifest",
            "name": "shop/product.yaml",
            "complete": True,
            "rules_checked": 6,
            "rules_not_checked": 2,
        },
        {
            "kind": "manifest",
            "name": "/else/where.yaml",
            "complete": False,
            "rules_checked": 1,
            "rules_not_checked": 7,
        },
    ]


def test_nothing_found_is_ok() -> None:
    assert document(Report(targets=[]))["ok"] is True
