"""Pushes usage as fast as a server acknowledges it, and says what was acknowledged, and how soon.

Two clients, never compared with each other: `wrk` with a Lua script where it is installed, and one of
raw sockets in several processes. Every event has a random UUID of its own (sequential ids would flatter a
B-tree two- to fourfold), both sides get the same bytes, and connections are kept. Each connection has one
request under way.

    bench/load.py --port 8485 --path /v1/usage [--batch 100] [--connections 16] [--seconds 4] [--client python]
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import secrets
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final, Literal

from arguments import positive_integer, positive_number

Client = Literal["wrk", "python"]
PROCESSES_MAX: Final = 2
DRAIN_SECONDS: Final = 10
"""How long an answer may be late before the run counts as failed."""
RECEIVE_BYTES: Final = 65_536
MS: Final = 1e6
ID, TAG = "@ID@", "@TAG@"
USAGE_EVENT: Final = f'{{"dimension":"requests","quantity":"1","id":"{ID}","tags":{{"tenant":"{TAG}"}}}}'
TAG_WIDTH: Final = 4  # every tag set is as long as any other, so that Content-Length never changes
UUID_LENGTH: Final = 36


@dataclass(frozen=True, kw_only=True)
class Push:
    """What to push, and how; one load of one server."""

    port: int
    path: str
    connections: int = 16
    batch: int = 1
    """Events in one request; 1 sends a single object."""
    tag_sets: int = 5
    warm_seconds: float = 1.0
    seconds: float = 4.0
    events: int = 0
    """Stop after this many events instead; the Python client only, without warm-up."""
    event: str = USAGE_EVENT
    keep_ids: bool = False
    """The Python client only: report acknowledged ids, and take a server that dies as the end."""

    @property
    def parts(self) -> tuple[str, str, str]:
        """Before the id, between id and tag, behind the tag. An event without id has nothing before it."""
        before, _, rest = self.event.rpartition(ID)  # all is `rest` where there is no id
        between, _, behind = rest.partition(TAG)
        return before, between, behind

    @property
    def head(self) -> str:
        size = len(self.event) - len(TAG) + TAG_WIDTH + 1
        size += UUID_LENGTH - len(ID) if ID in self.event else 0
        length = size if self.batch == 1 else self.batch * (size + 1) + 1
        lines = (
            f"POST {self.path} HTTP/1.1", f"Host: 127.0.0.1:{self.port}", "Content-Type: application/json",
            f"Content-Length: {length}", "", "",
        )  # fmt: skip
        return "\r\n".join(lines)


@dataclass(frozen=True, kw_only=True)
class Load:
    """What came of it."""

    client: Client
    requests_per_second: float
    """Acknowledged, in the measured time."""
    p50_ms: float
    p99_ms: float
    acknowledged: int
    """Requests answered 2xx, warm-up included."""
    failures: int
    """Answers that were not 2xx, and requests that got none."""
    detail: str = ""
    ids: tuple[str, ...] = field(default=(), repr=False)


def chosen(wanted: str) -> Client:
    """`auto` is wrk where there is one."""
    if wanted == "auto":
        return "wrk" if shutil.which("wrk") else "python"
    if wanted == "wrk" and not shutil.which("wrk"):
        raise SystemExit("wrk is not installed; --loader python needs nothing")
    return "wrk" if wanted == "wrk" else "python"


def run(push: Push, client: Client) -> Load:
    """Warm up, then measure."""
    return _wrk(push) if client == "wrk" and not push.events and not push.keep_ids else _python(push)


# -- wrk ---------------------------------------------------------------------------------------------

LUA: Final = r"""
local head, before = os.getenv("PUSH_HEAD"), os.getenv("PUSH_BEFORE")
local between, behind = os.getenv("PUSH_BETWEEN"), os.getenv("PUSH_BEHIND")
local batch, sets = tonumber(os.getenv("PUSH_BATCH")), tonumber(os.getenv("PUSH_SETS"))
local with_id = before ~= ""
local r, count = math.random, 0
math.randomseed(tonumber(os.getenv("PUSH_SEED")))

local function event()
  count = count + 1
  local id = ""
  if with_id then
    id = string.format("%04x%04x-%04x-4%03x-%04x-%04x%04x%04x", r(0, 65535), r(0, 65535), r(0, 65535), r(0, 4095),
                       r(32768, 49151), r(0, 65535), r(0, 65535), r(0, 65535))
  end
  return before .. id .. between .. string.format("t%04d", count % sets) .. behind
end

function request()
  if batch == 1 then return head .. event() end
  local events = {}
  for i = 1, batch do events[i] = event() end
  return head .. "[" .. table.concat(events, ",") .. "]"
end

