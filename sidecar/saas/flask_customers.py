"""Serve the customers: who holds a registration token, and the state of every subscription.

Invariants:
- No echo of a token.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from flask import Flask, Response, request

from sidecar.api.flask_responses import response, uncached_json
from sidecar.api.reply import refusal
from sidecar.clock import iso
from sidecar.marketplace.resolve_customer import NotResolved
from sidecar.saas.customers import Customer
from sidecar.saas.resolving import Resolver, read_token
from sidecar.saas.store import Store


def add(app: Flask, store: Store, resolver: Resolver, now: Callable[[], datetime]) -> None:
    """Add these routes."""

    @app.post("/v1/customers/resolve")
    def resolve() -> Response:
        """Return who holds a registration token, kept."""
        found = resolver.resolve(read_token(request.get_data(), request.content_type or ""), now())
        return _not_resolved(found) if isinstance(found, NotResolved) else uncached_json(customer_json(found))

    @app.get("/v1/customers")
    def customers() -> Response:
        """Return every customer, with the state of its subscription."""
        return uncached_json({"customers": [{**customer_json(one), **_state_json(one)} for one in store.customers()]})


def customer_json(customer: Customer) -> dict[str, object]:
    """Return a customer as `POST /v1/customers/resolve` answers it; null: AWS does not say."""
    return {
        "customer_aws_account_id": customer.aws_account_id or None,
        "license_arn": customer.license_arn or None,
        "customer_identifier": customer.identifier or None,
        "product_code": customer.product_code,
        "agreement_id": customer.agreement_id or None,
    }


def _state_json(customer: Customer) -> dict[str, object]:
    return {
        "state": customer.state.value,
        "state_since": iso(customer.state_since),
        "closed_at": iso(customer.closed_at) if customer.closed_at else None,
    }


def _not_resolved(found: NotResolved) -> Response:
    headers: tuple[tuple[str, str], ...] = ()
    if found.status == 503:
        headers = (("Retry-After", str(max(1, round(found.retry_after_seconds or 1)))),)
    return response(refusal(found.status, found.reason, found.hint, headers))
