"""Answer `POST /v1/usage`: validate a push, and reply once its events are on disk.

What an event is: `metering.events`. How events are stored: `UsagePort.push`.

Invariants:
- Nothing waits here: the reply goes to a callable, on the thread that stored the events.
- 413, 400, 404 and 422 are decided before anything is asked of the disk; 409 and 503 by what stores usage.
- The Content-Type of a push is not checked: a client that sends JSON under another name loses no usage.
- No Flask: this runs all day.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Final

from sidecar.api.ports import UsagePort
from sidecar.api.reply import Reply, refusal
from sidecar.metering.events import PushAccepted, PushRefused, parse_events

PATH: Final = "/v1/usage"
RETRY_AFTER_SECONDS: Final = 1
"""For what passes by itself, or may: a full disk, a shutdown."""


def handle(usage: UsagePort, body: bytes, on_reply: Callable[[Reply], None]) -> None:
    """Store the events of a body with the next `commit_pending`.

    `on_reply` is called once: here where the events are refused, else on the thread that stored them.
    """
    now = usage.now()
    events = parse_events(body, usage.dimensions, now)
    if isinstance(events, PushRefused):
        usage.count_refusal(events.reason)
        on_reply(reply(events))
    else:
        usage.push(events, now, lambda result: on_reply(reply(result)))


def reply(result: PushAccepted | PushRefused) -> Reply:
    """Return the result of a push as an HTTP reply."""
    if isinstance(result, PushAccepted):
        return _accepted(*result)
    headers = (("Retry-After", str(RETRY_AFTER_SECONDS)),) if result.status == 503 else ()
    return refusal(result.status, result.reason, result.detail, headers, result.index)


@lru_cache(maxsize=32)
def _accepted(accepted: int, duplicates: int) -> Reply:
    """Return the reply to a push that was taken. Nearly all of them are among a few."""
    return Reply(status=200, body=f'{{"accepted": {accepted}, "duplicates": {duplicates}}}'.encode())
