"""Lines about the same record: identical ones count once, contradictory ones are named."""

from __future__ import annotations

from typing import Any

import pytest

from sidecar.audit.merge import RANK, merge
from sidecar.audit.rows import Kind
from sidecar.metering.states import State
from tests.unit.audit.support import billed, ours, waiting


def test_every_state_of_a_record_has_a_rank() -> None:
    assert set(RANK) == {state.value for state in State}


def test_an_export_and_a_log_of_one_record_complete_each_other() -> None:
    exported = ours("a", account="")
    logged = ours("a", tokens="", account="1", origin="log")
    for rows in ([exported, logged], [logged, exported]):
        merged = merge(rows)
        (one,) = merged.settled.values()
        assert (one.tokens, one.account) == ("token-a", "1")
        assert merged.contradictions == []


def test_a_later_export_supersedes_an_earlier_one() -> None:
    merged = merge([waiting("sealed", "a"), ours("a"), waiting("disputed", "a")])
    assert (len(merged.settled), merged.unsettled, merged.contradictions) == (1, {}, [])
    rows = [waiting("rejected"), waiting("sealed"), waiting("rolled_forward"), waiting("sealed")]
    assert [one.state for one in merge(rows).unsettled.values()] == ["rolled_forward"]


@pytest.mark.parametrize(
    "other",
    [{"quantity": 8_000_000}, {"workload": "pod-other"}, {"product": "other"}, {"region": "eu-west-1"}],
    ids=["quantity", "workload", "product", "region"],
)
def test_two_lines_that_differ_in_one_field_contradict(other: dict[str, Any]) -> None:
    (one,) = merge([ours("a"), ours("a", **other, origin="second")]).contradictions
    assert one.kind is Kind.CONTRADICTION
    assert one.origins == ("export:a", "second")
    assert str(next(iter(other.values()))).removesuffix("000000") in one.note


@pytest.mark.parametrize("name", ["workload", "product", "region", "account", "tokens"])
def test_what_one_line_does_not_know_is_no_contradiction(name: str) -> None:
    assert merge([ours("a"), ours("a", **{name: ""})]).contradictions == []


def test_two_final_states_of_one_record_contradict() -> None:
    merged = merge([ours("a"), waiting("rolled_forward", "a")])
    assert [one.kind for one in merged.contradictions] == [Kind.CONTRADICTION]


def test_an_accepted_quantity_supersedes_the_dispute_and_counts_once() -> None:
    accepted = ours("", tokens="t")
    merged = merge([waiting("disputed", tokens="t"), accepted, accepted._replace(origin="later", tokens="")])
    assert (len(merged.settled), merged.unsettled, merged.contradictions) == (1, {}, [])
    assert len(merge([accepted, accepted._replace(workload="pod-2", tokens="u")]).settled) == 2


def test_two_events_without_a_record_id_stay_two() -> None:
    assert len(merge([billed("", origin="1"), billed("", origin="2")]).billed) == 2
