"""Knobs, turned by name."""

from __future__ import annotations

from typing import Any

import pytest

from sidecar.emulator.behaviour import Behaviour, Claims
from sidecar.emulator.refusals import BadCommand


def test_a_knob_named_is_turned_and_the_others_stay() -> None:
    turned = Behaviour(disabled=True).changed({"claims": "pascal", "superseded": [1, 2]})
    assert turned == Behaviour(disabled=True, claims=Claims.PASCAL, superseded=(1, 2))


def test_what_is_shown_can_be_sent_back() -> None:
    shown = Behaviour(truncated=True, iat_offset_seconds=-3.5).as_json()
    sent = {**shown, "superseded": list(shown["superseded"])}  # type: ignore[call-overload]
    assert Behaviour().changed(sent) == Behaviour(truncated=True, iat_offset_seconds=-3.5)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"claim": "pascal"}, "claim"),
        ({"claims": "snake"}, "claims"),
        ({"claims": None}, "claims"),
        ({"disabled": "yes"}, "disabled"),
        ({"disabled": 1}, "disabled"),
        ({"iat_offset_seconds": "3"}, "iat_offset_seconds"),
        ({"iat_offset_seconds": float("nan")}, "iat_offset_seconds"),
        ({"iat_offset_seconds": 1e300}, "iat_offset_seconds"),
        ({"superseded": 1}, "superseded"),
        ({"superseded": [0]}, "superseded"),
        ({"region": ""}, "region"),
        ({"reask": "perhaps"}, "reask"),
        ({"allocations_max": 0}, "allocations_max"),
        ({"allocations_max": 2.5}, "allocations_max"),
        ({"tag_keys_max": True}, "tag_keys_max"),
        ({"dry_run_status": 500}, "dry_run_status"),
        ({"late_from": "day"}, "late_from"),
        ({"client_token_checked": 1}, "client_token_checked"),
        ({"platform": []}, "platform"),
    ],
)
def test_a_knob_turned_wrongly_is_named(body: dict[str, Any], field: str) -> None:
    with pytest.raises(BadCommand, match=f"^{field}:"):
        Behaviour().changed(body)
