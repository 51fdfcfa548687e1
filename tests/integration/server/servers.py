"""A real supervisor and worker with a small application, in processes of their own.

    python -m tests.integration.server.servers '{"fds": [3, 4], "names": ["probe", "api"], ...}'

The application of these tests knows nothing of the project: it says what it was given, waits where it
is told to, and fails on request.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from sidecar.api.reply import Reply

ROOT = Path(__file__).resolve().parents[3]
# As in the image: big answers go back to the system, not to a per-thread arena.
MALLOC = {"MALLOC_TRIM_THRESHOLD_": "131072"}
ANSWER_SECONDS = 8
START_SECONDS = 60  # a client waits so long for the first answer: a start takes seconds where other tests run
QUICK = (
    "/entitled",
    "/counters",
    "/pid",
    "/release",
    "/owed",
    "/handed",
    "/pay",
    "/quick-echo",
    "/quick-error",
    "/quick-refuses",
)


# In the server's process


class TestApp:
    """The WSGI callable under test, with the two methods the worker adds."""

    __test__ = False

    def __init__(self, hub: Any) -> None:
        self.hub = hub
        self.hang = threading.Event()
        self.owed: list[Callable[[], None]] = []
        self.at_hand: list[Callable[[], None]] = []
        self.handed: list[int] = []

    def commit_pending(self) -> None:
        """Give what waited for this, and remember how much it was."""
        at_hand, self.at_hand = self.at_hand, []
        self.handed.append(len(at_hand))
        for answered in at_hand:
            answered()

    def deferred_handler(self, listener: str, method: str, path: str) -> Any:
        if path == "/take-refused":
            raise RuntimeError("secret-of-the-application")
        return partial(self.take, path) if path.startswith("/take") else None

    def take(self, path: str, body: bytes, answered: Callable[[Reply], None]) -> None:
        said = {"path": path, "bytes": len(body), "start": body[:20].decode("latin-1")}
        said["thread"] = threading.current_thread().name
        reply = Reply(status=200, body=json.dumps(said).encode())
        if path == "/take-error":
            raise RuntimeError("secret-of-the-application")
        if path == "/take-odd":
            reply = Reply(status=299, body=b"")
        if path in ("/take-now", "/take-odd", "/take-twice", "/take-then-error"):
            answered(reply)
        if path == "/take-twice":
            answered(Reply(status=200, body=b'"again"'))
        if path == "/take-then-error":
            raise RuntimeError("secret-of-the-application")
        if path == "/take-later":
            threading.Thread(target=answered, args=[reply]).start()
        if path == "/take-handed":
            self.at_hand.append(partial(answered, reply))
        if path == "/take-owed":
            self.owed.append(partial(answered, reply))

    def pay(self) -> int:
        """Give what is owed, all on one other thread, as a commit does."""
        owed, self.owed = self.owed, []
        threading.Thread(target=lambda: [one() for one in owed]).start()
        return len(owed)

    def quick_handler(self, method: str, path: str) -> Any:
        return partial(self.reply, method, path) if path.startswith("/reply") else None

    def reply(self, method: str, path: str) -> Reply:
        if path == "/reply-error":
            raise RuntimeError("secret-of-the-application")
        said = json.dumps({"method": method, "thread": threading.current_thread().name})
        return Reply(status=200, body=said.encode())

    def is_nonblocking(self, environ: dict[str, Any]) -> bool:
        if environ["PATH_INFO"] == "/quick-refuses":
            raise RuntimeError("secret-of-the-application")
        return environ["PATH_INFO"] in QUICK

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path.endswith("error"):
            raise RuntimeError("secret-of-the-application")
        if path == "/half-an-answer":
            start_response("200 OK", [("Content-Length", "100")])
            return [b"only this"]
        if path == "/slow":
            self.hang.wait()
        if path == "/burn":
            while not self.hang.is_set():
                sum(range(1000))
        if path == "/wait":
            while not os.path.exists(environ["QUERY_STRING"]):
                time.sleep(0.01)
        if path == "/big":
            body = b"x" * int(environ["QUERY_STRING"])
        else:
            body = json.dumps(self.describe(path, environ)).encode()
        start_response("200 OK", [("Content-Length", str(len(body))), ("Content-Type", "application/json")])
        return [body]

    def describe(self, path: str, environ: dict[str, Any]) -> object:
        if path == "/counters":
            return self.counters()
        if path == "/owed":
            return len(self.owed)
        if path == "/handed":
            return self.handed
        if path == "/pay":
            return self.pay()
        if path == "/pid":
            return os.getpid()
        if path == "/release":
            self.hub.released = True
            return True
        if path.endswith("echo"):
            return {
                "body": environ["wsgi.input"].read().decode("latin-1"),
                "thread": threading.current_thread().name,
                **{k: v for k, v in environ.items() if isinstance(v, str)},
            }
        return {"entitled": True, "listener": environ["sidecar.listener"], "stopping": self.hub.asked}

    def counters(self) -> dict[str, object]:
        seen = vars(self.hub.http_counters).copy()
        seen["refused"] = {f"{name} {status}": n for (name, status), n in seen["refused"].items() if n}
        return seen


def usage_site() -> Any:
    """The project's own site over usage that a thread keeps, as the ledger's writer does."""
    from queue import SimpleQueue

    from sidecar.api.router import Router
    from tests.fakes.usage import FakeUsage
    from tests.fakes.view import FakeView

    work: SimpleQueue[Callable[[], None]] = SimpleQueue()

    at_hand: list[Callable[[], None]] = []

    class Kept(FakeUsage):
        def push(self, events: Any, now: Any, answered: Any) -> None:
            at_hand.append(lambda: FakeUsage.push(self, events, now, answered))

        def commit_pending(self) -> None:
            while at_hand:
                work.put(at_hand.pop(0))

    def write() -> None:
        while True:
            work.get()()

    threading.Thread(target=write, daemon=True).start()
    return Router(FakeView(usage=Kept()))


def serve(options: dict[str, Any]) -> None:
    """Run on inherited sockets until a signal ends it."""
    import resource

    from sidecar.server.supervised import Supervised
    from sidecar.server.supervisor import supervise

    if options["files"]:
        resource.setrlimit(resource.RLIMIT_NOFILE, (options["files"], options["files"]))

    def work(shared: Supervised) -> int:
        from sidecar.server import event_loop
        from sidecar.server.admission import Admission
        from sidecar.server.limits import Limits
        from sidecar.server.worker import Worker

        if options["long_turns"]:
            vars(event_loop).update(STEPS_SECONDS_MIN=LONG_TURN_SECONDS, STEPS_SECONDS_MAX=LONG_TURN_SECONDS)
        admission = Admission(**options["admission"]) if options["admission"] is not None else None
        sockets = [socket.socket(fileno=fd) for fd in options["fds"]]
        listening = list(zip(options["names"], sockets, strict=True))
        Worker(Hub(options), listening, admission, shared, Limits(**options["limits"])).run()
        return 0

    # The sidecar's supervisor has no sockets: its worker makes them.
    os.register_at_fork(after_in_parent=lambda: close_all(options["fds"]))
    sys.exit(supervise(work, lambda _, code: code))


def close_all(fds: list[int]) -> None:
    for fd in fds:
        os.close(fd)


class Hub:
    """What the worker runs: the application under test, and when it has stopped."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.options = options
        self.asked = 0
        self.released = not options["hold"]
        self.http_counters: Any = None

    def start(self, http_counters: Any) -> Any:
        self.http_counters = http_counters
        return usage_site() if self.options["site"] else TestApp(self)

    def stop(self) -> None:
        self.asked += 1
        if self.options["mark"]:
            Path(self.options["mark"]).touch()

    def stopped(self) -> bool:
        return self.released


