"""Runs Google Cloud's usage-based-billing agent beside us, where its binary is given with `--peer`.

It answers a report once the aggregate is in the page cache: it knows no ids and calls no fsync, so its
numbers are those of a weaker promise.

Flags, configuration and report format: README and `metrics/report.go` of GoogleCloudPlatform/ubbagent.
"""

from __future__ import annotations

import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import load
from lib import BOOT_SECONDS_MAX, LIBC, PR_SET_PDEATHSIG, Setup, require_free

CONFIGURATION: Final = """
metrics:
- name: requests
  type: int
  endpoints:
  - name: on_disk
  aggregation:
    bufferSeconds: 3600
endpoints:
- name: on_disk
  disk:
    reportDir: {directory}/reports
    expireSeconds: 3600
"""


def report() -> str:
    """One report; start and end stay the same, so that none is before the one it follows."""
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    value = '"value":{"int64Value":1}'
    return f'{{"name":"requests","startTime":"{now}","endTime":"{now}",{value},"labels":{{"tenant":"{load.TAG}"}}}}'


@contextmanager
def running(binary: Path, setup: Setup) -> Iterator[int]:
    """The port of a fresh agent; it is killed afterwards."""
    port = setup.probe_port("ours")
    require_free(port)
    with tempfile.TemporaryDirectory(prefix="entitlement-bench-") as directory:
        configuration = Path(directory) / "config.yaml"
        configuration.write_text(CONFIGURATION.format(directory=directory))
        (Path(directory) / "state").mkdir()
        argv = [str(binary), "--config", str(configuration), "--state-dir", f"{directory}/state"]
        process = subprocess.Popen(
            [*argv, "--local-port", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            preexec_fn=lambda: LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL),
        )  # fmt: skip
        try:
            deadline = time.monotonic() + BOOT_SECONDS_MAX
            while time.monotonic() < deadline and process.poll() is None:
                with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                    break
                time.sleep(0.01)
            else:
                raise SystemExit(f"{binary} does not listen on port {port}")
            yield port
        finally:
            process.kill()
            process.wait()


def requests_per_second(setup: Setup, binary: Path, *, tag_sets: int, seconds: float) -> float:
    """Reports answered 2xx in a second, 16 connections."""
    with running(binary, setup) as port:
        push = load.Push(port=port, path="/report", event=report(), tag_sets=tag_sets, seconds=seconds)
        found = load.run(push, load.chosen(setup.loader))
    if found.failures:
        raise SystemExit(f"{binary}: {found.failures} reports failed: {found.detail}")
    return found.requests_per_second
