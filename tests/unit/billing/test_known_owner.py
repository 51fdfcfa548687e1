"""Who is metered is learned once, and where perhaps later."""

from __future__ import annotations

import pytest

from sidecar.billing.known_owner import KnownOwner
from sidecar.ledger.opening import Owner


@pytest.mark.parametrize(
    ("told", "workload", "region"),
    [
        ([("w", "r")], "w", "r"),
        ([("w", "")], "w", ""),
        ([("w", ""), ("w", "r")], "w", "r"),
        ([("w", ""), ("", "r")], "w", "r"),
        ([("w", ""), ("v", "r")], "w", ""),
        ([("w", "r"), ("w", "s")], "w", "r"),
        ([("w", "r"), ("v", "s"), ("w", "")], "w", "r"),
    ],
)
def test_what_is_known_does_not_move(told: list[tuple[str, str]], workload: str, region: str) -> None:
    known = KnownOwner("product")
    for one in told:
        known.learn(*one)
    assert known.owner == Owner(workload=workload, product_code="product", region=region)
    assert known.complete == bool(region)


@pytest.mark.parametrize("told", [("", ""), ("", "r")])
def test_without_a_workload_nothing_is_known(told: tuple[str, str]) -> None:
    known = KnownOwner("product")
    assert (known.learn(*told), known.owner, known.complete) == (False, None, False)
