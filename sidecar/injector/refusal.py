"""Say why a pod cannot be injected.

Invariants:
- A refusal names what the pod has, what the sidecar needs, and the fix: it is all that an operator sees, in the events
  of a ReplicaSet or Job.
"""

from __future__ import annotations


class Refusal(Exception):
    """The pod cannot be injected; its text says why, and what to change."""
