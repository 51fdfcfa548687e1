"""Let one replica at a time seal and send, and keep one that has lost its turn from doing so.

PostgreSQL: an advisory lock on a connection of its own, which the server frees when that connection ends. SQLite: the
process that has the file leads.

Invariants:
- A replica that begins to lead increments the epoch. Every transaction of a leader reads the epoch and locks it
  against change: it commits before the next leader begins, or raises LeadershipLost and writes nothing.
- A request is marked before it is sent, in such a transaction. So after another replica has begun to lead, this one
  sends nothing more; what it was just sending is left alone for SENDING, longer than a call can take.

Sources: PostgreSQL 15, "Advisory Locks" (released at the end of the session), "Row-Level Locks" (FOR SHARE).
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection, select, text, update
from sqlalchemy.exc import SQLAlchemyError

from sidecar.saas.database import Database
from sidecar.saas.instants import micros
from sidecar.saas.store import LeadershipLost
from sidecar.saas.tables import service

SENDING: Final = timedelta(seconds=60)
"""A request that another replica has marked is left alone for so long."""
SPACE: Final = 0x5AA5
"""The first key of our advisory locks; the second is the schema's, so that two services can share a database."""
LEAD: Final = text("SELECT pg_try_advisory_lock(:space, hashtext(current_schema() || '/lead'))")
LEAVE: Final = text("SELECT pg_advisory_unlock(:space, hashtext(current_schema() || '/lead'))")
SPACED: Final = {"space": SPACE}


class Leadership:
    """What one replica knows of its turn."""

    def __init__(self, database: Database) -> None:
        """Lead not yet."""
        self._database = database
        self.replica = f"{socket.gethostname()}/{os.getpid()}"
        self.epoch: int | None = None
        """None while another replica leads, or none."""

    @contextmanager
    def leading(self, now: datetime) -> Iterator[bool]:
        """Try to lead until the block ends; False where another replica does. Raises StoreError."""
        if not self._database.postgresql:
            self.epoch = self._database.run(lambda connection: self._begin(connection, now))
            try:
                yield True
            finally:
                self.epoch = None
            return
        with self._database.translated():
            own = self._database.engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        try:
            with self._database.translated():
                leads = bool(own.execute(LEAD, SPACED).scalar_one())
                self.epoch = self._begin(own, now) if leads else None
            yield leads
        finally:
            self._end(own)

    def check(self, connection: Connection) -> int:
        """Return the epoch, which no other replica ends before this transaction does. Raises LeadershipLost."""
        found = int(connection.execute(select(service.c.epoch).with_for_update(read=True)).scalar_one())
        if self.epoch is None or found != self.epoch:
            raise LeadershipLost
        return found

    def _begin(self, connection: Connection, now: datetime) -> int:
        values = {"epoch": service.c.epoch + 1, "leader": self.replica, "led_since": micros(now)}
        return int(connection.execute(update(service).values(**values).returning(service.c.epoch)).scalar_one())

    def _end(self, own: Connection) -> None:
        """Give the lock back; where the connection is gone, the server has done so."""
        led, self.epoch = self.epoch is not None, None
        with suppress(SQLAlchemyError):
            if led and not own.invalidated:
                own.execute(LEAVE, SPACED)
        with suppress(SQLAlchemyError):
            own.invalidate()  # never back into the pool: with its session ends whatever lock it may still have
            own.close()
