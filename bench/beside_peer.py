"""Single events a second beside Google Cloud's ubbagent, whose binary `--peer PATH` names.

peer  requests answered in a second, 16 connections, at 5 and at 1 000 tag sets: of the peer and of ours

In each round the two take the same load one after the other, and the one that was first is second in the next; the
first round is dropped. Neither is asked for anything else meanwhile. Ours keeps each event with its id, and syncs; what
the peer promises is less (`peer.py`), so nothing is judged by it.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import load
import peer
import table
from ingest import TAG_SETS_MANY, push_of, require_answered, require_kept
from lib import METERING, PUSH_PATH, Setup, running
from probes import await_entitled, await_push


def measure(setup: Setup) -> list[table.Row]:
    """Both at few and at many tag sets, where the peer is given."""
    rows = []
    for sets in (5, TAG_SETS_MANY):
        what = f"ubbagent (no ids, no fsync) at {sets} tag sets"
        if setup.peer is None:
            rows.append(table.skipped("peer", what, "/s", "no --peer PATH"))
            continue
        push = push_of(setup, tag_sets=sets)
        rates = [_pair(setup, setup.peer, push, ours_first=bool(n % 2)) for n in range(setup.count(3, 1) + 1)]
        rows.append(table.compare("peer", what, "/s", rates[1:], gated=False, more_is_better=True))
    return rows


def _pair(setup: Setup, binary: Path, push: load.Push, *, ours_first: bool) -> tuple[float, float]:
    ours = _ours(setup, push) if ours_first else None
    theirs = peer.requests_per_second(setup, binary, tag_sets=push.tag_sets, seconds=push.seconds)
    return theirs, ours or _ours(setup, push)


def _ours(setup: Setup, push: load.Push) -> float:
    with running(setup, "ours", extra=METERING) as server:
        await_entitled(server)
        await_push(server)
        found = load.run(replace(push, port=server.push_port, path=PUSH_PATH["ours"]), load.chosen(setup.loader))
        require_answered(server, found)
        require_kept(server, found.acknowledged)
    return found.requests_per_second


if __name__ == "__main__":
    raise SystemExit(table.main(__doc__ or "", measure))
