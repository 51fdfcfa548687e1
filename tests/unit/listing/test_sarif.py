"""SARIF as its schema has it, and as GitHub wants it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from sidecar.listing.finding import Finding, Kind, Target
from sidecar.listing.manifest.rules import VALID
from sidecar.listing.report import Report, TargetReport
from sidecar.listing.sarif import sarif
from sidecar.listing.table import RULES
from tests.unit.listing.support import report

TEXT = {"type": "object", "required": ["text"], "properties": {"text": {"type": "string", "minLength": 1}}}
LEVEL = {"enum": ["none", "note", "warning", "error"]}
RULE = {
    "type": "object",
    "required": ["id", "shortDescription", "fullDescription", "help", "helpUri", "defaultConfiguration"],
    "additionalProperties": False,
    "properties": {
        "id": {"type": "string"},
        "shortDescription": TEXT,
        "fullDescription": TEXT,
        "help": {**TEXT, "required": ["text", "markdown"]},
        "helpUri": {"type": "string", "pattern": "^https://"},
        "defaultConfiguration": {"type": "object", "required": ["level"], "properties": {"level": LEVEL}},
    },
}
LOCATION = {
    "type": "object",
    "required": ["physicalLocation"],
    "additionalProperties": False,
    "properties": {
        "physicalLocation": {
            "type": "object",
            "required": ["artifactLocation", "region"],
            "properties": {
                "artifactLocation": {
                    "type": "object",
                    "required": ["uri"],
                    "properties": {"uri": {"type": "string", "pattern": "^[A-Za-z0-9%/._~:@+-]+$"}},
                },
                "region": {
                    "type": "object",
                    "required": ["startLine"],
                    "additionalProperties": False,
                    "properties": {
                        "startLine": {"type": "integer", "minimum": 1},
                        "startColumn": {"type": "integer", "minimum": 1},
                    },
                },
            },
        },
        "logicalLocations": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["fullyQualifiedName"],
                "properties": {"fullyQualifiedName": {"type": "string"}},
            },
        },
    },
}
RESULT = {
    "type": "object",
    "required": ["ruleId", "ruleIndex", "level", "message", "locations", "partialFingerprints"],
    "additionalProperties": False,
    "properties": {
        "ruleId": {"type": "string"},
        "ruleIndex": {"type": "integer", "minimum": 0},
        "level": LEVEL,
        "message": TEXT,
        "locations": {"type": "array", "minItems": 1, "items": LOCATION},
        "partialFingerprints": {"type": "object", "additionalProperties": {"type": "string"}},
    },
}
NOTIFICATION = {
    "type": "object",
    "required": ["message"],
    "additionalProperties": False,
    "properties": {
        "level": LEVEL,
        "message": TEXT,
        "associatedRule": {
            "type": "object",
            "additionalProperties": False,
            "properties": {"id": {"type": "string"}, "index": {"type": "integer", "minimum": 0}},
        },
    },
}
LOG = {
    "type": "object",
    "required": ["$schema", "version", "runs"],
    "additionalProperties": False,
    "properties": {
        "$schema": {"type": "string"},
        "version": {"const": "2.1.0"},
        "runs": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["tool", "invocations", "results", "columnKind"],
                "additionalProperties": False,
                "properties": {
                    "tool": {
                        "type": "object",
                        "required": ["driver"],
                        "properties": {
                            "driver": {
                                "type": "object",
                                "required": ["name", "version", "rules"],
                                "properties": {"rules": {"type": "array", "uniqueItems": True, "items": RULE}},
                            }
                        },
                    },
                    "invocations": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "required": ["executionSuccessful"],
                            "additionalProperties": False,
                            "properties": {
                                "executionSuccessful": {"type": "boolean"},
                                "toolExecutionNotifications": {"type": "array", "items": NOTIFICATION},
                            },
                        },
                    },
                    "columnKind": {"enum": ["utf16CodeUnits", "unicodeCodePoints"]},
                    "results": {"type": "array", "items": RESULT},
                },
            },
        },
    },
}
"""The part of SARIF's schema that we use, closed: what is not written here is a mistake."""


def made(report: Report) -> Any:
    return json.loads(json.dumps(sarif(report)))


def run(report: Report) -> Any:
    return made(report)["runs"][0]


def of(finding: Finding, target: str = "shop/product.yaml") -> Report:
    one = Target(kind=Kind.MANIFEST, name=target)
    return Report(
        targets=[TargetReport(target=one, findings=[finding], not_checked=[], rules_checked=1, complete=True)]
    )


def test_the_log_has_the_form_of_sarif() -> None:
    jsonschema.Draft202012Validator(LOG).validate(made(report()))


def test_every_rule_of_the_table_is_described_with_its_source() -> None:
    described = run(report())["tool"]["driver"]["rules"]
    assert [one["id"] for one in described] == [rule.id for rule in RULES]
    assert [one["helpUri"] for one in described] == [rule.source for rule in RULES]


def test_a_result_points_at_its_rule_and_its_place() -> None:
    one = run(report())
    first = one["results"][0]
    assert one["tool"]["driver"]["rules"][first["ruleIndex"]]["id"] == first["ruleId"] == "manifest-valid"
    assert first["locations"][0]["physicalLocation"] == {
        "artifactLocation": {"uri": "shop/product.yaml"},
        "region": {"startLine": 3, "startColumn": 5},
    }
    assert first["locations"][0]["logicalLocations"] == [{"fullyQualifiedName": "a.b"}]
    assert first["level"] == "error"


def test_a_result_without_a_line_is_at_the_first_of_its_target() -> None:
    place = run(report())["results"][2]["locations"][0]["physicalLocation"]
    assert place == {"artifactLocation": {"uri": "shop/product.yaml"}, "region": {"startLine": 1}}


def test_rules_that_were_not_checked_are_notifications() -> None:
    (invocation,) = run(report())["invocations"]
    first, second = invocation["toolExecutionNotifications"]
    assert "A tool is not there." in first["message"]["text"]
    assert first["associatedRule"]["id"] == "manifest-check-open"
    assert "7 rules were not checked" in second["message"]["text"]


@pytest.mark.parametrize(
    ("path", "uri"),
    [
        ("./a/b.yaml", "a/b.yaml"),
        ("a b/ü.yaml", "a%20b/%C3%BC.yaml"),
        ("a/../b.yaml", "b.yaml"),
        ("../b.yaml", "../b.yaml"),
        ("\udcff.yaml", "%5Cudcff.yaml"),
        ("registry.example/shop:1", "registry.example/shop%3A1"),
    ],
)
def test_a_path_is_a_relative_uri(path: str, uri: str) -> None:
    result = run(of(Finding(rule=VALID, message="x", file=path)))["results"][0]
    assert result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == uri


def test_an_absolute_path_below_is_relative_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = run(of(Finding(rule=VALID, message="x", file=os.path.join(tmp_path, "a", "b.yaml"))))["results"][0]
    assert result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "a/b.yaml"


def test_a_finding_keeps_its_fingerprint_when_lines_move() -> None:
    prints = [
        run(of(Finding(rule=VALID, message=message, file="a.yaml", line=line)))["results"][0]["partialFingerprints"]
        for message, line in (("x", 3), ("x", 30), ("y", 3))
    ]
    assert prints[0] == prints[1] != prints[2]
