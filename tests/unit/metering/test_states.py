"""A record moves as the table allows, and no other way."""

from __future__ import annotations

import itertools

import pytest

from sidecar.metering.states import TRANSITIONS, Action, Disposition, IllegalTransition, State, next_state

MOVES = [*Disposition, *Action]


@pytest.mark.parametrize(("state", "move"), list(itertools.product(State, MOVES)))
def test_a_record_moves_as_the_table_says_and_no_other_way(state: State, move: Disposition | Action) -> None:
    if (state, move) in TRANSITIONS:
        assert next_state(state, move) is TRANSITIONS[state, move]
    else:
        with pytest.raises(IllegalTransition):
            next_state(state, move)


def test_what_is_settled_or_rolled_forward_stays_so() -> None:
    assert not {State.SETTLED, State.ROLLED_FORWARD} & {state for state, _ in TRANSITIONS}


def test_every_disposition_has_its_place_for_a_sealed_record() -> None:
    assert all((State.SEALED, disposition) in TRANSITIONS for disposition in Disposition)


def test_every_state_can_be_reached() -> None:
    assert {State.OPEN, *TRANSITIONS.values()} == set(State)
