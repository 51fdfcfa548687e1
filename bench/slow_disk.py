"""Makes every fsync of one server slower, as on network block storage: a preloaded library, compiled on the fly.

Where there is no C compiler, or the library has no effect, there is a reason instead of an environment.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

DELAY_MS: Final = 5
SOURCE: Final = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <time.h>

static int late(const char *name, int fd)
{
    struct timespec delay = {0, DELAY_NS};
    nanosleep(&delay, 0);
    return ((int (*)(int))dlsym(RTLD_NEXT, name))(fd);
}

int fsync(int fd) { return late("fsync", fd); }
int fdatasync(int fd) { return late("fdatasync", fd); }
"""
TRIAL: Final = """
import os, sqlite3, sys, time
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA journal_mode=WAL")
connection.execute("PRAGMA synchronous=FULL")
connection.execute("CREATE TABLE t (n)")
began = time.monotonic()
for n in range(20):
    connection.execute("INSERT INTO t VALUES (?)", (n,))
print((time.monotonic() - began) / 20 * 1000)
"""


@contextmanager
def slowed() -> Iterator[tuple[dict[str, str], str]]:
    """Environment that makes SQLite's commits wait, and why there is none."""
    compiler = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
    if compiler is None:
        yield {}, "no C compiler here"
        return
    with tempfile.TemporaryDirectory(prefix="entitlement-bench-") as directory:
        source, library = Path(directory) / "late.c", Path(directory) / "late.so"
        source.write_text(SOURCE.replace("DELAY_NS", str(DELAY_MS * 1_000_000)))
        argv = [compiler, "-O2", "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        if done.returncode:
            yield {}, f"no preload library: {done.stderr.strip().splitlines()[-1:]}"
            return
        environment = {"LD_PRELOAD": str(library)}
        took = _commit_ms(environment, Path(directory) / "trial.db")
        yield environment, "" if took >= DELAY_MS else f"the preload has no effect: {took:.2f} ms a commit"


def _commit_ms(environment: dict[str, str], file: Path) -> float:
    done = subprocess.run(
        [sys.executable, "-c", TRIAL, str(file)],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return float(done.stdout)
