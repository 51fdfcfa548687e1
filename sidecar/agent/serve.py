"""How does the sidecar run? One gunicorn master, one worker, a child for every question.

Rules kept here:
- Settings are read and ports bound before anything starts; the first question goes out at once after.
- One worker, ever: a second would register the workload a second time. Signals that gunicorn takes for
  more workers, reloads or upgrades are ignored.
- What ends the process writes its exit code to the board; the master exits with it.
- No variable of gunicorn's own (GUNICORN_*, LISTEN_FDS, WEB_CONCURRENCY) changes anything.

Source: gunicorn's settings reference and its arbiter.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from sidecar.agent import child, listeners, log, termination
from sidecar.agent.board import Board
from sidecar.agent.child import Child
from sidecar.agent.exchange import Question
from sidecar.agent.listeners import Listening
from sidecar.clock import SystemClock
from sidecar.errors import Exit, SettingsError
from sidecar.settings import Settings
from sidecar.settings.table import BY_NAME

FOREIGN: Final = ("GUNICORN_PID", "GUNICORN_FD", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "SCRIPT_NAME")
STOP_MARGIN_SECONDS: Final = 5
"""Beyond the budget, before the master kills its worker."""
BEATING: Final = ("/dev/shm", "/run", "/tmp")  # noqa: S108 - where the worker's heartbeat file may lie
IGNORED_SIGNALS: Final = ("hup", "ttin", "ttou", "usr1", "usr2", "winch")


def run(env: Mapping[str, str], flags: Mapping[str, str], manifest: Path) -> int:
    """Serve until told to stop, or until there is a reason to end. Returns the exit code.

    Raises SettingsError, its note written, before anything is started.
    """
    try:
        settings = Settings.load(env, flags, manifest, child.read_document)
        log.start(settings.log_level.value)
        listening = listeners.listen(settings)
    except SettingsError as exc:
        termination.note(_note_path(env, flags), str(exc))
        raise
    board = Board()
    question = Question.of(settings, spare_workload_id=os.urandom(16).hex())
    first = child.fork(question, close=[one.sock.fileno() for one in listening])
    _announce(settings, listening)
    for name in FOREIGN:
        os.environ.pop(name, None)
    return _serve(settings, listening, board, question, first)


def _note_path(env: Mapping[str, str], flags: Mapping[str, str]) -> Path:
    """Where the note goes while the settings that say so cannot be trusted."""
    setting = BY_NAME["termination_log"]
    return Path(flags.get(setting.name) or env.get(setting.variable) or str(setting.default))


def _announce(settings: Settings, listening: Sequence[Listening]) -> None:
    import sidecar

    log.event(
        "sidecar.started",
        version=sidecar.__version__,
        product_code=settings.product_code,
        entitlement_check=settings.entitlement_check.value,
        manifest=str(settings.manifest) if settings.manifest else None,
        endpoint_url=settings.endpoint_url,
        listening={name: [str(one.address) for one in listening if one.name == name] for name in ("probe", "api")},
    )
    if settings.ignored:
        log.warn("endpoint.ignored", variables=list(settings.ignored), hint="Use SIDECAR_ENDPOINT_URL for tests.")


def _serve(settings: Settings, listening: Sequence[Listening], board: Board, question: Question, first: Child) -> int:
    from sidecar.agent.worker import check_gunicorn

    fault = check_gunicorn()
    if fault:
        first.close()
        hint = f"{fault}. Install the gunicorn that pyproject.toml names; another would reopen holes in the probes."
        log.error("gunicorn.refused", hint=hint)
        termination.note(settings.termination_log, hint)
        return Exit.SOFTWARE
    code: object = Exit.OK
    master = os.getpid()
    try:
        _application(settings, listening, board, question, first).run()
    except SystemExit as exc:
        if os.getpid() != master:
            raise  # the worker's own end; what follows is the master's
        code = exc.code
    ended = board.read().get("exit")
    if ended is None and code not in (None, 0):
        text = "The worker could not be started; the log says why."
        termination.note(settings.termination_log, text)
        ended = int(Exit.SOFTWARE)
    log.event("sidecar.stopped", exit_code=int(ended or 0))
    return int(ended or 0)


def _application(
    settings: Settings, listening: Sequence[Listening], board: Board, question: Question, first: Child
) -> Any:
    """The gunicorn application. gunicorn is imported here, after the first question has gone out."""
    from gunicorn.app.base import BaseApplication
    from gunicorn.arbiter import Arbiter

    from sidecar.agent.gatekeeper import Gatekeeper
    from sidecar.agent.picture import Picture
    from sidecar.agent.worker import gunicorn_settings
    from sidecar.api.site import Site

    master = type("Master", (Arbiter,), {f"handle_{name}": _ignored for name in IGNORED_SIGNALS})

    class Application(BaseApplication):  # type: ignore[misc]
        """What the master and its worker need of us."""

        listener_names = tuple(one.name for one in listening)
        http_counters: Any = None

        def load_config(self) -> None:
            given = gunicorn_settings() | {
                "bind": [f"fd://{os.dup(one.sock.fileno())}" for one in listening],
                "logger_class": Quiet,
                "graceful_timeout": settings.flush_seconds + STOP_MARGIN_SECONDS,
                "worker_tmp_dir": next((one for one in BEATING if os.access(one, os.W_OK)), None),
                "post_worker_init": _settle,
            }
            for name, value in given.items():
                self.cfg.set(name, value)

        def load(self) -> Any:
            """In the worker: begin asking, and make the routes."""
            clock = SystemClock()
            self._gatekeeper = Gatekeeper(
                settings=settings,
                question=question,
                clock=clock,
                shared=board,
                end=_ender(settings, board),
                first=first,
            )
            picture = Picture(settings, self._gatekeeper, clock)
            picture.http_counters = self.http_counters
            self._gatekeeper.start()
            return Site(picture)

        def stopping(self) -> None:
            """SIGTERM has come: nothing is left to be asked."""
            self._gatekeeper.stop()

        def stopped(self) -> bool:
            """Whether the worker may close its listeners."""
            return True

        def run(self) -> None:
            master(self).run()

    return Application()


def _ignored(self: Any) -> None:
    """A signal that would make gunicorn start, reload or re-execute something."""


def _settle(worker: Any) -> None:
    """The worker is up: what exists now stays, so the collector need not look at it again."""
    gc.enable()
    gc.freeze()


def _ender(settings: Settings, board: Board) -> Callable[[Exit, str], None]:
    """How the worker ends the whole process: a code on the board, a note, and SIGTERM to the master."""
    master = os.getppid()
    once = threading.Lock()

    def end(code: Exit, text: str) -> None:
        if not once.acquire(blocking=False):
            return
        board.write(exit=int(code))
        log.error("sidecar.ending", exit_code=int(code), hint=text)
        termination.note(settings.termination_log, text)
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
