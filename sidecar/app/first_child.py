"""Fork the first check's child before the settings are read: it imports the SDK while the worker imports the rest.

Invariants:
- What worker and child both import is imported before the fork: once, in memory that they share.
- The child asks nothing before it gets its request, and ends with the worker.
- A worker that replaces one may not have to ask: its child is forked when it does (`app.run`).
"""

from __future__ import annotations

# ruff: noqa: F401, TID251
import dataclasses
import datetime
import logging
import queue
import random
import socket

import sidecar.entitlement.classify
import sidecar.entitlement.hold
import sidecar.entitlement.retry
import sidecar.platform.eks
import sidecar.printable
import sidecar.remote_clock
from sidecar.child import process
from sidecar.child.process import WaitingChild
from sidecar.gate.messages import JOB
from sidecar.server.supervised import Supervised


def fork(shared: Supervised) -> WaitingChild | None:
    """Return a child that waits for its request; None where there is none yet."""
    if shared.has_settings():
        return None
    try:
        return process.fork(JOB, [shared.keeps.fileno(), shared.kept.fileno()])
    except OSError:
        return None  # the next attempt, which says why, is made once it is known what to ask
