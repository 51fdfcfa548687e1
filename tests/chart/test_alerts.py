"""Each alert of the chart fires where it should, and not elsewhere: promtool runs the cases of alerts.yaml.

promtool comes with Debian's package prometheus.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from sidecar.api.metrics import PREFIX
from tests.chart.support import CHART, ROOT, of_kind, ran, render, tool

CASES: Mapping[str, Any] = yaml.safe_load((Path(__file__).parent / "alerts.yaml").read_text())
RUNBOOK = ROOT / "docs" / "howto" / "runbook.md"
KINDS = ("firing", "silent")
PARTS = ("What it means", "What to look at", "What to do", "How to see that it is over")


@cache
def rules() -> Mapping[str, Any]:
    (group,) = of_kind(render(CHART, {"prometheusRule": {"enabled": True}}), "PrometheusRule")["spec"]["groups"]
    return {one["alert"]: one for one in group["rules"]}


def series(values: Mapping[str, str]) -> list[dict[str, str]]:
    found = []
    for name, samples in values.items():
        metric, _, labels = name.rstrip("}").partition("{")
        place = [
            f'{one}="{value}"' for one, value in (("namespace", "ns"), ("pod", "pod-0")) if f"{one}=" not in labels
        ]
        found.append(
            {"series": f"{PREFIX}{metric}{{{','.join([*place, *filter(None, [labels])])}}}", "values": samples}
        )
    return found


def expected(alert: str, case: Mapping[str, Any]) -> dict[str, Any]:
    rule = rules()[alert]
    labels = {"namespace": "ns", "pod": "pod-0", **case.get("labels", {})}

    def filled(text: str) -> str:
        return re.sub(r"\{\{ \$labels\.(\w+) \}\}", lambda found: labels[found[1]], text)

    annotations = {name: filled(text) for name, text in rule["annotations"].items()}
    return {"exp_labels": {**labels, **rule["labels"]}, "exp_annotations": annotations}


def promtool_tests(alert: str) -> Iterator[dict[str, Any]]:
    """Yield promtool's tests of an alert: firing, silent a minute before, and silent."""
    for kind, cases in CASES[alert].items():
        for case in cases.values():
            wanted = [expected(alert, case)] if kind == "firing" else []
            looks = [{"eval_time": case["at"], "alertname": alert, "exp_alerts": wanted}]
            if wanted:
                before = f"{int(case['at'].rstrip('m')) - 1}m"
                looks.append({"eval_time": before, "alertname": alert, "exp_alerts": []})
            yield {"interval": "1m", "input_series": series(case["series"]), "alert_rule_test": looks}


def judge(directory: Path, tests: list[dict[str, Any]]) -> str:
    """Return what promtool says where a test does not hold; empty where all do."""
    promtool = tool("promtool")
    (directory / "rules.yaml").write_text(yaml.safe_dump({"groups": [{"name": "g", "rules": list(rules().values())}]}))
    (directory / "test.yaml").write_text(json.dumps({"rule_files": ["rules.yaml"], "tests": tests}))
    done = ran(promtool, "test", "rules", "test.yaml", cwd=directory)
    return "" if done.returncode == 0 else done.stdout + done.stderr


@pytest.mark.parametrize("alert", CASES)
def test_an_alert_fires_as_late_as_it_says_and_is_silent_elsewhere(alert: str, tmp_path: Path) -> None:
    tests = list(promtool_tests(alert))
    assert len(tests) >= len(KINDS)
    assert judge(tmp_path, tests) == ""


def test_promtool_notices_a_case_that_does_not_hold(tmp_path: Path) -> None:
    firing, silent, *_ = promtool_tests("MeteringOverdue")
    firing["input_series"], silent["input_series"] = silent["input_series"], firing["input_series"]
    silent["alert_rule_test"][0]["eval_time"] = firing["alert_rule_test"][0]["eval_time"]
    assert judge(tmp_path, [firing]).count("FAILED") == 1
    assert judge(tmp_path, [silent]).count("FAILED") == 1


def test_every_alert_has_a_firing_and_a_silent_case() -> None:
    assert set(CASES) == set(rules())
    assert {name: sorted(cases) for name, cases in CASES.items()} == {name: sorted(KINDS) for name in CASES}
    assert all(cases[kind] for cases in CASES.values() for kind in KINDS)


def test_promtool_accepts_the_rules(tmp_path: Path) -> None:
    promtool = tool("promtool")
    assert judge(tmp_path, []) == ""
    done = ran(promtool, "check", "rules", "rules.yaml", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def sections() -> Mapping[str, str]:
    """Return the runbook's sections: heading → text."""
    parts = re.split(r"^## (.+)$", RUNBOOK.read_text(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_every_alert_leads_to_its_section_of_the_runbook() -> None:
    documentation = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]["Documentation"]
    anchors = {f"{documentation}/howto/runbook.md#{heading.lower()}" for heading in sections()}
    urls = {name: rule["annotations"]["runbook_url"] for name, rule in rules().items()}
    assert set(urls.values()) == anchors, "an alert without a section, or a section without an alert"
    assert {name: url.rpartition("#")[2] for name, url in urls.items()} == {name: name.lower() for name in urls}
    assert [*sections()] == [*rules()], "both are in the same order"


@pytest.mark.parametrize("alert", CASES)
def test_a_section_of_the_runbook_has_its_four_parts(alert: str) -> None:
    assert tuple(re.findall(r"^\*\*(.+?)\.\*\*", sections()[alert], re.MULTILINE)) == PARTS
