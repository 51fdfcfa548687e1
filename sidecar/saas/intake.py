"""Take pushes on a few threads, and reply once their events are committed.

Invariants:
- A 2xx means committed. A refusal changed nothing. 503 means: not known to be kept, send the same again.
- Threads wait for the database; the thread that answers probes never does.
- From `stop` on every push is answered 503 `shutting_down`; those that came before are finished.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import datetime
from queue import SimpleQueue
from typing import Final

from sidecar import log
from sidecar.api import push
from sidecar.api.reply import Reply, refusal
from sidecar.errors import DATA_ERRORS
from sidecar.metering.events import PushAccepted
from sidecar.saas.customer_events import read_events
from sidecar.saas.customers import Customer, CustomerKey, Reference, chosen
from sidecar.saas.store import Store, StoreError
from sidecar.settings import Dimension

THREADS: Final = 8
KNOWN_SECONDS: Final = 30.0
"""How long a reference is known without asking the database. A customer's key never changes."""
KNOWN_MAX: Final = 10_000
RETRY: Final = (("Retry-After", str(push.RETRY_AFTER_SECONDS)),)
SHUTTING_DOWN: Final = refusal(
    503, "shutting_down", "This replica ends. Send the same events again, to another one.", RETRY
)

OnReply = Callable[[Reply], None]


class Intake:
    """Counts the usage that clients push."""

    def __init__(self, store: Store, dimensions: Mapping[str, Dimension], now: Callable[[], datetime]) -> None:
        self._store, self._dimensions, self._now = store, dimensions, now
        self._work: SimpleQueue[tuple[bytes, OnReply] | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._known: dict[Reference, tuple[float, CustomerKey]] = {}
        self._stopping = threading.Event()
        self._guard = threading.Lock()
        self.results: Counter[str] = Counter({"accepted": 0, "duplicate": 0, "refused": 0, "failed": 0})
        """Events accepted and duplicate; pushes refused and failed."""

    def start(self) -> None:
        """Start the threads."""
        for number in range(THREADS):
            thread = threading.Thread(target=self._run, name=f"intake-{number}", daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        """Take no more pushes. Returns at once."""
        self._stopping.set()
        for _ in self._threads:
            self._work.put(None)

    def wait(self) -> None:
        """Return once every push that was taken is answered."""
        for thread in self._threads:
            thread.join()

    def push(self, body: bytes, on_reply: OnReply) -> None:
        """Take a push. Returns at once; `on_reply` is called once, on any thread."""
        if self._stopping.is_set():
            on_reply(SHUTTING_DOWN)
        else:
            self._work.put((body, on_reply))

    def _run(self) -> None:
        while (taken := self._work.get()) is not None:
            body, on_reply = taken
            on_reply(self._reply(body))

    def _reply(self, body: bytes) -> Reply:
        """Return the answer to a push. Never raises: its thread must live on."""
        try:
            return self.count(body)
        except StoreError as exc:
            self._count("failed")
            return refusal(503, exc.reason, exc.hint, RETRY)
        except DATA_ERRORS as exc:
            self._count("failed")
            log.LOGGER.error("push.failed", exc_info=exc)
            return refusal(500, "internal_error", "The service failed; its log says how. Send the same events again.")

    def count(self, body: bytes) -> Reply:
        """Count the events of a body, and return the answer. Waits for the database. Raises StoreError."""
        now = self._now()
        events = read_events(body, self._dimensions, now, self.find)
        result = self._store.accept(events, now) if isinstance(events, tuple) else events
        if isinstance(result, PushAccepted):
            self._count("accepted", result.accepted)
            self._count("duplicate", result.duplicates)
        else:
            self._count("refused")
        return push.reply(result)

    def find(self, reference: Reference) -> CustomerKey | str:
        """Return the key that a reference means, or the reason why there is none. Raises StoreError."""
        at = time.monotonic()
        known = self._known.get(reference)
        if known is not None and at < known[0]:
            return known[1]
        found = chosen(self._store.customers(reference))
        if not isinstance(found, Customer):
            return "customer_ambiguous" if found else "customer_unknown"
        if reference.license_arn or reference.identifier:  # an account may get a second license at any moment
            if len(self._known) >= KNOWN_MAX:
                self._known = {}
            self._known[reference] = (at + KNOWN_SECONDS, found.key)
        return found.key

    def _count(self, what: str, number: int = 1) -> None:
        with self._guard:
            self.results[what] += number
