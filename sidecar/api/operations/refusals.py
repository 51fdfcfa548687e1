"""List the reasons of refusals by HTTP status: those of every route, of a push and of a closed gate.

Invariants:
- A reason never changes.
- Server and ledger are strangers to this package; tests compare their tables with the names here.

Sources: RFC 9457, Problem Details for HTTP APIs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from sidecar.entitlement.classify import UNKNOWN
from sidecar.entitlement.error_table import ROWS
from sidecar.metering.events import REASONS as EVENT_REASONS


class Refusal(NamedTuple):
    """A reason that router, Flask application or HTTP server give."""

    status: int
    meaning: str


REFUSALS: Final[Mapping[str, Refusal]] = {
    "asked_just_now": Refusal(429, "AWS was asked within the last 15 seconds. Wait as long as `Retry-After` says."),
    "bad_request": Refusal(
        400, "The request is not valid HTTP/1.1, or a query or body says nothing that the route takes."
    ),
    "body_too_large": Refusal(413, "The body is longer than the listener reads."),
    "cross_origin": Refusal(
        403, "A web page of another origin sent it. [Who may ask](#who-may-ask-the-products-listener)."
    ),
    "expectation_failed": Refusal(417, "`Expect` asks for something other than `100-continue`."),
    "headers_too_large": Refusal(431, "The header fields are too long or too many."),
    "host_refused": Refusal(403, "`Host` is none of the listener's names. Add it to `SIDECAR_API_HOSTS`."),
    "illegal_transition": Refusal(409, "No rule allows that move of a record. Nothing was changed."),
    "internal_error": Refusal(500, "A route broke. The log event `request.failed` says where."),
    "loop_stopped": Refusal(503, "A loop of the sidecar stopped. Restart the container."),
    "method_not_allowed": Refusal(405, "The route does not take that method. See the `Allow` header."),
    "no_contract": Refusal(409, "No contract is checked: `SIDECAR_ENTITLEMENT_CHECK` is not `checkout_license`."),
    "nonce_length": Refusal(422, "The nonce of a proof has 16 to 255 characters."),
    "not_found": Refusal(404, "There is no such route on this listener."),
    "other_instance": Refusal(
        421,
        "`Entitlement-Sidecar-Instance` names another start of a sidecar than the one that listens there. Read the"
        " address file again.",
    ),
    "token_refused": Refusal(401, "The token of `SIDECAR_API_TOKEN_FILE` is missing, or is another one."),
    "too_busy": Refusal(503, "Too many requests at once. Ask again in a second."),
    "unsupported_content_coding": Refusal(
        415, "`Content-Encoding` is neither `gzip` nor `deflate`; `Accept-Encoding` has both."
    ),
    "unsupported_transfer_coding": Refusal(501, "The only transfer coding that is read is `chunked`."),
    "uri_too_long": Refusal(414, "The request line is too long."),
}
"""Reason → status and meaning."""

BY_SERVER: Final = (
    "bad_request",
    "token_refused",
    "cross_origin",
    "host_refused",
    "body_too_large",
    "uri_too_long",
    "unsupported_content_coding",
    "expectation_failed",
    "other_instance",
    "headers_too_large",
    "internal_error",
    "unsupported_transfer_coding",
    "too_busy",
)
"""What the HTTP server may answer in place of any route."""

LEDGER: Final = (
    "ledger_full",
    "ledger_read_only",
    "ledger_io_error",
    "ledger_corrupt",
    "ledger_locked",
    "ledger_on_network_file_system",
    "ledger_newer_schema",
    "ledger_of_another",
    "ledger_missing_directory",
    "ledger_closed",
    "shutting_down",
    "ledger_failed",
)
"""Why a ledger does not keep or show usage."""
WORKLOAD_UNKNOWN: Final = "workload_unknown"
NOT_KEPT: Final = (*LEDGER, WORKLOAD_UNKNOWN)

PUSH: Final[Mapping[str, int]] = {**EVENT_REASONS, "id_conflict": 409, **dict.fromkeys(NOT_KEPT, 503)}
"""Reason of a refused push → HTTP status."""

GATE_ITSELF: Final = (
    "asking",
    "registered",
    "dry_run_passed",
    "kept_answer",
    "kept_pass",
    "licenses_allowed",
    "kept_contract",
    "metering_overdue",
    "ledger_opening",
    "ledger_stuck",
    "seat_lost",
)
"""What the gate says without an answer that is in the error table."""
ANSWERS: Final = tuple(sorted({row.reason for row in ROWS} | {UNKNOWN.reason}))
"""What a refusal, a failure or a token that does not verify means."""
GATE: Final = (*GATE_ITSELF, *ANSWERS, *NOT_KEPT)
"""Every reason of `GET /entitled`."""


def push_reasons(status: int) -> tuple[str, ...]:
    """Return the reasons with which a push is refused with this status."""
    return tuple(reason for reason, found in PUSH.items() if found == status)
