"""Call BatchMeterUsage once and return the answer as a value.

`saas.batches` says which records a call has and whose answer is whose.

Invariants:
- Sealed records are sent as they are, in one attempt.
- Credentials are fetched before the call: a failure there has certainly billed nothing.
- A list that is missing, or null, is empty. What cannot be read as an answer about a record is none: the record
  counts as not answered, and is sent again.
- Every exception becomes a value.

Sources: AWS Marketplace API Reference, BatchMeterUsage; botocore's service model and exceptions.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from botocore.exceptions import ClientError

from sidecar.marketplace.client import Marketplace
from sidecar.marketplace.failed_calls import Failure, no_answer, not_called, refused
from sidecar.marketplace.sdk_errors import request_id_of
from sidecar.metering.batch_call import Answered, BatchOutcome, BatchRequest, RecordAnswer, RecordKey
from sidecar.quick_dataclasses import dataclass

OPERATION: Final = "BatchMeterUsage"


@dataclass(frozen=True, kw_only=True)
class Batched:
    """The outcome of sending one batch."""

    outcome: BatchOutcome
    request_id: str
    """AWS's request id; empty where it gave none."""


def batch_meter_usage(marketplace: Marketplace, request: BatchRequest) -> Batched:
    """Send a batch once. Raises nothing: the outermost edge of the SDK."""
    try:
        client = marketplace.ready()
    except Exception as exc:  # whatever the SDK raises while it makes its client and fetches credentials
        return _failed(not_called(exc))
    try:
        reply = client.batch_meter_usage(**request.as_wire())
    except ClientError as exc:
        return _failed(refused(exc, OPERATION))
    except Exception as exc:  # the outermost edge of the SDK, which raises whatever a strange reply makes it raise
        return _failed(no_answer(exc))
    return Batched(outcome=answered(reply), request_id=request_id_of(reply))


def answered(reply: Mapping[str, Any]) -> Answered:
    """Return what a 200 says of each record that it names."""
    results = [_answer(one) for one in _items(reply, "Results")]
    unprocessed = [_key(one) for one in _items(reply, "UnprocessedRecords")]
    return Answered(
        results=tuple(one for one in results if one is not None),
        unprocessed=tuple(one for one in unprocessed if one is not None),
    )


def _failed(failure: Failure) -> Batched:
    return Batched(outcome=failure.outcome, request_id=failure.request_id)


def _items(reply: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    found = reply.get(name)
    return [one for one in found if isinstance(one, Mapping)] if isinstance(found, list) else []


def _answer(result: Mapping[str, Any]) -> RecordAnswer | None:
    key = _key(result.get("UsageRecord"))
    if key is None:
        return None
    record_id = result.get("MeteringRecordId")
    return RecordAnswer(
        key=key,
        status=str(result.get("Status") or ""),
        record_id=record_id.strip() if isinstance(record_id, str) else "",
    )


def _key(record: object) -> RecordKey | None:
    """Return the key of an echoed record. The SDK gives its timestamp as a datetime in this host's zone."""
    if not isinstance(record, Mapping) or not isinstance(at := record.get("Timestamp"), datetime):
        return None
    return RecordKey.of(record, int(at.timestamp()))
