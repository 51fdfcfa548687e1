"""Speak Amazon SQS's JSON protocol: ReceiveMessage and DeleteMessage.

Elsewhere: what is in the queues (`queues`).

Invariants (SQS service model 2012-11-05, protocol AWS JSON 1.0, compatible with the older query protocol):
- The operation is in X-Amz-Target, `AmazonSQS.<Operation>`; the signing name is `sqs`.
- A queue is named by the end of its URL, whatever stands before it.
- An error has its older code in `x-amzn-query-error` too; SDKs show that one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from sidecar.emulator.json_api import error, json_object, operation_of, success
from sidecar.emulator.queues import Message
from sidecar.emulator.refusals import Refusal, refusal
from sidecar.emulator.state import EmulatorState
from sidecar.emulator.wire import Conditions, Incoming, Reply, admitted, signer

TARGET_PREFIX: Final = "AmazonSQS."
SIGNING_NAME: Final = "sqs"
CONTENT_TYPE: Final = "application/x-amz-json-1.0"
RECEIVE: Final = "ReceiveMessage"
DELETE: Final = "DeleteMessage"
OPERATIONS: Final[Mapping[str, None]] = {RECEIVE: None, DELETE: None}
VISIBILITY_SECONDS: Final = 30
OLDER_CODES: Final[Mapping[str, str]] = {"QueueDoesNotExist": "AWS.SimpleQueueService.NonExistentQueue"}


class QueueService:
    """Amazon SQS, as far as a consumer needs it."""

    def operation(self, incoming: Incoming) -> str:
        return operation_of(incoming.headers, TARGET_PREFIX, OPERATIONS)

    def workload(self, emulated: EmulatorState, incoming: Incoming) -> str | None:
        return signer(emulated, incoming)

    def perform(self, emulated: EmulatorState, operation: str, incoming: Incoming, conditions: Conditions) -> Reply:
        admitted(emulated, operation, incoming, conditions, signing_name=SIGNING_NAME)
        body = json_object(incoming.body)
        queue = _queue(emulated, body)
        members = _received(emulated, queue, body) if operation == RECEIVE else _deleted(emulated, queue, body)
        return replace(success(members), content_type=CONTENT_TYPE)

    def refuse(self, refused: Refusal, incoming: Incoming) -> Reply:
        code = OLDER_CODES.get(refused.code, refused.code)
        fault = "Receiver" if refused.status >= 500 else "Sender"
        reply = error(refused, "message")
        headers = {**reply.headers, "x-amzn-query-error": f"{code};{fault}"}
        return replace(reply, content_type=CONTENT_TYPE, headers=headers)


def _queue(emulated: EmulatorState, body: Mapping[str, object]) -> str:
    url = body.get("QueueUrl")
    name = url.rstrip("/").rpartition("/")[2] if isinstance(url, str) else ""
    if not emulated.queues.has(name):
        raise refusal("QueueDoesNotExist", "The specified queue does not exist.")
    return name


def _received(emulated: EmulatorState, queue: str, body: Mapping[str, object]) -> dict[str, object]:
    messages = emulated.queues.receive(
        queue,
        most=_number(body, "MaxNumberOfMessages", 1, least=1, most=10),
        wait_seconds=_number(body, "WaitTimeSeconds", 0, most=20),
        invisible_seconds=_number(body, "VisibilityTimeout", VISIBILITY_SECONDS, most=43_200),
    )
    return {"Messages": [_message(each) for each in messages]} if messages else {}


def _message(message: Message) -> dict[str, object]:
    return {
        "MessageId": message.id,
        "ReceiptHandle": message.receipt,
        "MD5OfBody": hashlib.md5(message.body.encode(), usedforsecurity=False).hexdigest(),
        "Body": message.body,
        "Attributes": {
            "ApproximateReceiveCount": str(message.receives),
            "SentTimestamp": str(int(message.sent_at.timestamp() * 1000)),
        },
    }


def _deleted(emulated: EmulatorState, queue: str, body: Mapping[str, object]) -> dict[str, object]:
    if not emulated.queues.delete(queue, str(body.get("ReceiptHandle"))):
        raise refusal("ReceiptHandleIsInvalid", "The input receipt handle is invalid.")
    return {}


def _number(body: Mapping[str, object], name: str, default: int, *, least: int = 0, most: int) -> int:
    value = body.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise refusal("InvalidParameterValue", f"Value {value} for parameter {name} is invalid: {least} to {most}.")
    return value
