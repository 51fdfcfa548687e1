"""A benchmark that flatters is worse than none: what it counts, and when it says that a goal is reached."""

from __future__ import annotations

import importlib
import itertools
import json
import math
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

BENCH = Path(__file__).resolve().parents[3] / "bench"


def module(name: str) -> ModuleType:
    """A module of `bench/`, which is a directory of scripts and no package."""
    sys.path.insert(0, str(BENCH))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(BENCH))


table, load, fsyncs, peer, compare, kernel = (
    module(name) for name in ("table", "load", "fsyncs", "peer", "compare", "kernel")
)


def verdict(monkeypatch: pytest.MonkeyPatch, goal: object, **row: object) -> str:
    monkeypatch.setitem(table.GOALS, "X", goal)
    return str(table.Row(measure="X", what="", unit="ms", **row).verdict)


@pytest.mark.parametrize(
    ("ratio", "ours", "said"),
    [
        (1.9, 0.5, "FAIL"),
        (2.0, 0.5, "goal not reached"),
        (9.9, 0.5, "goal not reached"),
        (10.0, 1.1, "goal not reached"),
        (10.0, 1.0, "pass"),
        (math.nan, 0.5, "FAIL"),
        (None, 0.5, "FAIL"),
    ],
)
def test_a_ratio_passes_only_at_its_goal_and_within_its_limit(
    ratio: float | None, ours: float, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert verdict(monkeypatch, table.Goal(floor=2.0, goal=10.0, limit=1.0), ratio=ratio, ours=ours) == said


@pytest.mark.parametrize(
    ("judged", "ours", "said"),
    [
        ("at most", 36.0, "pass"),
        ("at most", 36.1, "goal not reached"),
        ("at most", 40.1, "FAIL"),
        ("at most", None, "FAIL"),
        ("at least", 36.0, "FAIL"),
        ("at least", 40.0, "pass"),
    ],
)
def test_a_number_that_is_judged_by_itself_needs_no_ratio(
    judged: str, ours: float | None, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    goal = table.Goal(floor=40.0, goal=36.0, judged=judged)
    assert verdict(monkeypatch, goal, ours=ours) == said


def test_more_is_better_turns_the_ratio_round() -> None:
    pairs = [(1.0, 4.0), (1.0, 2.0), (2.0, 6.0)]
    assert table.compare("X", "", "/s", pairs, more_is_better=True).ratio == 3.0
    assert table.compare("X", "", "ms", pairs).ratio == pytest.approx(1 / 3)


def test_a_benchmark_that_ends_early_fails_and_leaves_the_others_their_rows() -> None:
    def measure(_: object) -> list[object]:
        raise SystemExit("7 requests failed\nand why")

    (row,) = table._finished(measure, None)
    assert (row.verdict, row.broken) == ("FAIL", "7 requests failed")


@pytest.mark.parametrize("batch", [1, 2, 100])
@pytest.mark.parametrize("event", [load.USAGE_EVENT, peer.report()])
def test_a_rendered_request_is_as_long_as_its_head_says(event: str, batch: int) -> None:
    push = load.Push(port=1, path="/x", batch=batch, event=event, tag_sets=1_000)
    render = load._renderer(push)
    requests = [render()[0] for _ in range(3)]
    for request in requests:
        head, _, body = request.partition(b"\r\n\r\n")
        assert int(re.search(rb"Content-Length: ([0-9]+)", head)[1]) == len(body)
        assert len(json.loads(body)) == (batch if batch > 1 else len(json.loads(event)))


def test_no_id_is_sent_twice() -> None:
    render = load._renderer(load.Push(port=1, path="/x", batch=500))
    ids = [one for _ in range(4) for one in render()[1]]
    assert len(set(ids)) == 2_000
    assert all(re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-a[0-9a-f]{3}-[0-9a-f]{12}", one) for one in ids)


def test_half_an_answer_is_not_whole() -> None:
    answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"
    assert [n for n in range(len(answer) + 1) if load._whole(answer[:n])] == [len(answer)]


@pytest.fixture
def port() -> Iterator[int]:
    """A server that answers in two pieces; each tenth push is refused."""
    listener = socket.create_server(("127.0.0.1", 0))
    number = itertools.count(1)  # of all connections: how many pushes come on which one is a matter of time

    def serve(connection: socket.socket) -> None:
        with connection:
            while connection.recv(65_536):
                n = next(number)
                connection.sendall(b"HTTP/1.1 %d X\r\n" % (503 if n % 10 == 0 else 200))
                connection.sendall(b"Content-Length: 2\r\n\r\n{}")

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    yield listener.getsockname()[1]
    listener.close()


def test_the_client_tells_what_was_kept_from_what_was_refused(port: int) -> None:
    found = load.Share(load.Push(port=port, path="/x", connections=2, events=40, keep_ids=True)).run()
    assert (found["acknowledged"], found["failures"], len(found["ids"])) == (36, 4, 36)


TRACE = r"""
12 pwrite64(4<\x78\x2d\x77\x61\x6c>, "\x00\x00\x00\x02\x00\x00\x00\x00\x3f\x18\xd1\x4a\x6e\xe8\xc7\x67\xba\x0f\xf2\x36\xea\x05\x72\x0e", 24, 32) = 24
12 pwrite64(4<\x78\x2d\x77\x61\x6c>, "\x0d\x00\x00\x00\x05\x0f\xe9\x00\x0f\xfc\x0f\xf8\x0f\xf3\x0f\xee\x0f\xe9\x00\x00\x00\x00\x00\x00"..., 4096, 56) = 4096
12 pwrite64(4</x-wal>, "\x00\x00\x00\x02\x00\x00\x00\x02\x3f\x18\xd1\x4a\x6e\xe8\xc7\x67\xba\x0f\xf2\x36\xea\x05\x72\x0e", 24, 90 <unfinished ...>
12 <... pwrite64 resumed>) = 24
12 fdatasync(4<\x78\x2d\x77\x61\x6c> <unfinished ...>
12 <... fdatasync resumed>) = 0
13 fsync(5<\x78>) = 0
"""  # noqa: E501


def test_a_commit_is_the_frame_that_says_how_big_the_database_is() -> None:
    assert fsyncs.counted(TRACE, 5) == fsyncs.Counted(syncs=2, commits=1, acknowledged=5)


# -- two checkouts beside each other


def test_two_checkouts_take_turns_at_being_first_and_the_first_round_is_dropped() -> None:
    order: list[str] = []

    def sample(setup: str) -> tuple[float]:
        order.append(setup)
        return (float(len(order)),)

    pairs = compare.alternated("before", "after", 2, sample)
    assert order == ["before", "after", "after", "before", "before", "after"]
    assert pairs == [((4.0,), (3.0,)), ((5.0,), (6.0,))]


@pytest.mark.parametrize(("more_is_better", "ratio"), [(False, 2.0), (True, 0.5)])
def test_a_ratio_above_one_says_that_after_is_better(more_is_better: bool, ratio: float) -> None:
    pairs = [((0.0, 10.0), (0.0, 5.0)), ((0.0, 8.0), (0.0, 4.0))]
    assert compare.row("", "ms", pairs, 1, more_is_better=more_is_better).ratio == ratio


def test_a_comparison_prints_both_sides_the_spread_and_why_a_number_is_missing() -> None:
    rows = [compare.row("wall", "ms", [((10.0,), (10.0,)), ((12.0,), (10.0,))]), table.skipped("", "n", "M", "no perf")]
    *_, wall, missing = compare.as_markdown(rows).splitlines()
    assert wall == "| wall | 11.0 ms | 10.0 ms | 1.100 (1.000–1.200) | 2 |"
    assert missing == "| n | – | – | no perf | – |"


def test_what_perf_writes_is_a_number_or_a_failure() -> None:
    assert compare.counts("# started on a day\n\n123456,,instructions:u,9,100.00,,\n") == 123_456
    with pytest.raises(ValueError, match="not supported"):
        compare.counts("<not supported>,,instructions:u,0,100.00,,\n")


def test_a_checkout_whose_environment_runs_another_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"no \.venv"):
        compare.runs(tmp_path)
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    with pytest.raises(SystemExit, match=f"not {tmp_path}"):
        compare.runs(tmp_path)


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="needs Linux's /proc")
def test_a_child_that_has_ended_holds_no_memory_and_a_root_that_has_is_not_measured() -> None:
    with subprocess.Popen(["true"]) as child:
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert kernel.memory(os.getpid()).anon > 0
        with pytest.raises(OSError, match="No such process"):
            kernel.memory(child.pid)
