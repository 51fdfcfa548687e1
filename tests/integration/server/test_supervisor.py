"""One worker at a time, in real processes: what starts it, ends it and replaces it."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from sidecar.server import supervised, supervisor
from tests.integration.server.servers import ROOT, eventually

BEFORE = """
import os, signal, sys, time
from sidecar.server import supervised, supervisor
from sidecar.server.supervisor import supervise
supervisor.LOOK_SECONDS_MIN = 0.05
log = supervisor.Supervisor._log
supervisor.Supervisor._log = lambda _: Silent

class Silent:
    error = warn = staticmethod(lambda name, **fields: None)

class Loud:
    error = warn = staticmethod(lambda name, **fields: say("log", name, *fields.values()))

def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())

def until_told(shared):
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(5))
    signal.signal(signal.SIGQUIT, lambda *_: sys.exit(6))
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    shared.beat()
    say("serves", os.getpid())
    while True:
        signal.pause()

def ended(shared, code):
    say("ended")
    return code or 7

work = until_told
"""


class Running:
    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self._read = b""

    def said(self) -> list[str]:
        """The next line, as words. Raises where none comes."""
        assert self.process.stdout is not None
        while b"\n" not in self._read:
            assert select.select([self.process.stdout], [], [], 10)[0], "nothing was said"
            part = os.read(self.process.stdout.fileno(), 4096)
            assert part, "it has ended"
            self._read += part
        line, _, self._read = self._read.partition(b"\n")
        return line.decode().split()

    def serves(self) -> int:
        """The process id of the worker that says that it serves."""
        word, pid = self.said()
        assert word == "serves"
        return int(pid)

    def told(self, number: int) -> None:
        self.process.send_signal(number)

    def code(self) -> int:
        return self.process.wait(10)


@contextmanager
def running(more: str = "", start_seconds: float = supervisor.START_SECONDS) -> Iterator[Running]:
    line = [sys.executable, "-c", f"{BEFORE}\n{more}\nsys.exit(supervise(work, ended, {start_seconds}))"]
    with subprocess.Popen(
        line, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
    ) as process:
        try:
            yield Running(process)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # the worker too, which watches nothing here


def gone(pid: int) -> bool:
    return not os.path.exists(f"/proc/{pid}")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_a_signal_ends_the_worker_by_sigterm_and_then_the_supervisor(number: int) -> None:
    with running() as one:
        pid = one.serves()
        one.told(number)
        assert one.said() == ["ended"]
        assert gone(pid)
        assert one.code() == 7, "the worker's own code is 5"


def test_a_signal_that_comes_before_the_worker_listens_is_not_lost() -> None:
    with running("def work(shared):\n    say('begins')\n    time.sleep(0.3)\n    until_told(shared)") as one:
        assert one.said() == ["begins"]
        one.told(signal.SIGTERM)
        assert one.code() == 7


@pytest.mark.parametrize(
    "number", [signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGTTIN, signal.SIGTTOU, signal.SIGWINCH]
)
def test_other_signals_do_nothing(number: int) -> None:
    with running() as one:
        pid = one.serves()
        one.told(number)
        one.told(signal.SIGCHLD)
        one.told(signal.SIGTERM)
        assert one.said() == ["ended"], "no second worker"
        assert gone(pid)


@pytest.mark.parametrize("code", [1, 69, 78])
def test_a_worker_that_fails_before_it_serves_ends_the_supervisor_with_its_code(code: int) -> None:
    with running(f"work = lambda shared: {code}") as one:
        assert one.said() == ["ended"], "what a start leaves is removed"
        assert one.code() == code


def test_a_first_worker_that_alone_is_told_to_end_is_replaced() -> None:
    told = (
        "def work(shared):\n"
        "    if os.lseek(shared.restart_state, 0, os.SEEK_END) == 0:\n"
        "        os.write(shared.restart_state, b'1')\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "    if supervisor.stop_pending():\n"
        "        say('told')\n"
        "        return 0\n"
        "    until_told(shared)"
    )
    with running(told) as one:
        assert one.said() == ["told"]
        one.serves()
        one.told(signal.SIGTERM)
        assert one.said() == ["ended"]
        assert one.code() == 7


@pytest.mark.parametrize("read", [True, False])
def test_told_to_end_between_two_starts_it_forks_one_that_finishes_what_was_begun(read: bool) -> None:
    """The pause is a minute long. Where no worker has read its settings, there is nothing to finish."""
    dies = (
        "supervisor.LOOK_SECONDS_MIN = 60\n"
        "supervisor.Supervisor._log = lambda _: Loud\n"
        "def work(shared):\n"
        "    if shared.has_settings():\n"
        "        say('finishes')\n"
        "        return 0\n"
        f"    {read} and shared.allow(20)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    with running(dies) as one:
        assert one.said()[:2] == ["log", "server.error"]
        one.told(signal.SIGTERM)
        if read:
            assert one.said() == ["finishes"]
        assert one.said() == ["ended"]
        assert one.code() == 7


@pytest.mark.parametrize("code", [0, 1])
def test_a_worker_that_breaks_while_it_ends_is_followed_by_one_that_finishes_in_the_time_left(code: int) -> None:
    breaks = (
        "def work(shared):\n"
        "    if shared.has_settings():\n"
        "        say('finishes', supervisor.stop_pending(), 0 < shared.seconds_left() <= 20)\n"
        "        return 0\n"
        "    shared.allow(20)\n"
        f"    signal.signal(signal.SIGTERM, lambda *_: os._exit({code}))\n"
        "    signal.pthread_sigmask(signal.SIG_SETMASK, ())\n"
        "    shared.beat()\n"
        "    say('serves', shared.seconds_left())\n"
        "    while True:\n"
        "        signal.pause()\n"
    )
    with running(breaks) as one:
        assert one.said() == ["serves", "None"]
        one.told(signal.SIGTERM)
        if code:
            assert one.said() == ["finishes", "True", "True"]
        assert one.said() == ["ended"]
        assert one.code() == 7


FAILS_TWICE = """
def work(shared):
    count = shared.restart_state
    os.write(count, b"1")
    starts = os.lseek(count, 0, os.SEEK_END)
    if starts in FAILING:
        {how}
    until_told(shared)
