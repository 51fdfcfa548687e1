"""The audit copy is read page by page, to its end."""

from __future__ import annotations

import json

import pytest

from sidecar.metering.states import State
from tests.integration.ledger.support import (
    Story,
    audit_copy,
    event,
)


def test_a_long_ledger_is_read_page_by_page(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sidecar.ledger.records.PAGE", 3)
    ledger = story.open()
    for _ in range(4):
        story.push(ledger, event(), event("peak"))
        story.seal(ledger)
    story.push(ledger, event())
    found = list(ledger.records())
    assert [(one.hour, one.dimension) for one in found] == sorted((one.hour, one.dimension) for one in found)
    assert [one.state for one in found] == [State.SEALED] * 8 + [State.OPEN]
    assert len(audit_copy(ledger)) == 8 + len(story.dimensions)


def test_a_line_says_whose_record_it_is(story: Story) -> None:
    ledger = story.open()
    story.push(ledger, event())
    story.seal(ledger)
    line = json.loads(audit_copy(ledger)[0])
    owner = story.owner
    found = (line["workload"], line["product_code"], line["region"])
    assert found == (owner.workload, owner.product_code, owner.region)


@pytest.mark.parametrize("after", ["x", "1", "1:", ":requests", "-1:requests", "9" * 30 + ":requests"])
def test_an_export_goes_on_only_from_where_a_page_ended(story: Story, after: str) -> None:
    with pytest.raises(ValueError, match="no page"):
        story.open().export_page(after)
