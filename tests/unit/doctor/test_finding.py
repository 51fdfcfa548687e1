"""A finding sums up what it looked at, and is safe to print."""

from __future__ import annotations

import pytest

from sidecar.doctor.finding import Finding, Status, failed, passed, skipped, warned

RULE = "It is so."
PARTS = {
    "fail": failed(RULE, "a is bad", "mend a"),
    "warn": warned(RULE, "b is odd", "look at b"),
    "pass": passed(RULE, "c is fine"),
    "skip": skipped(RULE, "d is not there"),
}


@pytest.mark.parametrize(
    ("names", "worst"), [("skip pass", "pass"), ("pass warn", "warn"), ("warn fail skip", "fail"), ("skip", "skip")]
)
def test_the_worst_status_counts_and_every_part_is_named(names: str, worst: str) -> None:
    parts = [PARTS[name] for name in names.split()]
    found = Finding.summed_up(RULE, parts)
    assert found.status is Status(worst)
    assert all(part.seen in found.seen for part in parts)


def test_the_fix_is_that_of_the_worst_parts() -> None:
    other = failed(RULE, "e is bad", "mend e")
    found = Finding.summed_up(RULE, [PARTS["warn"], PARTS["fail"], other, other])
    assert found.fix == "mend a\nmend e"


def test_a_control_character_is_not_printed_as_it_is() -> None:
    assert "\x1b" not in passed(RULE, "title \x1b]0;x\x07").seen