supervisor.Supervisor._log = lambda _: Loud
"""


@pytest.mark.parametrize("how", ["return 78", "return 0", "raise KeyError('why')", "sys.exit(1)"])
def test_a_replacement_that_does_not_start_is_tried_again(how: str) -> None:
    with running(f"FAILING = (2, 3)\n{FAILS_TWICE.format(how=how)}") as one:
        first = one.serves()
        os.kill(first, signal.SIGSEGV)
        words = [one.said()]
        while words[-1][0] != "serves":
            words.append(one.said())
        assert int(words[-1][1]) != first
        assert one.process.poll() is None
        one.told(signal.SIGTERM)
        assert one.code() == 7


def test_a_start_that_fails_after_one_that_was_killed_ends_the_supervisor() -> None:
    """None of them has served: there is nothing to keep up."""
    with running(
        f"FAILING = (1, 2)\n{FAILS_TWICE.format(how='starts == 1 and os.kill(os.getpid(), 9); return 78')}"
    ) as one:
        assert one.code() == 78


def test_a_worker_that_raises_is_logged_by_class_and_place() -> None:
    with running("def work(shared):\n    raise KeyError('why')") as one:
        assert one.code() == 70
        assert one.process.stdout is not None
        assert b"why" in one.process.stdout.read()


def test_a_worker_that_is_killed_before_it_serves_is_replaced() -> None:
    with running(
        "def work(shared):\n"
        "    if os.lseek(shared.restart_state, 0, os.SEEK_END) == 0:\n"
        "        os.write(shared.restart_state, b'1')\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    until_told(shared)\n"
        "supervisor.Supervisor._log = lambda _: Loud"
    ) as one:
        assert one.said()[:2] == ["log", "server.error"]
        one.serves()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGQUIT])
def test_a_worker_that_ends_later_is_replaced(number: int) -> None:
    with running() as one:
        first = one.serves()
        os.kill(first, number)
        second = one.serves()
        assert gone(first)
        assert second != first
        one.told(signal.SIGTERM)
        assert one.code() == 7


def test_the_end_of_a_worker_is_logged() -> None:
    for number, event in ((signal.SIGKILL, "server.error"), (signal.SIGSEGV, "server.warning")):
        with running("supervisor.Supervisor._log = log") as one:
            os.kill(one.serves(), number)
            assert event in " ".join(one.said())


def test_a_worker_that_hangs_is_aborted_and_then_killed() -> None:
    hung = "supervisor.TIMEOUT_SECONDS = 0.3\nsupervisor.Supervisor._log = lambda _: Loud"
    with running(hung) as one:
        first = one.serves()
        os.kill(first, signal.SIGSTOP)  # SIGABRT waits with it
        assert one.said()[2:] == ["WORKER", "TIMEOUT", f"(pid:{first})"]
        assert one.said()[4:] == ["did", "not", "end", "in", "time,", "and", "was", "killed."]
        assert one.serves() != first


def test_a_start_that_hangs_is_aborted_and_tried_again() -> None:
    hung = (
        "def work(shared):\n"
        "    if os.lseek(shared.restart_state, 0, os.SEEK_END) == 0:\n"
        "        os.write(shared.restart_state, b'1')\n"
        "        say('hangs', os.getpid())\n"
        "        signal.pause()\n"
        "    until_told(shared)\n"
        "supervisor.Supervisor._log = lambda _: Loud\n"
    )
    with running(hung, start_seconds=0.3) as one:
        first = one.said()[1]
        assert one.said()[2:] == ["WORKER", "TIMEOUT", f"(pid:{first})"]
        assert "SIGABRT!" in one.said()
        assert one.serves() != int(first)


def test_a_start_may_take_longer_than_the_time_between_two_heartbeats() -> None:
    slow = (
        "supervisor.TIMEOUT_SECONDS = 0.1\n"
        "supervisor.Supervisor._log = lambda _: Loud\n"
        "def work(shared):\n"
        "    time.sleep(0.5)\n"
        "    until_told(shared)"
    )
    with running(slow, start_seconds=30) as one:
        one.serves()


def test_a_worker_whose_heart_beats_is_left_alone() -> None:
    beats = (
        "supervisor.TIMEOUT_SECONDS = 0.3\n"
        "def work(shared):\n"
        "    for _ in range(30):\n"
        "        shared.beat()\n"
        "        time.sleep(0.05)\n"
        "    say('lived')\n"
        "    until_told(shared)"
    )
    with running(beats) as one:
        assert one.said() == ["lived"]


def test_a_worker_that_does_not_end_is_killed_when_its_time_is_over() -> None:
    deaf = (
        "def work(shared):\n"
        "    shared.allow(0.2)\n"
        "    signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "    shared.beat()\n"
        "    say('serves', os.getpid())\n"
        "    while True:\n"
        "        signal.pause()\n"
    )
    with running(deaf) as one:
        pid = one.serves()
        one.told(signal.SIGTERM)
        assert one.said() == ["ended"]
        assert gone(pid)


def test_a_start_that_hangs_is_killed_soon_after_sigterm() -> None:
    """It has said nothing of the time it needs to end: it has begun nothing."""
    hung = (
        "supervised.GRACEFUL_SECONDS = 0.2\n"
        "def work(shared):\n"
        "    say('hangs', os.getpid())\n"
        "    while True:\n"
        "        time.sleep(60)\n"
    )
    assert supervised.GRACEFUL_SECONDS == 1
    with running(hung) as one:
        pid = int(one.said()[1])
        one.told(signal.SIGTERM)
        assert one.said() == ["ended"]
        assert gone(pid)
        assert one.code() == 7


def test_a_worker_that_replaces_another_has_the_time_to_end_that_was_allowed() -> None:
    """It may have usage to send as soon as it starts."""
    slow = (
        "supervised.GRACEFUL_SECONDS = 0\n"
        "def work(shared):\n"
        "    if os.lseek(shared.restart_state, 0, os.SEEK_END) == 0:\n"
        "        os.write(shared.restart_state, b'1')\n"
        "        shared.allow(20)\n"
        "        shared.beat()\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    say('starts')\n"
        "    while not supervisor.stop_pending():\n"
        "        time.sleep(0.01)\n"
        "    say('sends')\n"
        "    return 0\n"
    )
    with running(slow) as one:
        assert one.said() == ["starts"]
        one.told(signal.SIGTERM)
        assert one.said() == ["sends"]
        assert one.code() == 7


def test_the_second_sigint_ends_the_worker_at_once() -> None:
    slow = (
        "def work(shared):\n"
        "    signal.signal(signal.SIGTERM, lambda *_: say('asked'))\n"
        "    signal.signal(signal.SIGQUIT, lambda *_: sys.exit(6))\n"
        "    signal.pthread_sigmask(signal.SIG_SETMASK, ())\n"
        "    shared.beat()\n"
        "    say('serves', os.getpid())\n"
        "    while True:\n"
        "        signal.pause()\n"
    )
    with running(slow) as one:
        pid = one.serves()
        one.told(signal.SIGINT)
        assert one.said() == ["asked"]
        one.told(signal.SIGINT)
        assert one.said() == ["ended"]
        assert gone(pid)


SLOW = """
def work(shared):
    shared.allow(20)
    signal.signal(signal.SIGTERM, lambda *_: say('asked'))
    signal.signal(signal.SIGQUIT, lambda *_: say('hurried'))
    signal.signal(signal.SIGUSR1, lambda *_: sys.exit(0))
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    shared.beat()
    say('serves', os.getpid())
    while True:
        signal.pause()
