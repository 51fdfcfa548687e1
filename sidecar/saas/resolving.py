"""Find out who holds a registration token, and keep the customer.

Invariants:
- The customer is kept before it is answered, and a second question with the same token gives the same answer.
- A token of another product is refused: its buyer has bought nothing of ours.
- The token is in no log and in no answer.

Sources: AWS Marketplace API Reference, ResolveCustomer; seller guide, SaaS registration (`x-amzn-marketplace-token`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from datetime import datetime
from typing import Final
from urllib.parse import unquote

from sidecar import log
from sidecar.api.json_body import Malformed, read_object
from sidecar.marketplace.resolve_customer import NotResolved, Resolved
from sidecar.saas.customers import Customer, key_of
from sidecar.saas.log_events import customer_fields
from sidecar.saas.store import Store

FORM_FIELD: Final = "x-amzn-marketplace-token"
TOKEN: Final = re.compile(r"[\x21-\x7e]{1,4096}")


class Resolver:
    """Resolves registration tokens. Any thread may call it."""

    def __init__(
        self, store: Store, products: Collection[str], resolve: Callable[[str], Resolved | NotResolved]
    ) -> None:
        """`resolve` asks AWS once."""
        self._store, self._products, self._resolve = store, products, resolve

    def resolve(self, token: str, now: datetime) -> Customer | NotResolved:
        """Return the customer, kept. Waits for AWS and the database. Raises StoreError."""
        found = self._resolve(token)
        if isinstance(found, Resolved) and found.product_code not in self._products:
            found = _other_product(found)
        if isinstance(found, NotResolved):
            log.warn(
                "customer.not_resolved", reason=found.reason, aws_error=found.code, aws_request_id=found.request_id
            )
            return found
        customer = self._store.keep_customer(_customer(found, now))
        log.event(
            "customer.resolved",
            **customer_fields(customer.key),
            agreement_id=customer.agreement_id or None,
            state=customer.state.value,
            aws_request_id=found.request_id,
        )
        return customer


def read_token(body: bytes, content_type: str) -> str:
    """Return the token in a body: JSON, or the form that AWS has the buyer's browser post. Raises Malformed.

    A JSON object is read as one whatever its Content-Type. In the form a + stays a +: no token holds a blank, and a
    form that was decoded twice would have lost it.
    """
    token: object
    form = content_type.partition(";")[0].strip().lower() == "application/x-www-form-urlencoded"
    if form and not body.lstrip().startswith(b"{"):
        pairs = (pair.partition("=") for pair in body.decode("latin-1").split("&"))
        token = next((unquote(value) for name, _, value in pairs if unquote(name) == FORM_FIELD), "")
    elif body.lstrip().startswith(b'"'):  # perhaps the token itself: it is not repeated
        raise Malformed('The body is a text, not an object: send {"token": …}.')
    else:
        token = read_object(body, ("token",)).get("token", "")
    if not isinstance(token, str) or not TOKEN.fullmatch(token):
        lost = isinstance(token, str) and " " in token
        hint = " It holds a blank: a + was lost when the form was decoded." if lost else ""
        raise Malformed(f"token is not the registration token, 1 to 4096 characters without blanks.{hint}")
    return token


def _customer(found: Resolved, now: datetime) -> Customer:
    key = key_of(
        product_code=found.product_code,
        aws_account_id=found.account,
        license_arn=found.license_arn,
        identifier=found.identifier,
    )
    return Customer(
        key=key,
        product_code=found.product_code,
        aws_account_id=found.account,
        license_arn=found.license_arn,
        identifier=found.identifier,
        agreement_id=found.agreement_id,
        resolved_at=now,
        state_since=now,
    )


def _other_product(found: Resolved) -> NotResolved:
    hint = (
        f"This token is for the product {found.product_code}, which is none of SIDECAR_SAAS_PRODUCTS. Add it there, or"
        " point that listing's registration URL elsewhere."
    )
    return NotResolved(status=422, reason="other_product", hint=hint, code="200", request_id=found.request_id)
