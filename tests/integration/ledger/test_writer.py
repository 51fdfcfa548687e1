"""A process that is killed loses nothing it acknowledged, and two never share a ledger."""

from __future__ import annotations

import math
import random
import threading
from pathlib import Path

import pytest

from sidecar.ledger import writer
from sidecar.ledger.errors import LedgerError
from sidecar.metering.events import PushAccepted
from sidecar.metering.states import State
from tests.acceptance.support import eventually
from tests.integration.ledger.support import NOON, Story, accepted, balanced, child, event, held_back, is_intact

KILLS = 20

PUSHER = """
import threading, os
ledger = Story(Path(argv[0])).open()
round_ = argv[1]
def client(name):
    number = 0
    while True:
        ids = [f"{round_}-{name}-{number}-{part}" for part in range(1 + number % 3)]
        if ledger.push([event(id=one) for one in ids], NOON) == PushAccepted(accepted=len(ids), duplicates=0):
            os.write(1, ("".join(one + "\\n" for one in ids)).encode())
        number += 1
from sidecar.metering.events import PushAccepted
for name in range(8):
    threading.Thread(target=client, args=(name,)).start()
"""


@pytest.mark.slow
def test_what_was_acknowledged_survives_being_killed_at_any_moment(tmp_path: Path) -> None:
    """Twenty lives of one workload, each ended after a random number of acknowledgements."""
    story, chance, known = Story(tmp_path), random.Random(7), list[str]()
    for life in range(KILLS):
        process = child(PUSHER, tmp_path, life)
        assert process.stdout is not None
        for _ in range(chance.randrange(1, 120)):
            known.append(process.stdout.readline().strip())
        process.kill()
        rest = process.stdout.read()
        known += rest[: rest.rfind("\n") + 1].split()
        process.communicate()
        if life % 5 == 4:
            assert is_intact(story.path)
    assert all(known), "a child ended by itself"
    ledger = story.open()
    before = accepted(ledger)
    assert before >= len(known)
    assert before <= len(known) + KILLS * 8 * 3, "no more than what was on its way"
    assert balanced(ledger)
    for at in range(0, len(known), 500):
        batch = [event(id=one) for one in known[at : at + 500]]
        assert ledger.push(batch, NOON) == PushAccepted(accepted=0, duplicates=len(batch))
    assert accepted(ledger) == before
    story.close()
    assert is_intact(story.path)


DIES = """
import os, signal
from sidecar.ledger import writer
story = Story(Path(argv[0]))
ledger = story.open()
where, count = argv[1], int(argv[2])
class Dying:
    def __init__(self, inner): self.inner, self.seen = inner, 0
    def executemany(self, statement, values): return self.execute(statement, values, run=self.inner.executemany)
    def execute(self, statement, *values, run=None):
        ends = statement == "COMMIT"
        self.seen += 1
        if self.seen == count or (where == "before" and ends): os.kill(os.getpid(), signal.SIGKILL)
        result = (run or self.inner.execute)(statement, *values)
        if where == "after" and ends: os.kill(os.getpid(), signal.SIGKILL)
        return result
    def __getattr__(self, name): return getattr(self.inner, name)
if argv[3] == "seal": ledger.push([event(id="a"), event("peak", "5")], NOON)
ledger._writer._connection = Dying(ledger._writer._connection)
if argv[3] == "seal": story.seal(ledger)
else: print(ledger.push([event(id="a"), event("peak", "5")], NOON), flush=True)
"""


@pytest.mark.parametrize("where", ["before", "after", "2", "5"])
@pytest.mark.parametrize("what", ["push", "seal"])
def test_a_transaction_is_there_whole_or_not_at_all(story: Story, where: str, what: str) -> None:
    process = child(DIES, story.directory, where, where if where.isdigit() else 0, what)
    said, _ = process.communicate(timeout=20)
    assert process.returncode == -9
    assert said == "", "nothing was acknowledged"
    ledger = story.open()
    assert balanced(ledger)
    if what == "push":
        assert accepted(ledger) == (1 if where == "after" else 0)
        repeat = story.push(ledger, event(id="a"))
        assert repeat == PushAccepted(accepted=int(where != "after"), duplicates=int(where == "after"))
        return
    assert len(ledger.in_state(State.SEALED)) == (2 if where == "after" else 0)
    again = story.seal(ledger)
    assert len(again) == (0 if where == "after" else 2)
    assert len(ledger.due(story.now)) == 2
    assert balanced(ledger)


HOLDER = "ledger = Story(Path(argv[0])).open(); print('open', flush=True); sys.stdin.read()"


def test_a_second_process_learns_who_holds_the_lock(story: Story) -> None:
    process = child(HOLDER, story.directory)
    assert process.stdout is not None
    assert process.stdout.readline() == "open\n"
    with pytest.raises(LedgerError) as raised:
        story.open()
    assert raised.value.reason == "ledger_locked"
    assert f"process {process.pid} on " in raised.value.hint
    process.kill()
    process.communicate()
    assert story.push(story.open(), event()) == PushAccepted(accepted=1, duplicates=0), "the kernel let go of the lock"


def test_two_workloads_share_a_volume(story: Story) -> None:
    other = Story(story.directory)
    other.owner = type(other.owner)(workload="pod-2", product_code="product", region="us-east-1")
    one, two = story.open(), other.open()
    story.push(one, event())
    assert (accepted(one), accepted(two)) == (1, 0)
    other.close()


def test_closing_finishes_what_waits(story: Story) -> None:
    ledger, answers = story.open(), []
    for _ in range(50):
        ledger.begin_push([event()], NOON, answers.append)
    closer = threading.Thread(target=ledger.close)
    closer.start()
    closer.join(10)
    assert answers == [PushAccepted(accepted=1, duplicates=0)] * 50
    assert accepted(story.open()) == 50


@pytest.mark.parametrize(("share", "expected"), [(0.0, 3), (math.inf, 1)], ids=["the disk took long", "the work did"])
def test_the_writer_expects_as_many_pushes_where_the_disk_takes_most_of_the_time(
    share: float, expected: int, story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "COMMIT_SHARE", share)
    ledger, asked, results = story.open(), list[tuple[int, float]](), list[object]()
    queue = ledger._writer._queue
    take = queue.take
    go = held_back(ledger)
    monkeypatch.setattr(queue, "take", lambda *given: [asked.append(given), take(*given)][1])  # type: ignore[func-returns-value]
    for number in range(3):
        ledger.begin_push([event(id=str(number))], NOON, results.append)
    ledger.commit_pending()
    go.set()
    eventually(lambda: len(asked) == 2)
    assert results == [PushAccepted(accepted=1, duplicates=0)] * 3
    assert [count for count, _ in asked] == [0 if share == 0.0 else 1, expected]
    assert asked[1][1] > 0.0, "as long as the disk took"
