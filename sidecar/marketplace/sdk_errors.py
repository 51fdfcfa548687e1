"""Turn an exception of the SDK into a value with a code, AWS's request id and the caller's role.

What the code means is decided in `entitlement.classify` for the gate and in `metering.dispositions` for a record.

Invariants:
- Every exception becomes a value with a code that `entitlement.error_table` has a row for.
- AWS's message serves to tell a bad clock from a bad signature and to learn the caller's role; it is not logged, and
  neither is anything else of the answer.

Sources: AWS Marketplace API Reference, "Common error types"; botocore's exceptions.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

from botocore.exceptions import ClientError

from sidecar.entitlement.answer import AnsweredBy, ErrorRow
from sidecar.entitlement.classify import classify, classify_exception
from sidecar.marketplace.container_token import refused_token
from sidecar.marketplace.request_guard import refused_by_client
from sidecar.printable import printable
from sidecar.quick_dataclasses import dataclass

CALLER: Final = re.compile(r"arn:aws[a-z-]*:(?:sts|iam)::[0-9]*:[\w+=,.@/-]+")
JSON_TYPES: Final = re.compile(r"application/(x-amz-json-1\.[01]|json)\s*(;.*)?", re.IGNORECASE)
FETCHES: Final = {one.value: one for one in (AnsweredBy.STS, AnsweredBy.ACCESS_TOKEN, AnsweredBy.LICENSE_ROLE)}
"""Calls that fetch credentials, which any other call may bring about."""
SKEW_SECONDS_SAID: Final = 60
"""A smaller clock difference is not worth mentioning."""
RETRY_AFTER_SECONDS_MAX: Final = 300.0


@dataclass(frozen=True, kw_only=True)
class CallFailed:
    """A call that was not answered with 200, or not at all."""

    code: str
    asked: AnsweredBy
    row: ErrorRow
    request_id: str = ""
    caller: str = ""
    """The role or user that AWS names in its refusal; empty where it names none."""
    skew_seconds: int | None = None
    """This host's clock minus AWS's, where AWS sent a Date."""
    retry_after_seconds: float | None = None


def call_failed(exc: Exception, asked: AnsweredBy, now: datetime) -> CallFailed:
    """Return what an exception of a call to `asked` means for the gate. `now` is this host's time."""
    if not isinstance(exc, ClientError):
        code, row = classify_exception(class_names(exc), str(exc))
        return CallFailed(code=code, asked=AnsweredBy.SDK, row=row)
    asked = FETCHES.get(exc.operation_name, asked)
    caller = CALLER.search(message_of(exc))
    code = code_of(exc)
    return CallFailed(
        code=code,
        asked=asked,
        row=classify(code, asked, message_of(exc)),
        request_id=request_id_of(exc.response),
        caller=caller[0] if caller else "",
        skew_seconds=_skew(headers_of(exc.response).get("date"), now),
        retry_after_seconds=retry_after_of(exc),
    )


def code_of(exc: ClientError) -> str:
    """Return AWS's code, or the HTTP status where there is none."""
    said = bare_code(str(exc.response.get("Error", {}).get("Code", "")))
    return said or str(exc.response.get("ResponseMetadata", {}).get("HTTPStatusCode", ""))


def bare_code(code: str) -> str:
    """Return a code without namespace (`ns#Code`) and suffix (`Code:http://…`), and without control characters."""
    return printable(code.rpartition("#")[2].partition(":")[0])


def message_of(exc: ClientError) -> str:
    """Return AWS's message. Never log it."""
    return str(exc.response.get("Error", {}).get("Message", ""))


def request_id_of(response: Mapping[str, Any]) -> str:
    """Return AWS's request id; empty where it gave none."""
    return str(response.get("ResponseMetadata", {}).get("RequestId", ""))


def headers_of(response: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the headers, with names in lower case."""
    found: Mapping[str, Any] = response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    return found


def of_aws(reply: Mapping[str, Any]) -> bool:
    """Return whether a 200 is one that AWS's JSON protocol would give: a captive portal answers 200 too."""
    headers = headers_of(reply)
    return bool(headers.get("x-amzn-requestid")) and bool(JSON_TYPES.fullmatch(str(headers.get("content-type", ""))))


def retry_after_of(exc: ClientError) -> float | None:
    """Return the seconds AWS asks to wait: `x-amz-retry-after` is in milliseconds."""
    try:
        milliseconds = int(headers_of(exc.response).get("x-amz-retry-after", ""))
    except (TypeError, ValueError):
        return None
    return min(max(milliseconds / 1000, 0.0), RETRY_AFTER_SECONDS_MAX)


def class_names(exc: Exception) -> tuple[str, ...]:
    """Return an exception's classes, from most to least specific, without those every exception has.

    An error that certainly sent nothing stands for its cause: of the HTTP client, or of a container's credentials.
    """
    exc = refused_by_client(exc) or refused_token(exc) or exc
    names = tuple(kind.__name__ for kind in type(exc).__mro__ if kind not in (Exception, BaseException, object))
    return names or ("Exception",)


def _skew(date: Any, now: datetime) -> int | None:
    try:
        skew = round((now - parsedate_to_datetime(date)).total_seconds())
    except (TypeError, ValueError):
        return None
    return skew if abs(skew) >= SKEW_SECONDS_SAID else None
