"""The audit copy has every record, page by page, and each customer's totals at its end."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from flask import Flask

from sidecar.api.json_body import Malformed
from sidecar.metering.states import State
from sidecar.saas import export_pages, flask_records
from sidecar.saas.sql_store import SqlStore
from sidecar.saas.store import ExportPage
from tests.integration.saas.support import HOUR, KEY, a_store, accepted, customer, seal, used


def pages(store: SqlStore, size: int) -> list[ExportPage]:
    found = [store.export(size=size)]
    while found[-1].after:
        found.append(store.export(found[-1].after, size=size))
    return found


def filled(store: SqlStore) -> None:
    """Three hours of two customers and two dimensions, and an open one."""
    hour = HOUR
    for _ in range(3):
        for name in ("1", "2"):
            of = customer(name).key
            accepted(store, used(1, of=of), used(2, "gigabytes", of=of), at=hour.start)
        seal(store, hour)
        hour = hour.next
    accepted(store, used(5), at=hour.start)


@pytest.mark.parametrize("size", [1, 5, 12, 13, 100])
def test_every_record_is_on_one_page_and_the_totals_on_the_last(url: str, size: int) -> None:
    with a_store(url, customer("1"), customer("2")) as store:
        filled(store)
        found = pages(store, size)
        records = [one for page in found for one in page.records]
        names = [(one.usage.hour, one.customer, one.usage.dimension) for one in records]
        assert len(names) == len(set(names)) == 13
        assert [one.usage.hour for one in records] == sorted(one.usage.hour for one in records)
        assert [one.usage.state for one in records] == [State.SEALED] * 12 + [State.OPEN]
        assert [len(page.balances) for page in found] == [0] * (len(found) - 1) + [4]
        assert found[-1].balances == store.report()


def test_a_record_that_was_sealed_behind_the_first_page_is_on_a_later_one(url: str) -> None:
    with a_store(url) as store:
        accepted(store, used(1))
        seal(store)
        first = store.export(size=1)
        accepted(store, used(2), at=HOUR.next.start)
        seal(store, HOUR.next)
        (one,) = store.export(first.after, size=5).records
        assert (one.customer, one.usage.quantity) == (KEY, Decimal(2))


@pytest.mark.parametrize("after", ["x", "1:2", "1:2:", "-1:2:requests", f"1:{'9' * 19}:requests", "1:2:a\nb"])
def test_a_place_that_no_page_named_is_refused(url: str, after: str) -> None:
    with a_store(url) as store, pytest.raises(ValueError, match="is not hour, customer and dimension"):
        store.export(after)


def test_each_page_over_http_links_to_the_next(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    nothing: Any = None
    monkeypatch.setattr(export_pages, "PAGE", 5)
    with a_store(url, customer("1"), customer("2")) as store:
        filled(store)
        app = Flask(__name__)
        flask_records.add(app, store, decide=nothing, send_now=nothing)
        client, target, lines = app.test_client(), "/v1/usage/export", []
        while target:
            page = client.get(target)
            lines += map(json.loads, page.text.splitlines())
            target = page.headers.get("Link", "").partition(">")[0].lstrip("<")
    assert [list(line) for line in lines] == [["record"]] * 13 + [["total"]] * 4
    assert all(line["total"]["balances"] for line in lines[13:])


def test_a_page_that_does_not_exist_is_refused_with_the_value(url: str) -> None:
    nothing: Any = None
    with a_store(url) as store:
        app = Flask(__name__)
        flask_records.add(app, store, decide=nothing, send_now=nothing)
        app.testing = True
        with pytest.raises(Malformed, match='after is "x"; it is what the Link of the page before has'):
            app.test_client().get("/v1/usage/export?after=x")
