"""What does the product hear when it reports usage? `POST /v1/usage`, answered once the disk has it.

Leaves to others what an event is (`metering.events`) and whether it is kept (`Usage.push`).

Rules kept here:
- Nothing waits here: the answer is given through a callable, by whoever knows it, when it is known.
- 413, 400, 404 and 422 are told before anything is asked of the disk; 409 and 503 by what keeps usage.
- The Content-Type of a push is not asked for: a client that sends JSON under another name loses no usage.
- No Flask: this runs all day.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from sidecar.api.ports import Usage
from sidecar.api.reply import Reply, refusal
from sidecar.metering.events import PushAccepted, PushRefused, parse_events

PATH: Final = "/v1/usage"
RETRY_AFTER_SECONDS: Final = 1
"""For what passes by itself, or may: a full disk, a shutdown."""


def take(usage: Usage, body: bytes, answered: Callable[[Reply], None]) -> None:
    """Have the events of a body kept by the next `hand_over`. `answered` is called once: here where they are refused,
    else from the thread that kept them.
    """
    now = usage.now()
    events = parse_events(body, usage.dimensions, now)
    if isinstance(events, PushRefused):
        usage.refused(events.reason)
        answered(reply(events))
    else:
        usage.push(events, now, lambda result: answered(reply(result)))


def reply(result: PushAccepted | PushRefused) -> Reply:
    """Return what became of a push, as an answer."""
    if isinstance(result, PushAccepted):
        words = f'{{"accepted": {result.accepted}, "duplicates": {result.duplicates}}}'
        return Reply(status=200, body=words.encode())
    headers = (("Retry-After", str(RETRY_AFTER_SECONDS)),) if result.status == 503 else ()
    return refusal(result.status, result.reason, result.detail, headers, result.index)
