"""What waits when a workload ends is listed whole, and adds up."""

from __future__ import annotations

import json
from decimal import Decimal

from sidecar.metering.quantities import exact_sum
from sidecar.metering.sealed_request import SealedRequest
from sidecar.metering.states import State
from sidecar.quick_dataclasses import replace
from tests.integration.ledger.support import Story, event


def test_unsettled_entries_add_up_to_what_waits_with_each_request(story: Story) -> None:
    ledger = story.open()
    tags = (("tenant", "x"),)
    story.push(
        ledger, event(quantity="7.5"), event("peak", "5"), event("level", "4"), event("gigabytes", "1", tags=tags)
    )
    records = {record.dimension: record for record in story.seal(ledger)}
    ledger.mark_sending([records["requests"]])
    lost = replace(records["requests"], attempts=1, definite=False, last_error="ReadTimeoutError")
    ledger.save(lost, story.now, outcome="unknown")
    ledger.save(replace(records["level"], state=State.DISPUTED, retry_at=None), story.now, outcome="disputed")
    expired = replace(records["peak"], state=State.EXPIRED)
    ledger.save(expired, story.now, outcome="too_late", roll_forward=True)
    story.push(ledger, event(quantity="3"), event("gigabytes", "2", tags=tags))
    left = json.loads(json.dumps(ledger.unsettled()))
    for one in ledger.balances():
        quantities = [Decimal(item["quantity"]) for item in left if item["dimension"] == one.dimension]
        assert exact_sum(quantities) == one.waiting, one.dimension
    assert {item["left"] for item in left} == {"record", "open", "carried", "rolled_forward"}
    kept = {item["dimension"]: item for item in left if item["left"] == "record"}
    assert kept["requests"]["last_error"] == "ReadTimeoutError"
    assert (kept["requests"]["attempts"], kept["requests"]["definite"]) == (1, False)
    assert kept["level"]["state"] == "disputed"
    again = SealedRequest.from_json(json.dumps(kept["requests"]["request"]))
    assert again == records["requests"].request
    assert again.digest == kept["requests"]["digest"]


def test_a_settled_record_is_no_unsettled_entry(story: Story) -> None:
    ledger = story.open()
    story.push(ledger, event())
    (record,) = story.seal(ledger)
    ledger.save(replace(record, state=State.SETTLED, record_id="m-1"), story.now, outcome="settled")
    assert ledger.unsettled() == []
