"""The dashboard on recorded metrics: Prometheus itself answers each panel's query, and Grafana's schema takes the file.

prometheus and promtool come with Debian's package prometheus. Where DASHBOARD_CHECK names it, the program in
tests/chart/grafana reads the dashboard as Grafana's schema has it.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import source_scan
from prometheus_client.parser import text_string_to_metric_families

from sidecar.api.metrics import PREFIX
from tests.chart import record
from tests.chart.support import CHART, of_kind, ran, render, tool
from tests.ports import free_port

BEGAN = 1_767_348_000
"""When the recording is laid, in seconds since the epoch: a day of the past, which Prometheus takes whole."""
STEP = 15
INTERVAL = "1m"
SCRAPES = list(record.scrapes())
ENDED = BEGAN + STEP * (len(SCRAPES) - 1)


def board() -> dict[str, Any]:
    (text,) = of_kind(render(CHART, {"dashboard": {"enabled": True}}), "ConfigMap")["data"].values()
    found = json.loads(text)
    assert isinstance(found, dict)
    return found


def own_board() -> dict[str, Any]:
    found = json.loads((CHART / "files" / "dashboard.json").read_text())
    assert isinstance(found, dict)
    return found


def queries() -> Iterator[Any]:
    """Yield each query of the dashboard, as Grafana would send it."""
    for panel in own_board()["panels"]:
        for target in panel.get("targets", ()):
            expression = target["expr"].replace("$namespace", "ns").replace("$__rate_interval", INTERVAL)
            yield pytest.param(expression, id=f"{panel['title']} {target['refId']}")


QUERIES = list(queries())


# -- the recording


def test_the_recording_has_the_metrics_of_today() -> None:
    """Where it has not: `python -m tests.chart.record`."""
    typed = (re.findall(rf"^# TYPE {PREFIX}(\S+) (\S+)$", one.page, re.MULTILINE) for one in SCRAPES)
    recorded = dict(itertools.chain.from_iterable(typed))
    of_pods = [one for one in source_scan.metrics() if not one.name.startswith("saas_")]  # another service's
    assert recorded == {one.name: one.kind for one in of_pods}


def test_the_recording_has_the_labels_of_today() -> None:
    recorded: dict[str, set[str]] = {}
    for scrape in SCRAPES:
        for family in text_string_to_metric_families(scrape.page):
            for sample in family.samples:
                recorded.setdefault(sample.name.removeprefix(PREFIX), set()).update(sample.labels)
    today = {name: set(labels) for name, labels in source_scan.metric_labels().items()}
    assert {name: labels for name, labels in recorded.items() if labels} == {
        name: labels for name, labels in today.items() if recorded.get(name)
    }


def test_promtool_finds_no_fault_in_the_page(tmp_path: Path) -> None:
    promtool = tool("promtool")
    done = subprocess.run(
        [promtool, "check", "metrics"], input=SCRAPES[-1].page, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


# -- Prometheus


def openmetrics() -> str:
    """Return the recording as OpenMetrics: every sample with its pod and its instant."""
    lines: dict[str, list[str]] = {}
    for number, scrape in enumerate(SCRAPES):
        for line in scrape.page.splitlines():
            if not line.startswith("#"):
                series, _, value = line.rpartition(" ")
                name, _, labels = series.rstrip("}").partition("{")
                place = ",".join(filter(None, ['namespace="ns"', f'pod="{scrape.pod}"', labels]))
                lines.setdefault(name, []).append(f"{name}{{{place}}} {value} {BEGAN + STEP * number}")
    return "\n".join([line for name in sorted(lines) for line in lines[name]] + ["# EOF", ""])


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a Prometheus that has the recording."""
    promtool, server = tool("promtool"), tool("prometheus")
    directory = tmp_path_factory.mktemp("prometheus")
    (directory / "metrics.txt").write_text(openmetrics())
    (directory / "prometheus.yml").write_text("{}")
    made = ran(promtool, "tsdb", "create-blocks-from", "openmetrics", "metrics.txt", "data", cwd=directory)
    assert made.returncode == 0, made.stderr
    port = free_port()
    flags = ["--config.file=prometheus.yml", "--storage.tsdb.path=data", "--storage.tsdb.retention.time=100y"]
    with (directory / "log").open("wb") as output:
        line = [server, *flags, f"--web.listen-address=127.0.0.1:{port}"]
        running = subprocess.Popen(line, cwd=directory, stdout=output, stderr=output)
    try:
        url = f"http://127.0.0.1:{port}"
        wait_for(url, running, directory / "log")
        yield url
    finally:
        running.terminate()
        running.wait(30)


def wait_for(url: str, running: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and running.poll() is None:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}/-/ready", timeout=5) as answer:
            if answer.status == 200:
                return
        time.sleep(0.1)
    raise AssertionError(log.read_text())