function done(summary, latency)
  local e = summary.errors
  io.write(string.format("\nPUSHED %d %d %d %d %d %d %d %d %d\n", summary.requests, summary.duration, e.status,
           e.connect, e.read, e.write, e.timeout, latency:percentile(50), latency:percentile(99)))
end
"""


def _wrk(push: Push) -> Load:
    """One run to warm up, one that counts; ids come from a random seed each."""
    with tempfile.TemporaryDirectory(prefix="entitlement-bench-") as directory:
        script = Path(directory) / "push.lua"
        script.write_text(LUA)
        warm, measured = _wrk_once(push, push.warm_seconds, script), _wrk_once(push, push.seconds, script)
    requests, duration_us, status, *_, p50, p99 = measured
    failures = sum(warm[2:7]) + sum(measured[2:7])
    return Load(
        client="wrk",
        requests_per_second=(requests - status) / (duration_us / 1e6),
        p50_ms=p50 / 1000,
        p99_ms=p99 / 1000,
        acknowledged=warm[0] - warm[2] + requests - status,
        failures=failures,
        detail=f"status, connect, read, write, timeout: {warm[2:7]} {measured[2:7]}" if failures else "",
    )


def _wrk_once(push: Push, seconds: float, script: Path) -> list[int]:
    before, between, behind = push.parts
    environment = {
        "PATH": os.environ.get("PATH", ""),
        "PUSH_HEAD": push.head,
        "PUSH_BEFORE": before,
        "PUSH_BETWEEN": between,
        "PUSH_BEHIND": behind,
        "PUSH_BATCH": str(push.batch),
        "PUSH_SETS": str(push.tag_sets),
        "PUSH_SEED": str(secrets.randbits(48)),
    }
    argv = ["wrk", "-t1", f"-c{push.connections}", f"-d{math.ceil(seconds)}s", f"--timeout={DRAIN_SECONDS}s"]
    done = subprocess.run(
        [*argv, "-s", str(script), f"http://127.0.0.1:{push.port}"],
        env=environment, capture_output=True, text=True, check=False, timeout=seconds + 60,
    )  # fmt: skip
    found = re.search(r"^PUSHED (.*)$", done.stdout, re.M)
    if found is None:
        raise SystemExit(f"wrk said nothing of use:\n{done.stdout}{done.stderr}")
    return [int(number) for number in found[1].split()]


# -- Python ------------------------------------------------------------------------------------------


def _python(push: Push) -> Load:
    """Processes of this file, each with its share of the connections."""
    count = min(PROCESSES_MAX, push.connections)
    processes = []
    for n in range(count):
        share = asdict(push) | {
            "connections": push.connections // count + (n < push.connections % count),
            "events": -(-push.events // count),
        }
        argv = [sys.executable, __file__, "--share", json.dumps(share)]
        processes.append(subprocess.Popen(argv, stdout=subprocess.PIPE, text=True))
    found = []
    for process in processes:
        said, _ = process.communicate()
        if process.returncode:
            raise SystemExit(f"a load client ended with status {process.returncode}")
        found.append(json.loads(said))
    waits = sorted(wait for one in found for wait in one["waits_ns"])
    return Load(
        client="python",
        requests_per_second=sum(one["counted"] / one["seconds"] for one in found if one["seconds"]),
        p50_ms=percentile(waits, 50) / MS,
        p99_ms=percentile(waits, 99) / MS,
        acknowledged=sum(one["acknowledged"] for one in found),
        failures=sum(one["failures"] for one in found),
        detail="; ".join(one["detail"] for one in found if one["detail"]),
        ids=tuple(known for one in found for known in one["ids"]),
    )


def percentile(ordered: list[int], percent: float) -> float:
    """The smallest sample that is no less than `percent` of all; NaN of nothing."""
    if not ordered:
        return math.nan
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def _renderer(push: Push) -> Callable[[], tuple[bytes, list[str]]]:
    """Makes a request and names its ids; all but ids and tag is rendered beforehand."""
    before, between, behind = push.parts
    head = push.head.encode()
    ends = [f"{between}t{n:0{TAG_WIDTH}d}{behind}" for n in range(push.tag_sets)]
    sent = 0

    def identity() -> str:
        raw = secrets.token_hex(16)
        return f"{raw[:8]}-{raw[8:12]}-4{raw[13:16]}-a{raw[17:20]}-{raw[20:]}"

    def render() -> tuple[bytes, list[str]]:
        nonlocal sent
        first, sent = sent, sent + push.batch
        ids = [identity() for _ in range(push.batch)] if before else [""] * push.batch
        events = [f"{before}{one}{ends[n % len(ends)]}" for n, one in enumerate(ids, first)]
        body = events[0] if push.batch == 1 else "[" + ",".join(events) + "]"
        return head + body.encode(), ids

    return render


@dataclass
class _Connection:
    socket: socket.socket
    received: bytes = b""
    sent_ns: int = 0
    ids: list[str] = field(default_factory=list)


LENGTH: Final = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]+)[ \t]*\r\n", re.I)


def _whole(received: bytes) -> bool:
    """Whether head and body are complete; they may come in two segments."""
    end = received.find(b"\r\n\r\n")
    if end < 0:
        return False
    length = LENGTH.search(received, 0, end + 2)
    if length is None:
        raise ConnectionError("an answer without Content-Length")
    return len(received) >= end + 4 + int(length[1])


class Share:
    """One process's part: keep each connection busy until the time is over or the events are sent."""

    def __init__(self, push: Push) -> None:
        self._push, self._render, self._poll = push, _renderer(push), select.epoll()
        self._connections: dict[int, _Connection] = {}
        self._sent = self._acknowledged = self._failures = 0
        self._ids, self._detail = list[str](), ""
        self._waits_ns = list[int]()
        """Of the requests that count: acknowledged, and in the measured time."""
        self._began_ns = self._last_ns = time.monotonic_ns()
        self._from_ns = self._began_ns + (0 if push.events else int(push.warm_seconds * 1e9))
        self._until_ns = self._from_ns + int(push.seconds * 1e9)

    def run(self) -> dict[str, object]:
        """Push until it is over; return what came of it, as `_python` reads it."""
        for _ in range(self._push.connections):
            self._open()
        while self._connections:
            ready = self._poll.poll(DRAIN_SECONDS)
            if not ready:
                self._failures += len(self._connections)
                self._detail = f"no answer for {DRAIN_SECONDS} s"
                break
            for handle, _ in ready:
                self._hear(self._connections[handle])
        return {
            "waits_ns": self._waits_ns, "ids": self._ids, "detail": self._detail,
            "acknowledged": self._acknowledged, "counted": len(self._waits_ns), "failures": self._failures,
            "seconds": (self._last_ns - self._began_ns) / 1e9 if self._push.events else self._push.seconds,
        }  # fmt: skip

    def _open(self) -> None:
        opened = socket.create_connection(("127.0.0.1", self._push.port), DRAIN_SECONDS)
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connections[opened.fileno()] = connection = _Connection(opened)
        self._poll.register(opened, select.EPOLLIN)
        self._send_or_close(connection)

    def _over(self) -> bool:
        return self._sent >= self._push.events if self._push.events else time.monotonic_ns() >= self._until_ns

    def _send_or_close(self, connection: _Connection) -> None:
        """Send the next request; where none is left, close the connection."""
        if self._over():
            self._close(connection)
            return
        request, connection.ids = self._render()
        self._sent += self._push.batch
        connection.sent_ns = time.monotonic_ns()
        connection.socket.sendall(request)

    def _close(self, connection: _Connection) -> None:
        self._poll.unregister(connection.socket)
        del self._connections[connection.socket.fileno()]
        connection.socket.close()

    def _hear(self, connection: _Connection) -> None:
        """Take what has arrived; a whole answer is counted, and the next request follows it."""
        try:
            part = connection.socket.recv(RECEIVE_BYTES)
            if not part:
                raise ConnectionError("closed by the server")
            connection.received += part
            if _whole(connection.received):
                self._count(connection)
                connection.received = b""
                self._send_or_close(connection)
        except OSError as error:
            self._close(connection)
            if not self._push.keep_ids:
                self._failures += 1
                self._detail = str(error)

    def _count(self, connection: _Connection) -> None:
        self._last_ns = time.monotonic_ns()
        if connection.received[9:10] != b"2":
            self._failures += 1
            self._detail = connection.received[:400].decode("latin-1")
            return
        self._acknowledged += 1
        if self._push.keep_ids:
            self._ids += connection.ids
        if self._from_ns <= self._last_ns and (self._push.events or self._last_ns < self._until_ns):
            self._waits_ns.append(self._last_ns - connection.sent_ns)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=8485)
    parser.add_argument("--path", default="/v1/usage")
    parser.add_argument("--connections", type=positive_integer, default=16)
    parser.add_argument("--batch", type=positive_integer, default=1)
    parser.add_argument("--tag-sets", type=positive_integer, default=5)
    parser.add_argument("--seconds", type=positive_number, default=4)
    parser.add_argument("--client", choices=["auto", "wrk", "python"], default="auto")
    parser.add_argument("--share", help=argparse.SUPPRESS)
    options = vars(parser.parse_args())
    part, client = options.pop("share"), options.pop("client")
    if part:
        print(json.dumps(Share(Push(**json.loads(part))).run()))
    else:
        print(run(Push(**options), chosen(client)))


if __name__ == "__main__":
    main()