"""


def fetched(pid: int, number: int) -> bool:
    """Whether a signal waits no more."""
    rows = (line.split() for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    pending = sum(int(row[1], 16) for row in rows if row[0] in ("SigPnd:", "ShdPnd:"))
    return not pending >> (number - 1) & 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT])
def test_a_first_sigint_that_follows_a_sigterm_hurries_nothing(number: int) -> None:
    with running(SLOW) as one:
        pid = one.serves()
        one.told(signal.SIGTERM)
        assert one.said() == ["asked"]
        one.told(number)
        eventually(lambda: fetched(one.process.pid, number))
        os.kill(pid, signal.SIGTERM)
        assert one.said() == ["asked"], "and not hurried"
        one.told(signal.SIGINT)
        assert one.said() == ["hurried"]
        os.kill(pid, signal.SIGUSR1)
        assert one.code() == 7


def test_any_number_of_sigterms_hurries_nothing() -> None:
    with running(SLOW) as one:
        pid = one.serves()
        for _ in range(3):
            one.told(signal.SIGTERM)
            eventually(lambda: fetched(one.process.pid, signal.SIGTERM))
        os.kill(pid, signal.SIGUSR1)
        assert one.said() == ["asked"]
        assert one.said() == ["ended"]


@pytest.mark.parametrize("fault", ["raise MemoryError", "raise ImportError", "raise ValueError('torn')"])
def test_a_log_that_fails_ends_nothing_and_the_text_is_on_stderr(fault: str) -> None:
    with running(f"def broken(_):\n    {fault}\nsupervisor.Supervisor._log = broken") as one:
        first = one.serves()
        os.kill(first, signal.SIGKILL)
        assert " ".join(one.said()) == f"Worker (pid:{first}) was sent SIGKILL! Perhaps out of memory?"
        assert one.serves() != first


def test_a_worker_that_does_not_end_in_time_is_not_called_out_of_memory() -> None:
    loud = "def broken(_):\n    raise ValueError\nsupervisor.Supervisor._log = broken"
    with running(SLOW.replace("shared.allow(20)", "shared.allow(1)") + loud) as one:
        first = one.serves()
        one.told(signal.SIGTERM)
        assert one.said() == ["asked"]
        assert " ".join(one.said()) == f"Worker (pid:{first}) did not end in time, and was killed."


def test_a_log_and_a_stderr_that_fail_end_nothing() -> None:
    broken = (
        "def broken(_):\n    raise MemoryError\n"
        "supervisor.Supervisor._log = broken\n"
        "write = os.write\n"
        "os.write = lambda handle, text: write(handle, text) if handle != 2 else write(-1, text)"
    )
    with running(broken) as one:
        first = one.serves()
        os.kill(first, signal.SIGKILL)
        assert one.serves() != first


def test_a_child_that_others_left_is_reaped() -> None:
    adopts = (
        "import ctypes\n"
        "ctypes.CDLL(None).prctl(36, 1)\n"  # PR_SET_CHILD_SUBREAPER: as PID 1 would
        "def work(shared):\n"
        "    if os.fork() == 0:\n"
        "        if os.fork() == 0:\n"
        "            say('orphan', os.getpid())\n"
        "        os._exit(0)\n"
        "    os.wait()\n"
        "    until_told(shared)"
    )
    with running(adopts) as one:
        lines = {word: int(pid) for word, pid in (one.said(), one.said())}
        eventually(lambda: gone(lines["orphan"]))
        assert not gone(lines["serves"])


def test_a_supervisor_that_inherits_sigchld_as_ignored_replaces_its_worker() -> None:
    with running("signal.signal(signal.SIGCHLD, signal.SIG_IGN)") as one:
        first = one.serves()
        os.kill(first, signal.SIGKILL)
        assert one.serves() != first


def test_a_worker_that_others_have_waited_for_is_replaced() -> None:
    """The supervisor hears of a child's end, and has no child any more."""
    stolen = (
        "waitpid = os.waitpid\n"
        "def wait(pid, options):\n"
        "    os.waitpid = waitpid\n"
        "    os.waitid(os.P_ALL, 0, os.WEXITED)\n"
        "    return os.waitpid(pid, options)\n"
        "os.waitpid = wait\n"
        "supervisor.Supervisor._log = lambda _: Loud"
    )
    with running(stolen) as one:
        first = one.serves()
        os.kill(first, signal.SIGKILL)
        assert one.said()[2:] == ["Worker", f"(pid:{first})", "is", "gone!"]
        assert one.serves() != first


