from __future__ import annotations

import re

import pytest

from sidecar.listing.finding import Kind
from sidecar.listing.rule import Rule
from sidecar.listing.table import BY_ID, CHECK_OF, OWN_RULES_OF, RULES, RULES_OF

PREFIX = {Kind.CHART: "chart-", Kind.IMAGE: "image-", Kind.TASK_DEFINITION: "task-", Kind.MANIFEST: "manifest-"}


def test_every_kind_has_rules_and_a_check() -> None:
    assert set(OWN_RULES_OF) == set(RULES_OF) == set(CHECK_OF) == set(Kind)


def test_an_id_stands_once() -> None:
    assert len(BY_ID) == len(RULES) > 30


def test_an_id_begins_with_what_it_is_about() -> None:
    for kind, rules in OWN_RULES_OF.items():
        assert [one.id for one in rules if not re.fullmatch(rf"{PREFIX[kind]}[a-z]+(-[a-z0-9]+)*", one.id)] == []


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_a_rule_has_its_texts_and_its_source(rule: Rule) -> None:
    for text in (rule.title, rule.aws, rule.fix):
        assert text == " ".join(text.split())
    assert rule.aws.endswith(".")
    assert rule.source.startswith("https://")


def test_an_image_is_checked_for_its_manifest_too() -> None:
    assert set(RULES_OF[Kind.IMAGE]) == {*OWN_RULES_OF[Kind.IMAGE], *OWN_RULES_OF[Kind.MANIFEST]}
