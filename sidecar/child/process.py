"""How is a short-lived child started, heard and ended?

Whatever needs boto3, jwt, cryptography or kubernetes runs in a child that exits: the process that stays imports
none of them, and a hung or crashed call cannot touch the probes.

Rules kept here:
- At boot, while there is one thread, the child is forked; later, beside threads, it is spawned.
- There are three kinds of question: may this workload run (`exchange`), submit this usage (`submission`), and tell
  the cluster this (`notice`).
- A child says a few lines of JSON and ends. A line that does not come in time, or does not parse,
  is an answer of its own: the child is killed and the next one is asked.
- A child that crashes says which exception at which line, never the exception's text: the SDK quotes
  replies in its messages, and a reply holds a token.
- The parent waits for what it spawned. What was forked at boot is reaped by the master.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sidecar.errors import Problem, SettingsError
from sidecar.gate import messages
from sidecar.gate.messages import Question
from sidecar.settings import EntitlementCheck, yaml_file

if TYPE_CHECKING:
    from sidecar.billing.messages import Submission
    from sidecar.pod_status.messages import Notice

BUDGET_SECONDS: Final = 20.0
BUDGET_SECONDS_PER_KEY: Final = 30.0
"""Two calls of at most 15 seconds for each key version."""
BUDGET_SECONDS_DRY_RUNS: Final = 120.0
"""However many dimensions: the first that is not answered ends the asking."""
FAREWELL_SECONDS: Final = 0.2
"""For a child that has said all it had to say, to end."""
LINE_BYTES_MAX: Final = 1 << 20

START: Final = "import sys; sys.path[:] = sys.argv[1].split(chr(10)); from sidecar.child.process import main; main()"
"""The spawned child imports from where its parent did: the path goes along as an argument."""


@dataclass(kw_only=True)
class Child:
    """A running child and the pipe it speaks through."""

    pid: int
    pipe: int
    ours: bool
    """Whether this process has to wait for it."""
    _buffer: bytearray = field(default_factory=bytearray)
    ended: bool = False
    """Whether it has said all it will."""

    def line(self, deadline: float) -> bytes | None:
        """The next line; None once it has ended or `deadline` (monotonic) has passed."""
        while b"\n" not in self._buffer:
            left = deadline - time.monotonic()
            poll = select.poll()
            poll.register(self.pipe, select.POLLIN)
            if left <= 0 or not poll.poll(left * 1000):
                return None
            chunk = os.read(self.pipe, 65_536)
            if len(self._buffer) > LINE_BYTES_MAX:
                self.kill()  # it would say more, and do more
                chunk = b""
            if not chunk:
                self.ended = True
                return None
            self._buffer += chunk
        line, _, rest = self._buffer.partition(b"\n")
        self._buffer = bytearray(rest)
        return bytes(line)

    def kill(self) -> None:
        """Stop it now. Harmless once it has ended."""
        if not self.ended:
            try:
                os.kill(self.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass

    def abandon(self) -> None:
        """Kill it where it still runs as this process's child; the pid of one already reaped may be another's."""
        try:
            if os.waitpid(self.pid, os.WNOHANG) == (0, 0):
                os.kill(self.pid, signal.SIGKILL)
        except ChildProcessError:
            pass

    def close(self) -> None:
        """Be done with it: kill what still runs, wait for what is ours, close the pipe."""
        deadline = time.monotonic() + (0.0 if self.ours else FAREWELL_SECONDS)
        while not self.ended and self.line(deadline) is not None:
            pass  # once the pipe has ended, the pid of a child that others reap may be another's
        self.kill()
        self.ended = True
        os.close(self.pipe)
        if self.ours:
            try:
                os.waitpid(self.pid, 0)
            except ChildProcessError:
                pass


def budget_seconds(question: Question) -> float:
    """How long a child may take before it is given up."""
    if question.entitlement_check == EntitlementCheck.METER_USAGE.value:
        return BUDGET_SECONDS_DRY_RUNS
    return BUDGET_SECONDS + BUDGET_SECONDS_PER_KEY * len(question.public_keys)


def fork(question: Question, close: Iterable[int] = ()) -> Child:
    """Start the first child. Only while this process has one thread. `close`: what it must not hold open."""
    _share()
    reads, writes = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writes)
        return Child(pid=pid, pipe=reads, ours=False)
    try:
        os.close(reads)
        for handle in close:
            os.close(handle)
        _silence()
        answer(question, writes)
    finally:
        os._exit(0)


def _share() -> None:
    """Import, before the fork, what both sides need after it."""
    import tempfile  # noqa: F401


def read_document(path: Path) -> Mapping[str, object]:
    """`settings.documents.read` in a forked child, so that the process that stays has no YAML parser.

    Raises SettingsError as that does. Only while this process has one thread.
    """
    reads, writes = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(reads)
            _say(writes, json.dumps(_document_or_problems(path)))
        finally:
            os._exit(0)
    os.close(writes)
    with os.fdopen(reads, "rb") as pipe:
        text = pipe.read()
    os.waitpid(pid, 0)
    try:
        document, problems = json.loads(text)
    except ValueError:
        document, problems = {}, [{"setting": str(path), "fault": "could not be read; out of memory?"}]
    if problems:
        raise SettingsError([Problem(**problem) for problem in problems])
    return dict(document)


def _document_or_problems(path: Path) -> tuple[Mapping[str, object], list[dict[str, str]]]:
    try:
        return yaml_file.read(path), []
    except SettingsError as exc:
        return {}, [asdict(problem) for problem in exc.problems]


def spawn(question: Question | Submission | Notice) -> Child:
    """Start a child beside running threads. Raises OSError."""
    reads, writes = os.pipe()
    asked = os.memfd_create("question", os.MFD_CLOEXEC)
    os.write(asked, question.as_json().encode())  # a file in memory takes it whole, whoever reads when
    os.lseek(asked, 0, os.SEEK_SET)
    null = os.open(os.devnull, os.O_RDWR)
    try:
        pid = os.posix_spawn(
            sys.executable,
            [sys.executable, "-I", "-c", START, "\n".join(sys.path)],
            os.environ,
            file_actions=[
                (os.POSIX_SPAWN_DUP2, asked, 0),
                (os.POSIX_SPAWN_DUP2, writes, 1),
                (os.POSIX_SPAWN_DUP2, null, 2),
            ],
            setsigdef=[signal.SIGTERM, signal.SIGINT, signal.SIGPIPE],
            setsigmask=[],
        )
    except OSError:
        os.close(reads)
        raise
    finally:
        for handle in (writes, asked, null):
            os.close(handle)
    return Child(pid=pid, pipe=reads, ours=True)


def main() -> None:
    """The spawned child: question on stdin, lines on stdout."""
    question = _read(sys.stdin.read())
    out = os.dup(1)
    _silence()
    answer(question, out)
    os._exit(0)


def _read(text: str) -> Question | Submission | Notice:
    kind = json.loads(text)["kind"]
    if kind == messages.KIND:
        return Question.from_json(text)
    from sidecar.pod_status import messages as pod_status_messages

    if kind == pod_status_messages.KIND:
        return pod_status_messages.Notice.from_json(text)
    from sidecar.billing.messages import Submission

    return Submission.from_json(text)


def _silence() -> None:
    """Nothing a library prints may land in the log or between our lines."""
    null = os.open(os.devnull, os.O_RDWR)
    for handle in (0, 1, 2):
        os.dup2(null, handle)
    for name in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
        signal.signal(name, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def answer(question: Question | Submission | Notice, out: int) -> None:
    """Ask AWS or tell the cluster, and say what came of it; the outermost edge of the child."""
    try:
        before = dict(os.environ)
        if isinstance(question, Question):
            _take_sdk_environment(before, question.endpoint_url)
            _ask(question, before, out)
            return
        from sidecar.pod_status.messages import Notice

        if isinstance(question, Notice):
            _tell(question, out)
            return
        _take_sdk_environment(before, question.endpoint_url)
        _submit(question, before, out)
    except Exception as exc:  # said by class and place; its text might quote a reply
        _say(out, f'{{"crashed": "{type(exc).__name__} at {_place(exc)}"}}')


def _ask(question: Question, env: Mapping[str, str], out: int) -> None:
    from sidecar.clock import SystemClock
    from sidecar.gate.job import Asking
    from sidecar.remote_clock import clock_for

    asking = Asking(
        question=question,
        env=env,
        clock=clock_for(question.clock_url),
        host_clock=SystemClock(),
        placed=lambda report: _say(out, report.as_json()),
    )
    report, keep = asking.report()
    _say(out, report.as_json())
    if keep:
        _say(out, keep().as_json())


def _submit(submission: Submission, env: Mapping[str, str], out: int) -> None:
    from sidecar.billing.job import Submitting

    for answered in Submitting(submission=submission, env=env).answers():
        _say(out, answered.as_json())


def _tell(notice: Notice, out: int) -> None:
    from sidecar.clock import SystemClock
    from sidecar.pod_status import writer
    from sidecar.pod_status.messages import told_line

    for told in writer.tell(notice.api, notice.condition, notice.events, SystemClock().now()):
        _say(out, told_line(told))


def _take_sdk_environment(env: dict[str, str], endpoint_url: str | None) -> None:
    from sidecar.marketplace import sdk_environment
    from sidecar.platform import ecs, eks

    in_platform = ecs.on_ecs(env) or eks.in_kubernetes(env)
    os.environ.clear()
    os.environ.update(sdk_environment.for_sdk(env, endpoint_url, in_platform))


def _say(out: int, line: str) -> None:
    data = line.encode() + b"\n"
    while data:
        data = data[os.write(out, data) :]


def _place(exc: BaseException) -> str:
    trace = exc.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    if trace is None:
        return "?"
    return f"{os.path.basename(trace.tb_frame.f_code.co_filename)}:{trace.tb_lineno}"