def test_a_worker_that_is_gone_when_it_is_signalled_is_replaced() -> None:
    """It hangs, and its end is never told."""
    gone_at = (
        "supervisor.TIMEOUT_SECONDS = 0.3\n"
        "supervisor.Supervisor._log = lambda _: Loud\n"
        "kill = os.kill\n"
        "def steal(pid, number):\n"
        "    os.kill = kill\n"
        "    kill(pid, signal.SIGKILL)\n"
        "    os.waitid(os.P_PID, pid, os.WEXITED)\n"
        "    kill(pid, number)\n"
        "os.kill = steal\n"
    )
    with running(gone_at) as one:
        first = one.serves()
        assert one.said()[2:] == ["WORKER", "TIMEOUT", f"(pid:{first})"]
        assert one.said()[2:] == ["Worker", f"(pid:{first})", "is", "gone!"]
        assert one.serves() != first


def test_a_worker_that_is_gone_at_the_end_holds_nothing_up() -> None:
    stolen = (
        "kill = os.kill\n"
        "def steal(pid, number):\n"
        "    kill(pid, signal.SIGKILL)\n"
        "    os.waitid(os.P_PID, pid, os.WEXITED)\n"
        "    kill(pid, number)\n"
        "os.kill = steal\n"
    )
    with running(stolen) as one:
        one.serves()
        one.told(signal.SIGTERM)
        assert one.said() == ["ended"]
        assert one.code() == 7


def test_the_supervisor_has_imported_next_to_nothing() -> None:
    code = (
        "import sys\n"
        "sys.path.insert(0, '.')\n"
        "before = set(sys.modules)\n"
        "from sidecar.app import start\n"
        "print(*set(sys.modules) - before)"
    )
    line = [sys.executable, "-I", "-c", code]
    # Without an environment: coverage, where it measures, would be among them.
    found = subprocess.run(line, cwd=ROOT, env={}, capture_output=True, text=True, check=True).stdout.split()
    own = [
        "sidecar",
        "sidecar.app",
        "sidecar.app.start",
        "sidecar.server",
        "sidecar.server.supervised",
        "sidecar.server.supervisor",
    ]
    assert sorted(found) == ["__future__", "_socket", *own]
