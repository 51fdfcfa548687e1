"""Read a YAML file in a forked child, so that the resident process has no YAML parser.

Invariants:
- Only while this process has one thread: it forks.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

from sidecar.child.main import end_with_reader
from sidecar.errors import Problem, SettingsError
from sidecar.quick_dataclasses import asdict
from sidecar.settings import yaml_file


def read_document(path: Path) -> Mapping[str, object]:
    """Return what `settings.yaml_file.read` returns. Raises SettingsError as that does."""
    reads, writes = os.pipe()
    try:
        pid = os.fork()
    except OSError:
        os.close(reads)
        os.close(writes)
        raise
    if pid == 0:
        try:
            os.close(reads)
            end_with_reader(writes)  # a file that is a pipe may never be read to its end
            with os.fdopen(writes, "wb") as pipe:
                pipe.write(json.dumps(_document_or_problems(path)).encode())
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