# In the test's process


class Server:
    """A running server, and how to talk to it."""

    def __init__(self, process: subprocess.Popen[bytes], ports: dict[str, int], unix: Path | None = None) -> None:
        self.process = process
        self.ports = ports
        self.unix = unix
        self.worker_pid = 0
        self.patience_seconds = START_SECONDS

    def connect(self, listener: str) -> socket.socket:
        if listener == "api" and self.unix:
            sock = socket.socket(socket.AF_UNIX)
            sock.settimeout(self.patience_seconds)
            sock.connect(str(self.unix))
            return sock
        return socket.create_connection(("127.0.0.1", self.ports[listener]), timeout=self.patience_seconds)

    def send(self, listener: str, data: bytes) -> bytes:
        """Everything answered to these bytes, sent at once and followed by our half of a close."""
        with self.connect(listener) as sock:
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
            return read_all(sock)

    def ask(self, listener: str, path: str, *, method: str = "GET", headers: str = "", body: bytes = b"") -> Any:
        """Status, head and body of one request on a connection of its own."""
        length = f"Content-Length: {len(body)}\r\n" if body else ""
        head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{length}{headers}\r\n"
        with self.connect(listener) as sock:
            sock.sendall(head.encode("latin-1") + body)
            return split(read_all(sock))

    def json(self, listener: str, path: str, **more: Any) -> Any:
        return json.loads(self.ask(listener, path, **more)[2])

    def probe_seconds(self, listener: str) -> float:
        """How long `/entitled` takes on a fresh connection. Raises when it is not answered."""
        start = time.perf_counter()
        status, _, _ = self.ask(listener, "/entitled")
        assert status == 200
        return time.perf_counter() - start

    def resident_kib(self) -> int:
        status = Path(f"/proc/{self.worker_pid}/status").read_text()
        return int(status.split("RssAnon:")[1].split()[0])

    def stop(self) -> None:
        def ended() -> bool:
            self.process.send_signal(signal.SIGQUIT)  # the second one hurries
            return self.process.poll() is not None

        try:
            eventually(ended, 5)
        except AssertionError:
            self.process.kill()
            self.process.wait(5)


