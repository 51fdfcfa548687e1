"""Run a private PostgreSQL server for tests: the one that is installed, in a directory of its own, by a Unix socket."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import pytest

USER = "seller"
ABSENT = "PostgreSQL is not installed: apt-get install postgresql"
REQUIRED = "TEST_POSTGRESQL"
"""Set where its absence is a failure."""
START_SECONDS = 30


def binaries() -> Path | None:
    """Return the directory of PostgreSQL's programs, the newest version's; None where it is not installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    on_path = shutil.which("initdb")
    return found[-1].parent if found else Path(on_path).resolve().parent if on_path else None


class Server:
    """One server; its data survive `kill`."""

    def __init__(self, bin_directory: Path, directory: Path, *options: str) -> None:
        self._bin, self._directory, self._options = bin_directory, directory, options
        self._as = pwd.getpwnam("nobody") if os.getuid() == 0 else None
        if self._as:  # PostgreSQL refuses root
            os.chown(directory, self._as.pw_uid, self._as.pw_gid)
        options = ("-U", USER, "--auth=trust", "--no-sync", "-E", "UTF8")
        self._run(bin_directory / "initdb", "-D", directory / "data", *options).check_returncode()
        self._process: subprocess.Popen[bytes] | None = None

    def url(self, **options: str) -> str:
        """Return the URL of its database; `options` of PostgreSQL for the session."""
        set_ = quote(" ".join(f"-c{name}={value}" for name, value in options.items()))
        return f"postgresql://{USER}@/postgres?host={self._directory}" + (f"&options={set_}" if options else "")

    def start(self) -> None:
        """Start it, and wait until it answers."""
        command = [self._bin / "postgres", "-D", self._directory / "data", "-k", self._directory]
        command += ["-c", "listen_addresses=", "-c", "max_connections=100", *self._options]
        log = (self._directory / "log").open("ab")
        self._process = subprocess.Popen(command, stdout=log, stderr=log, **self._user())
        until = time.monotonic() + START_SECONDS
        while self._run(self._bin / "pg_isready", "-q", "-h", self._directory, "-U", USER).returncode:
            if time.monotonic() > until or self._process.poll() is not None:
                raise RuntimeError((self._directory / "log").read_text())
            time.sleep(0.05)

    def kill(self) -> None:
        """End it at once (SIGQUIT, "immediate"): no client is waited for, nothing is flushed."""
        if self._process:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait()
            self._process = None

    def run_sql(self, *statements: str) -> str:
        """Run statements, each by itself; return what they print."""
        arguments = [word for one in statements for word in ("-c", one)]
        psql = self._run(self._bin / "psql", "-qAtX", "-h", self._directory, "-U", USER, "-d", "postgres", *arguments)
        psql.check_returncode()
        return psql.stdout.decode()

    def _user(self) -> dict[str, object]:
        return {"user": self._as.pw_uid, "group": self._as.pw_gid, "extra_groups": []} if self._as else {}

    def _run(self, *command: object) -> subprocess.CompletedProcess[bytes]:
        words = [str(word) for word in command]
        return subprocess.run(words, capture_output=True, cwd="/", **self._user())  # type: ignore[call-overload]


@contextmanager
def running(*options: str) -> Iterator[Server]:
    """Start a server for a while; skips where PostgreSQL is not installed."""
    found = binaries()
    if found is None:
        (pytest.fail if os.environ.get(REQUIRED) else pytest.skip)(ABSENT)
    directory = Path(tempfile.mkdtemp(prefix="pg"))
    try:
        server = Server(found, directory, *options)
        server.start()
        try:
            yield server
        finally:
            server.kill()
    finally:
        shutil.rmtree(directory)
