"""Turn the failure of a call that sends usage into an outcome: refused, or unknown.

What an outcome means for a record is decided in `metering.decide`.

Invariants:
- A failure before the call (credentials, regions, STS) certainly billed nothing, and says nothing of a record.
- Where AWS may have billed, the outcome is unknown.
- Of a message only the words that tell a bad clock or certificate are passed on.

Sources: botocore's exceptions; AWS Marketplace API Reference, "Common error types".
"""

from __future__ import annotations

from typing import NamedTuple

from botocore.exceptions import ClientError

from sidecar.marketplace.sdk_errors import class_names, code_of, message_of, request_id_of, retry_after_of
from sidecar.metering import dispositions, outcomes
from sidecar.metering.states import Disposition


class Failure(NamedTuple):
    """What came of a call that did not succeed."""

    outcome: outcomes.Refused | outcomes.Unknown
    request_id: str
    """AWS's request id; empty where it gave none."""


def refused(exc: ClientError, operation: str) -> Failure:
    """Return the failure of a call that AWS refused: the operation itself, or STS while credentials are renewed."""
    if exc.operation_name != operation:
        return not_called(exc)
    code = code_of(exc)
    outcome = outcomes.Refused(
        code=code, message=_qualifying(code, message_of(exc)), retry_after_seconds=retry_after_of(exc)
    )
    return Failure(outcome, request_id_of(exc.response))


def no_answer(exc: Exception) -> Failure:
    """Return the failure of a call that was not answered, or not in a way that the SDK can read."""
    code = dispositions.known_code(class_names(exc))
    message = _qualifying(code, str(exc))
    if dispositions.classify(code, message).definite:
        return Failure(outcomes.Refused(code=code, message=message, sent=False), "")
    return Failure(outcomes.Unknown(code=code), "")


def not_called(exc: Exception) -> Failure:
    """Return the outcome of a call that never reached its operation, so that nothing is wrong with the record."""
    if isinstance(exc, ClientError):
        code, message = code_of(exc), message_of(exc)
        request_id, retry_after_seconds = request_id_of(exc.response), retry_after_of(exc)
    else:
        code, message = dispositions.known_code(class_names(exc)), str(exc)
        request_id, retry_after_seconds = "", None
    message = _qualifying(code, message)
    if dispositions.classify(code, message).disposition is not Disposition.HOLD:
        code = "credentials_malformed"
    outcome = outcomes.Refused(code=code, message=message, retry_after_seconds=retry_after_seconds, sent=False)
    return Failure(outcome, request_id)


def _qualifying(code: str, message: str) -> str:
    """Return the words of a message that decide between two meanings of a code, and nothing else of it."""
    for qualifier, words in dispositions.QUALIFIERS.items():
        if f"{code}:{qualifier}" in dispositions.TABLE and (found := words.search(message)):
            return found[0]
    return ""
