"""Take notices from an SQS queue, and delete those that are done.

SQS's JSON protocol is three small requests, so no model of the service is needed: an image ships those of metering
alone. The SDK's credentials, signer and HTTP client are used.

Invariants:
- A message is deleted by a call of its own, after it is done; otherwise SQS delivers it again.
- Waiting for messages is a long poll, never a busy loop.
- Nothing of a message or a credential is in an error.

Sources: Amazon SQS API Reference, ReceiveMessage and DeleteMessage (AWS JSON protocol, long polling).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.exceptions import NoCredentialsError
from botocore.httpsession import URLLib3Session

from sidecar.errors import SidecarError
from sidecar.marketplace.client import Marketplace
from sidecar.marketplace.sdk_errors import bare_code, class_names
from sidecar.quick_dataclasses import dataclass, field

HOST: Final = re.compile(r"(?:^|\.)(?:sqs\.)?([a-z]{2}(?:-[a-z]+)+-[0-9])\.(?:queue\.)?amazonaws\.com(?:\.cn)?$")
BATCH_MAX: Final = 10
TIMEOUT_SECONDS: Final = 10


class QueueError(SidecarError):
    """The queue does not answer, or refuses. The next poll tries again."""


@dataclass(frozen=True, kw_only=True)
class Message:
    """One message."""

    body: str = field(repr=False)
    receipt: str = field(repr=False)
    """Names this delivery for its deletion."""


class NoticeQueue:
    """One queue."""

    def __init__(self, url: str, marketplace: Marketplace) -> None:
        """`marketplace` has the credentials; its region counts where the URL names none."""
        self._url, self._marketplace = url, marketplace
        parts = urlsplit(url)
        found = HOST.search(parts.hostname or "")
        self._region = found[1] if found else marketplace.region
        self._endpoint = f"{parts.scheme}://{parts.netloc}/"

    def receive(self, wait_seconds: int) -> tuple[Message, ...]:
        """Return the next messages; none after `wait_seconds` without any. Raises QueueError."""
        body = {"QueueUrl": self._url, "MaxNumberOfMessages": BATCH_MAX, "WaitTimeSeconds": wait_seconds}
        found = self._call("ReceiveMessage", body, wait_seconds).get("Messages")
        return tuple(
            Message(body=str(one.get("Body", "")), receipt=str(one.get("ReceiptHandle", "")))
            for one in (found if isinstance(found, list) else ())
            if isinstance(one, Mapping)
        )

    def delete(self, message: Message) -> None:
        """Delete a message that is done. Raises QueueError."""
        self._call("DeleteMessage", {"QueueUrl": self._url, "ReceiptHandle": message.receipt})

    def _call(self, action: str, body: Mapping[str, object], wait_seconds: int = 0) -> Mapping[str, Any]:
        try:
            status, text = self._send(action, json.dumps(body).encode(), TIMEOUT_SECONDS + wait_seconds)
        except Exception as exc:  # the outermost edge of the SDK
            raise QueueError(
                "queue_unreachable", f"SQS was not asked: {class_names(exc)[0]}. It is tried again."
            ) from exc
        try:
            found = json.loads(text or b"{}")
        except ValueError:
            found = None
        if status != 200 or not isinstance(found, dict):
            code = bare_code(str(found.get("__type", ""))) if isinstance(found, dict) else ""
            hint = (
                f"SQS answered {action} with {code or status}. Allow sqs:ReceiveMessage and sqs:DeleteMessage on the"
                " queue of SIDECAR_SAAS_QUEUE_URL. It is tried again."
            )
            raise QueueError("queue_refused", hint)
        return found

    def _send(self, action: str, body: bytes, timeout: float) -> tuple[int, bytes]:
        credentials = self._marketplace.session().get_credentials()
        if credentials is None:
            raise NoCredentialsError()
        headers = {"Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": f"AmazonSQS.{action}"}
        request = AWSRequest(method="POST", url=self._endpoint, data=body, headers=headers)
        SigV4Auth(credentials.get_frozen_credentials(), "sqs", self._region).add_auth(request)
        response = URLLib3Session(timeout=timeout).send(request.prepare())
        return int(response.status_code), bytes(response.content)
