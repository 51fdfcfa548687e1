"""What do gunicorn's master and worker need of us? Imported only once the first question has gone out.

Rules kept here:
- One worker, ever: a second would register the workload a second time. Signals that gunicorn takes for
  more workers, reloads or upgrades are ignored.
- SIGINT and SIGQUIT mean what SIGTERM means, the first time: whichever an image's STOPSIGNAL names, usage is sent.
- SIGTERM is not lost between a worker's fork and its readiness.
- What ends the process writes its exit code to the board; the master exits with it.

Source: gunicorn's settings reference and its arbiter.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter

from sidecar import log
from sidecar import termination_log as termination
from sidecar.api.router import Site
from sidecar.app.pod_status import herald
from sidecar.app.status import Picture
from sidecar.billing.protocol import metering
from sidecar.child.process import Child
from sidecar.entitlement.answer import Answer
from sidecar.errors import Exit
from sidecar.gate.loop import Gatekeeper
from sidecar.gate.messages import Question, Report
from sidecar.remote_clock import clock_for
from sidecar.restart_state import Board
from sidecar.server.listeners import Listening
from sidecar.server.worker import gunicorn_settings
from sidecar.settings import Settings

BEATING: Final = ("/dev/shm", "/run", "/tmp")  # noqa: S108 - where the worker's heartbeat file may lie


class Master(Arbiter):  # type: ignore[misc]
    """gunicorn's master, deaf to what would make it start a second worker, and to hurry that would leave usage."""

    def _ignored(self) -> None:
        """A signal that would start, reload or re-execute something."""

    handle_hup = handle_ttin = handle_ttou = handle_usr1 = handle_usr2 = handle_winch = _ignored
    handle_int = handle_quit = Arbiter.handle_term

    def init_signals(self) -> None:
        """From here on SIGTERM is heard; one that came since the first question went out is heard now."""
        super().init_signals()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})

    def spawn_worker(self) -> Any:
        """Until the worker listens for SIGTERM it inherits a handler that drops it; so it is held back."""
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        try:
            return super().spawn_worker()
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})


class Application(BaseApplication):  # type: ignore[misc]
    """The sidecar as gunicorn runs it."""

    http_counters: Any = None
    """Set by the worker before `load`."""

    def __init__(
        self, settings: Settings, listening: Sequence[Listening], board: Board, question: Question, first: Child
    ) -> None:
        self._settings, self._listening, self._board = settings, listening, board
        self._question, self._first = question, first
        self._master = os.getpid()
        self.listener_names = tuple(one.name for one in listening)
        super().__init__()

    def load_config(self) -> None:
        given = gunicorn_settings() | {
            "bind": [f"fd://{os.dup(one.sock.fileno())}" for one in self._listening],
            "logger_class": Quiet,
            "graceful_timeout": self._settings.flush_seconds,  # whatever hangs, the end comes in time
            "worker_tmp_dir": next((one for one in BEATING if os.access(one, os.W_OK)), None),
            "post_worker_init": _settle,
        }
        for name, value in given.items():
            self.cfg.set(name, value)

    def load(self) -> Site:
        """In the worker: begin asking and metering, and make the routes."""
        clock = clock_for(self._settings.clock_url)
        end = _ender(self._settings, self._board, self._master)
        self._gatekeeper = Gatekeeper(
            settings=self._settings,
            question=self._question,
            clock=clock,
            shared=self._board,
            end=end,
            first=self._first,
            at_first=_known(os.environ),
            placed=lambda report: self._metering.placed(report),
            before_opening=lambda: self._metering.wait_until_looked(),
            rechecked=lambda: self._metering.send_now(),
            changed=self._changed,
        )
        self._metering = metering(self._settings, clock, self._gatekeeper, end, self._changed)
        self._herald = herald(self._gatekeeper, self._metering, clock, self._board)
        picture = Picture(self._settings, self._gatekeeper, clock, self._metering, self._herald)
        picture.http_counters = self.http_counters
        self._metering.placed(self._gatekeeper.report)
        self._herald.start()
        self._metering.start()
        self._gatekeeper.start()
        return Site(picture)

    def stopping(self) -> None:
        """SIGTERM has come: nothing is left to be asked, and the last usage is to be sent."""
        self._gatekeeper.stop()
        self._metering.stop()
        self._herald.stop()

    def stopped(self) -> bool:
        """Whether the worker may close its listeners: no push is taken any more."""
        return self._metering.stopped() and self._herald.stopped()

    def _changed(self) -> None:
        self._herald.changed()

    def run(self) -> None:
        Master(self).run()


def _known(env: Mapping[str, str]) -> Report:
    """Who and where we are as far as the environment says it, until a child has found out."""
    region = env.get("AWS_REGION") or env.get("AWS_DEFAULT_REGION") or ""
    return Report(answer=Answer.RETRY.value, reason="asking", hint="", workload=env.get("POD_UID", ""), region=region)


def _settle(worker: Any) -> None:
    """The worker is up: what exists now stays, so the collector need not look at it again."""
    gc.enable()
    gc.freeze()


def _ender(settings: Settings, board: Board, master: int) -> Callable[[Exit, str], None]:
    """How the worker ends the whole process: a code on the board, a note, and SIGTERM to the master."""
    once = threading.Lock()

    def end(code: Exit, text: str) -> None:
        if not once.acquire(blocking=False):
            return
        board.write(exit=int(code))
        termination.note(settings.termination_log, text)
        log.error("sidecar.ending", exit_code=int(code), hint=text)
        os.kill(master, signal.SIGTERM)

    return end


class Quiet:
    """gunicorn's log, told in ours: its warnings and errors are events, the rest is for debugging."""

    def __init__(self, cfg: Any) -> None:
        self.cfg = cfg

    def setup(self, cfg: Any) -> None:
        self.cfg = cfg

    def debug(self, message: str, *args: Any, **_: Any) -> None:
        log.LOGGER.debug("gunicorn.said", extra={"text": _text(message, args)})

    info = debug

    def warning(self, message: str, *args: Any, **fields: Any) -> None:
        log.warn("gunicorn.warned", text=_text(message, args), **fields.get("extra", {}))

    def error(self, message: str, *args: Any, **fields: Any) -> None:
        text = _text(message, args)
        if not _expected(text):
            log.error("gunicorn.failed", text=text, **fields.get("extra", {}))

    def exception(self, message: str, *args: Any, **_: Any) -> None:
        kind, _value, trace = sys.exc_info()
        while trace and trace.tb_next:
            trace = trace.tb_next
        where = f"{os.path.basename(trace.tb_frame.f_code.co_filename)}:{trace.tb_lineno}" if trace else "?"
        log.error("gunicorn.failed", text=_text(message, args), error=kind.__name__ if kind else None, where=where)

    critical = error

    def access(self, *_: Any) -> None:
        """Probes come every few seconds in every pod; they are counted, not logged."""

    def reopen_files(self) -> None:
        """Stdout is not reopened."""

    def close_on_exec(self) -> None:
        """Nothing of ours is inherited."""


def _text(message: str, args: tuple[Any, ...]) -> str:
    try:
        return message % args if args else message
    except (TypeError, ValueError):
        return message


def _expected(text: str) -> bool:
    """gunicorn calls its own orderly end an error when the exit code is not 0."""
    return text.startswith(("Shutting down", "Reason:"))
