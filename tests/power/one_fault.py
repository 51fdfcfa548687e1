"""Live short lives in each of which one call fails, each in a process forked from this one.

Invariants:
- Orders come from stdin, a line of JSON each; the answer to each is a line with the number of the signal that ended it.
- The call that fails is the only one of its life: what is refused is done at the next try.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Mapping
from typing import Final

from sidecar.ledger import kept_file
from sidecar.metering.events import PushAccepted
from tests.power import usage
from tests.power.workload import FAULTS, SHIM, Life, Orders, mark

NO_CALL: Final = 2**30
"""The number of a call that no life comes to."""


class ShortLife(Life):
    """Open a ledger, look at its numbers, push, seal, settle and replace the kept files, in one thread."""

    def run(self) -> None:
        """Do all of it, and say how many calls could have failed."""
        self._look()
        for number in range(self.orders.pushes):
            self._push_twice(f"{self.orders.seed}-{number}")
        self._midway.set()
        self._settle_hour()
        self._keep()
        self._look_at_kept()
        self._end()

    def _fail(self, fault: str) -> None:
        """Do nothing: the one call that fails was chosen before the ledger was opened."""

    def _look(self) -> None:
        """Read what earlier lives left: right, or not at all."""
        for balance in self._done(self.ledger.balances) or ():
            if f"{balance.accepted.normalize():f}" != self.orders.owed[balance.dimension]:
                mark(wrong=f"{balance} where {self.orders.owed} was pushed")

    def _look_at_kept(self) -> None:
        for name, path in usage.kept_paths(self.directory).items():
            last = self.orders.kept_from[name] + self.orders.pushes // 2
            possible = [usage.kept_text(name, number) if number >= 0 else None for number in range(-1, last)]
            try:
                if kept_file.read(path) not in possible:
                    mark(wrong=f"{name} is read as nothing that was written")
            except OSError as exc:
                mark(refused=exc.strerror)

    def _die(self) -> None:
        mark(calls=SHIM.power_count())
        super()._die()


class SuccessorLife(ShortLife):
    """Another workload: take over what the first has left, push that again, and push more."""

    owner = usage.SUCCESSOR

    def run(self) -> None:
        """Do all of it, twice as passes do, and say how many calls could have failed."""
        self._adopt()
        for push in self.orders.repeats:
            results = [self.ledger.push(usage.events_of(push), self.now) for _ in range(2)]
            if any(isinstance(result, PushAccepted) and result.accepted for result in results):
                mark(wrong=f"push {push} counts again: {results}")
        for number in range(self.orders.pushes):
            self._push_twice(f"{self.orders.seed}-{number}")
        self._adopt()
        self._end()

    def _adopt(self) -> None:
        """Take over, once more where the disk failed: the first push waits for ids then, and not for damage."""
        for _ in range(2):
            found = self._done(lambda: self.ledger.adopt(self.now))
            if found is not None and not any(one.skipped != "ledger_corrupt" for one in found if one.skipped):
                return
            for one in found or ():
                mark(refused=one.skipped)


def forked(given: Mapping[str, object], place: Mapping[str, str]) -> int:
    """Live one life in another process, and return how that ended."""
    if child := os.fork():
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    os.environ |= place
    orders = Orders(**given)  # type: ignore[arg-type]
    try:
        SHIM.power_fail_one(FAULTS.index(orders.fault), orders.each or NO_CALL)
        (SuccessorLife if orders.repeats else ShortLife)(orders).run()
    except BaseException:  # nothing may return from the fork; the exit code says that it failed
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(1)


def main() -> None:
    """Answer each line."""
    for line in sys.stdin:
        order = json.loads(line)
        print(forked(order["orders"], order["place"]), flush=True)


if __name__ == "__main__":
    main()
