"""Status documents and records, as a sidecar would have them at noon."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Any

from werkzeug.test import Client, TestResponse

from sidecar.api.flask_app import application
from sidecar.metering.hours import Hour
from sidecar.metering.records import UsageRecord
from sidecar.metering.states import State
from tests.fakes.clock import NOON
from tests.fakes.config import PRODUCT
from tests.fakes.usage import FakeUsage
from tests.fakes.view import FakeView

POD = "9b1c7f0e-3a52-4c1b-9d7e-2b8a64f0c913"
ROLE = "arn:aws:iam::123456789012:role/shop"


def status(**changes: Any) -> dict[str, Any]:
    """Return the document of an entitled pod without metering; `changes` replace fields, `a__b` inside `a`."""
    found: dict[str, Any] = {
        "version": "1.2.3",
        "started_at": "2026-01-01T09:00:00.000Z",
        "entitlement": {
            "entitled": True,
            "status": "entitled",
            "reason": "registered",
            "hint": "AWS Marketplace confirmed the entitlement.",
            "checked_at": "2026-01-01T09:00:01.000Z",
            "asking_since": "2026-01-01T09:00:00.000Z",
            "product_code": PRODUCT,
            "entitlement_check": "register_usage",
            "public_key_version": 1,
            "public_key_superseded_at": None,
            "public_key_weak_bits": None,
            "kept_answer": False,
            "aws_error": None,
            "aws_request_id": None,
        },
        "workload": {"id": POD, "kind": "pod", "pod": "shop-6d5f7", "namespace": "shop", "service_account": "shop"},
        "aws": {
            "region": "us-east-1",
            "region_source": "AWS_REGION",
            "region_disagreement": None,
            "partition": "aws",
            "host": "metering.marketplace.us-east-1.amazonaws.com",
            "credential_source": "irsa",
            "credential_caution": None,
            "role": ROLE,
        },
        "licenses": None,
        "metering": None,
        "unused_ledgers": [],
        "sources": [],
        "kubernetes": None,
        "loops": {"entitlement": "running"},
        "history": [{"at": "2026-01-01T09:00:00.000Z", "status": "pending", "reason": "asking"}],
    }
    for name, value in changes.items():
        outer, _, inner = name.partition("__")
        if inner:
            found[outer] = {**found[outer], inner: value}
        else:
            found[outer] = value
    return found


def gate(word: str, reason: str, hint: str, **more: Any) -> dict[str, Any]:
    """Return the document of a pod whose gate shows this."""
    fields = {"entitled": word == "entitled", "status": word, "reason": reason, "hint": hint, **more}
    return status(entitlement={**status()["entitlement"], **fields})


def licenses(**changes: Any) -> dict[str, Any]:
    """Return the part `licenses` of a contract with one seat."""
    seat = {
        "name": "seats",
        "unit": "Count",
        "value": "1",
        "expires_at": "2026-01-02T12:40:00.000Z",
        "extended_at": "2026-01-02T11:40:00.000Z",
        "lost_at": None,
        "ask_at": "2026-01-02T12:10:00.000Z",
        "fault": None,
    }
    found: dict[str, Any] = {
        "product_sku": "prod-4kq7example2x",
        "license_arn": "arn:aws:license-manager::294406891311:license:l-0123",
        "ends_at": "2026-12-31T00:00:00.000Z",
        "end_unknown": None,
        "granted": [{"name": "seats", "unit": "Count", "value": "1", "take": "seat"}],
        "on_seat_lost": "hold",
        "seats": [seat],
    }
    return found | changes


def metering(**changes: Any) -> dict[str, Any]:
    """Return the part `metering` of a ledger in use."""
    found: dict[str, Any] = {
        "dimensions": ["requests"],
        "ledger": {"path": "/state/ledger.db", "writable": True, "reason": None, "hint": None, "bytes": 40960},
        "open_hour": "2026-01-02T12:00:00.000Z",
        "records": {"sealed": 0, "settled": 3, "disputed": 0, "expired": 0, "rejected": 0, "rolled_forward": 0},
        "oldest_unsettled_hour": None,
        "last_settled_at": "2026-01-02T11:00:09.000Z",
        "overdue_since": None,
        "passed_at": "2026-01-02T11:59:59.000Z",
        "quantities": {"requests": {"accepted": "17", "settled": "12", "waiting": "5"}},
        "held": [],
        "orphaned": [],
        "claimed": {},
        "quarantined": [],
        "hint": None,
    }
    return found | changes


def record(hours_ago: int, state: State, quantity: str = "7", dimension: str = "requests", **more: Any) -> UsageRecord:
    """Return a record of the hour that began so many hours before noon."""
    hour = Hour(NOON - timedelta(hours=hours_ago))
    return UsageRecord(hour=hour, dimension=dimension, state=state, quantity=Decimal(quantity), **more)


def view(document: Mapping[str, Any] | None = None, *records: UsageRecord, **more: Any) -> FakeView:
    """Return a view of this document and these records."""
    return FakeView(document=document or status(), usage=FakeUsage(found=records), **more)


def get(of: FakeView, path: str = "/") -> TestResponse:
    """Return the page."""
    return Client(application(of)).get(path)
