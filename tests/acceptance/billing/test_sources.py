"""Usage that is pulled is billed to the unit, whatever ends in between."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sidecar.emulator import Emulator
from tests.acceptance.billing.metered import SLOW, Metered, billed
from tests.acceptance.support import eventually
from tests.integration.sources.support import Product
from tests.ports import free_port


@pytest.mark.slow
def test_the_bill_is_the_products_counter_though_the_sidecar_is_killed(aws: Emulator, tmp_path: Path) -> None:
    port = free_port()
    source = {
        "kind": "prometheus",
        "dimension": "requests",
        "url": f"http://127.0.0.1:{port}/metrics",
        "metric": "requests_total",
        "take": "increase",
    }
    first = Metered(aws, tmp_path, SIDECAR_SOURCES=json.dumps([source])).start()
    first.logged("source.waiting", SLOW)
    first.killed()
    product = Product(port)
    product.say('# TYPE requests_total counter\nrequests_total{code="200"} 30\nrequests_total{code="500"} 11\n')
    second = first.again().start().ready()
    assert second.logged("source.began", SLOW)["counts_from"] == "zero"
    found = eventually(lambda: [one for one in second.api("GET /v1/status")[1]["sources"] if one["counted"] == "41"])
    assert (found[0]["reason"], found[0]["series"]) == (None, 2)
    second.killed()
    third = second.again().start().ready()
    eventually(lambda: third.api("GET /v1/status")[1]["sources"][0]["read_at"])
    product.say('requests_total{code="200"} 40\nrequests_total{code="500"} 17\n')
    third.told()
    assert third.ended(SLOW) == 0
    product.close()
    assert billed(aws) == 57