LONG_TURN_SECONDS = 60.0


@contextmanager
def server(
    *,
    hold: bool = False,
    site: bool = False,
    files: int = 0,
    mark: str = "",
    admission: dict[str, object] | None = None,
    env: dict[str, str] | None = None,
    unix: Path | None = None,
    long_turns: bool = False,
    **limits: Any,
) -> Iterator[Server]:
    """A server with a probe and an api listener.

    `hold` keeps it draining until `/release`; `site` serves the project's own routes; `files` is how many
    it may have open; `mark` is a file that appears when the application is told to stop; `admission` is
    what the api listener's is made of, where it has one; `unix` is a path where the api listener is then;
    with `long_turns` the poller ends no turn before it has served all that is ready.
    """
    sockets = [socket.create_server(("127.0.0.1", 0), backlog=4096) for _ in range(1 if unix else 2)]
    ports = dict(zip(["probe", "api"], [sock.getsockname()[1] for sock in sockets], strict=False))
    if unix:
        sockets.append(socket.socket(socket.AF_UNIX))
        sockets[1].bind(str(unix))
        sockets[1].listen(4096)
    names = ["probe", "api"]
    options = {
        "fds": [sock.fileno() for sock in sockets],
        "names": names,
        "hold": hold,
        "site": site,
        "files": files,
        "mark": mark,
        "admission": admission,
        "long_turns": long_turns,
        "limits": limits,
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.integration.server.servers", json.dumps(options)],
        cwd=ROOT,
        env={**os.environ, **MALLOC, **(env or {})},
        pass_fds=options["fds"],
    )
    running = Server(process, ports, unix)
    for sock in sockets:
        sock.close()
    try:
        running.ask("probe", "/healthz")
        running.worker_pid = 0 if site else running.json("probe", "/pid")
        running.patience_seconds = ANSWER_SECONDS
        yield running
    finally:
        running.stop()


def read_all(sock: socket.socket) -> bytes:
    """Until the other side closes."""
    parts = []
    while part := sock.recv(65536):
        parts.append(part)
    return b"".join(parts)


def read_answer(sock: socket.socket, *, head_only: bool = False) -> tuple[int, str, bytes]:
    """One answer with a Content-Length from a connection that stays open."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += _some(sock)
    head, _, rest = data.partition(b"\r\n\r\n")
    text = head.decode("latin-1")
    length = 0 if head_only else int(text.lower().split("content-length:")[1].split()[0])
    while len(rest) < length:
        rest += _some(sock)
    assert len(rest) == length, "more than one answer"
    return int(text.split()[1]), text, rest


def _some(sock: socket.socket) -> bytes:
    data = sock.recv(1)  # byte by byte where it matters: an answer must not swallow the next
    if not data:
        raise ConnectionError("closed before the answer was whole")
    return data


def split(data: bytes) -> tuple[int, str, bytes]:
    """Status, head and body of one answer."""
    if not data:
        raise ConnectionError("closed without an answer")
    head, _, body = data.partition(b"\r\n\r\n")
    return int(head.split()[1]), head.decode("latin-1"), body


def silent(sock: socket.socket, seconds: float) -> bool:
    """Whether nothing arrives on this socket for so long."""
    return not select.select([sock], [], [], seconds)[0]


def eventually(check: Callable[[], bool], seconds: float = 8.0) -> None:
    """Poll until this holds."""
    until = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < until, "did not happen in time"
        time.sleep(0.02)


if __name__ == "__main__":
    serve(json.loads(sys.argv[1]))