def ask(url: str, expression: str) -> list[Mapping[str, Any]]:
    """Return the series of a range query over the whole recording."""
    asked = {"query": expression, "start": BEGAN, "end": ENDED, "step": STEP}
    with urllib.request.urlopen(f"{url}/api/v1/query_range?{urllib.parse.urlencode(asked)}", timeout=30) as answer:
        found = json.load(answer)
    assert found["status"] == "success"
    return list(found["data"]["result"])


@pytest.mark.parametrize("expression", QUERIES)
def test_a_panels_query_returns_data(expression: str, prometheus: str) -> None:
    found = ask(prometheus, expression)
    assert found
    assert any(value != "NaN" for series in found for _, value in series["values"])


def test_a_query_for_another_namespace_returns_nothing(prometheus: str) -> None:
    assert ask(prometheus, f'{PREFIX}status{{namespace=~"other"}}') == []


@pytest.mark.parametrize(
    "expression",
    [
        'status{status="denied"} == 1',
        'status{status="pending"} == 1',
        'status{status="entitled"} == 1',
        'usage_records{state="disputed"} > 0',
        'usage_records{state="rejected"} > 0',
        'usage_records{state="sealed"} > 0',
        'usage_records{state="settled"} > 0',
        'aws_attempts_total{operation="entitlement_check", outcome="denied"} > 0',
        'aws_attempts_total{operation="metering", outcome="throttled"} > 0',
        'usage_events_total{result="duplicate"} > 0',
        "usage_refused_total > 0",
        "http_refused_total > 0",
    ],
)
def test_the_recording_has_what_the_dashboard_is_for(expression: str, prometheus: str) -> None:
    assert ask(prometheus, f"{PREFIX}{expression}")


NOT_RECORDED = ("usage_quantity_claimed", "usage_quantity_unconfigured")
"""Without a sample where there is nothing of the kind."""


@pytest.mark.parametrize("alert", source_scan.alerts(), ids=lambda one: one.name)
def test_an_alert_looks_at_series_that_there_are(alert: source_scan.Alert, prometheus: str) -> None:
    labels = ", ".join(filter(None, ['namespace="ns"', alert.labels]))
    found = ask(prometheus, f"{PREFIX}{alert.metric}{{{labels}}}")
    assert bool(found) != (alert.metric in NOT_RECORDED)


def test_what_the_recording_shows_would_be_alerted(prometheus: str) -> None:
    """In the first scrape the ledger is not open yet."""
    found = {
        alert.name
        for alert in source_scan.alerts()
        if ask(prometheus, f"{PREFIX}{alert.metric}{{{alert.labels}}} {alert.condition}".replace("time()", str(BEGAN)))
    }
    assert {"EntitlementGateShut", "UsageReportedLate", "UsageWaitsForAPerson"} <= found
    assert not found & {"EntitlementSidecarLoopStopped", "UsageQuarantined", "UsageLeftBehind"}


# -- Grafana's schema


def check(text: str) -> str:
    """Return what Grafana's schema has against a dashboard; empty where it takes it."""
    program = os.environ.get("DASHBOARD_CHECK")
    if not program:
        pytest.skip("DASHBOARD_CHECK names no program: build it in tests/chart/grafana")
    done = subprocess.run([program], input=text, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode == 0) == (done.stdout == ""), done.stderr
    return done.stdout


def test_grafanas_schema_takes_the_dashboard() -> None:
    assert check(json.dumps(board())) == ""


def panel(**fields: Any) -> dict[str, Any]:
    return {"panels": [{"type": "timeseries", **fields}]}


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"unheard_of": 1}, "unexpected field 'unheard_of'"),
        ({"schemaVersion": "39"}, "schemaVersion"),
        (
            panel(targets=[{"refId": "A", "exprs": "up", "datasource": {"type": "prometheus"}}]),
            "unexpected field 'exprs'",
        ),
        (panel(gridPos={"x": 0, "y": 0, "w": 99, "h": 1}), "must be <= 24"),
    ],
    ids=["field", "type", "query", "bound"],
)
def test_grafanas_schema_refuses_what_is_wrong(changes: Mapping[str, Any], fault: str) -> None:
    assert fault in check(json.dumps({**own_board(), **changes}))


def test_panels_have_their_own_ids_and_share_no_place() -> None:
    panels = own_board()["panels"]
    assert len({one["id"] for one in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for one in panels:
        place = one["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, one["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells


def test_every_panel_says_what_it_shows_and_each_query_chooses_the_namespace() -> None:
    for one in own_board()["panels"]:
        if one["type"] != "row":
            assert one["description"]
            for target in one["targets"]:
                assert target["expr"].count(PREFIX) == target["expr"].count('{namespace=~"$namespace"')
