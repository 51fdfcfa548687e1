"""The child knows its jobs by name, and fails in words that quote nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from importlib import import_module

import pytest

from sidecar.billing.messages import JOB as SUBMIT
from sidecar.child.main import JOBS, with_room
from sidecar.child.process import fork
from sidecar.gate.license_messages import JOB as LICENSE
from sidecar.gate.messages import JOB as CHECK
from sidecar.gate.proof_messages import JOB as PROOF
from sidecar.pod_status.messages import JOB as REPORT
from sidecar.sources.kubernetes import JOB as COUNT


class Request:
    """A request of this text."""

    def __init__(self, text: str) -> None:
        self.text = text

    def as_json(self) -> str:
        return self.text


@pytest.mark.parametrize("job", sorted(JOBS))
def test_each_job_is_a_module_with_run(job: str) -> None:
    assert callable(import_module(JOBS[job]).run)


def test_each_request_names_a_job_and_each_job_is_named() -> None:
    assert {CHECK, PROOF, SUBMIT, REPORT, LICENSE, COUNT} == set(JOBS)


@pytest.mark.parametrize(
    ("text", "crash"),
    [
        ("", "JSONDecodeError"),
        ("[]", "TypeError"),
        ('{"job": "os"}', "KeyError"),
        ('{"product_code": "s3cr3t"}', "KeyError"),
        ('{"job": "submit", "requests": 7, "token": "s3cr3t"}', "TypeError"),
    ],
)
def test_a_request_that_is_none_crashes_with_class_and_location_alone(text: str, crash: str) -> None:
    child = fork("check").ask(Request(text))
    line = child.read_line(time.monotonic() + 30)
    child.close()
    with pytest.raises(ChildProcessError):
        os.waitpid(child.pid, 0)
    assert line is not None
    said = json.loads(line)["crashed"]
    assert said.startswith(f"{crash} at ")
    assert "s3cr3t" not in said


def test_a_running_child_is_killed_once_and_its_pid_never_again() -> None:
    pid = os.fork()
    if pid == 0:
        signal.pause()
        os._exit(0)
    from sidecar.child.process import ChildProcess

    child = ChildProcess(pid=pid, pipe=os.open(os.devnull, os.O_RDONLY), spawned=True)
    child.kill_if_running()
    assert os.waitpid(pid, 0)[1] == signal.SIGKILL
    child.kill_if_running()
    child.close()


PAGES = """
import os
from sidecar.child.main import with_room

def pages():
    handle = os.open("/proc/self/statm", os.O_RDONLY)
    try:
        return int(os.read(handle, 99).split()[0])
    finally:
        os.close(handle)

def deep(left):
    return deep(left - 1) if left else pages()

def measure():
    deep(1)
    print(deep(800) - pages())

measure()
with_room(measure)
"""


def test_calls_that_nest_map_no_memory_where_there_is_room() -> None:
    done = subprocess.run([sys.executable, "-c", PAGES], capture_output=True, text=True, check=True, timeout=60)
    without, within = map(int, done.stdout.split())
    assert without > 0
    assert within == 0


def test_what_work_raises_passes_through_its_room() -> None:
    def fail() -> None:
        raise LookupError("of the job")

    with pytest.raises(LookupError, match="of the job"):
        with_room(fail)
