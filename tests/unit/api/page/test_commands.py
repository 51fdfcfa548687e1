"""Commands of the page can be pasted, whatever names hold."""

from __future__ import annotations

import shlex

import pytest

from sidecar.api.page import commands, findings
from sidecar.api.page.records import RecentRecords
from sidecar.cli.parser import build_parser
from sidecar.metering.states import State
from tests.fakes.clock import NOON
from tests.unit.api.page.samples import gate, metering, record, status

HOSTILE = ["$(reboot)", "a; rm -rf /", "it's", "`id`", "two\nlines", "‮txt", '"', "-c"]


def test_a_pod_is_named_with_its_namespace() -> None:
    found = commands.line({"kind": "pod", "id": "u", "pod": "shop-1", "namespace": "shop"}, ["recheck"])
    assert found == "kubectl exec -n shop shop-1 -c entitlement-sidecar -- entitlement-sidecar recheck"


def test_the_second_sidecar_of_a_pod_is_named_by_its_container() -> None:
    workload = {"kind": "pod", "id": "u", "pod": "shop-1", "container": "entitlement-sidecar-search"}
    assert "-c entitlement-sidecar-search --" in commands.line(workload, ["recheck"])


def test_a_task_is_reached_through_ecs_exec() -> None:
    arn = "arn:aws:ecs:us-east-1:123456789012:task/shop/abc"
    found = shlex.split(commands.line({"kind": "task", "id": arn, "cluster": "shop"}, ["usage", "retry"]))
    assert found[:7] == ["aws", "ecs", "execute-command", "--cluster", "shop", "--task", arn]
    assert found[-2:] == ["--command", "entitlement-sidecar usage retry"]


@pytest.mark.parametrize(
    "workload", [{"id": None, "kind": None}, {"id": "w", "kind": "named"}, {"id": "a", "kind": "task"}]
)
def test_what_is_not_known_to_run_anywhere_gets_the_command_alone(workload: dict[str, object]) -> None:
    assert commands.line(workload, ["recheck"]) == "entitlement-sidecar recheck"
    assert not commands.outside(workload)


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("at", ["pod", "namespace", "argument"])
def test_a_hostile_name_stays_one_word_of_one_line(name: str, at: str) -> None:
    workload = {"kind": "pod", "id": "u", "pod": "p", "namespace": "n"} | ({at: name} if at != "argument" else {})
    line = commands.line(workload, [name if at == "argument" else "recheck"])
    assert len(shlex.split(line)) == 10
    assert line.isprintable()


def test_every_command_of_the_page_is_one_that_the_program_takes() -> None:
    """Placeholders are read as values; what argparse refuses ends the test."""
    shown = [one for word in ("denied", "misconfigured") for one in findings.gate_commands(gate(word, "r", "h"))]
    held = [{"aws_error": "X", "reason": "r", "hint": "h", "oldest_hour": "2026-01-02T11:00:00.000Z"}]
    late = metering(held=held, overdue_since="2026-01-02T09:00:00.000Z")
    recent = RecentRecords(records=[record(3, State.DISPUTED), record(2, State.REJECTED)])
    for one in findings.findings(status(metering=late), recent, [("gone", record(9, State.DISPUTED))], now=NOON):
        shown += one.commands
    assert len(shown) > 12
    for one in shown:
        words = shlex.split(one.line.partition(" -- ")[2])
        assert words[0] == "entitlement-sidecar"
        assert build_parser().parse_args(words[1:])
