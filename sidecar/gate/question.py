"""Name the question that AWS has answered, so that a worker that replaces another takes its answer for no other.

The first worker hands its settings on, so the question is the same. Where that fails, nothing else may open the gate.

Invariants:
- What is restored of the gate was answered to the very request that this worker would send: product, keys, workload,
  endpoint, and whatever else it has. Otherwise AWS is asked; only the record of open checks stays, which says when.
- The name is a digest: it says nothing of the settings.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sidecar.digests import blake2b
from sidecar.gate.messages import CheckRequest
from sidecar.restart_state import RestartState

QUESTION: Final = "question"
"""Under this name in the restart state."""
OF_THE_ANSWER: Final = ("gate_state", "identity", "result", "next_ask_at", "retries", "hold", "seat_hold")
DIGEST_BYTES: Final = 16


def name_of(request: CheckRequest) -> str:
    """Return the name of what a worker asks first."""
    return blake2b(request.as_json().encode(), digest_size=DIGEST_BYTES).hexdigest()


def answered(saved: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return what an earlier worker saved; without the answer where it was asked another question."""
    if saved.get(QUESTION) == name:
        return saved
    return {fact: value for fact, value in saved.items() if fact not in OF_THE_ANSWER}


def forget(restart_state: RestartState) -> None:
    """Have no worker take the answer that is there: its settings are not known any more."""
    if restart_state.read().get(QUESTION):
        restart_state.update(**{QUESTION: None})
