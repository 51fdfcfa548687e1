"""The table has the checks of the contract, each with what its page needs."""

from __future__ import annotations

import pytest

from sidecar.doctor.table import CHECKS, Check

IDS = (
    "settings manifest public_key workload region credentials identity dns tcp tls proxy clock iam state_dir ledger"
    " disk listeners kubernetes"
)
CONTRACT = IDS.split()


def test_the_ids_are_those_of_the_contract_in_its_order() -> None:
    assert [check.id for check in CHECKS] == CONTRACT


@pytest.mark.parametrize("check", CHECKS, ids=[check.id for check in CHECKS])
def test_a_check_has_a_rule_and_fixes_and_needs_only_earlier_ones(check: Check) -> None:
    earlier = CONTRACT[: CONTRACT.index(check.id)]
    assert check.rule.endswith(".")
    assert check.fixes
    assert set(check.needs) <= set(earlier)
    assert check.module.__name__ == f"sidecar.doctor.checks.{check.id}"
