"""Read a settings file in a child."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from pathlib import Path

READS = """
import os, sys
from pathlib import Path
from sidecar.child.forked_read import read_document
os.write(1, b"reads")
read_document(Path(sys.argv[1]))
"""


def test_a_child_that_reads_without_end_ends_with_the_process_that_waits_for_it(tmp_path: Path) -> None:
    endless = tmp_path / "settings.yaml"
    os.mkfifo(endless)
    with subprocess.Popen([sys.executable, "-c", READS, str(endless)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        output = process.stdout.fileno()
        assert os.read(output, 5) == b"reads"
        writer = os.open(endless, os.O_WRONLY)  # waits until the child reads
        process.kill()
        ready, _, _ = select.select([output], [], [], 20)
        assert ready, "the child has not ended: it has the output open"
        assert os.read(output, 5) == b""
        os.close(writer)
