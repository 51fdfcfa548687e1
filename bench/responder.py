"""A process that answers every request at once and does nothing else: what a probe takes on a busy machine at least."""

from __future__ import annotations

import os
import selectors
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import kernel
from lib import LIBC, PR_SET_PDEATHSIG

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n"
REQUEST_BYTES_MAX = 4096
"""A probe's request comes whole."""


@contextmanager
def responder() -> Iterator[int]:
    """Start one, in a control group of its own as each side has it; its port."""
    group = kernel.Group(f"entitlement-bench-{os.getpid()}-responder")

    def before_exec() -> None:
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        group.join()

    argv = [sys.executable, __file__]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, preexec_fn=before_exec) as process:
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline())
        finally:
            process.terminate()
            process.wait()
            group.remove()


def serve(listening: socket.socket) -> None:
    """Answer until the process is ended."""
    with selectors.DefaultSelector() as waiting:
        waiting.register(listening, selectors.EVENT_READ)
        while True:
            for key, _ in waiting.select():
                if key.fileobj is listening:
                    waiting.register(listening.accept()[0], selectors.EVENT_READ)
                    continue
                connection = key.fileobj
                assert isinstance(connection, socket.socket)
                if connection.recv(REQUEST_BYTES_MAX):
                    connection.sendall(ANSWER)
                else:
                    waiting.unregister(connection)
                    connection.close()


if __name__ == "__main__":
    with socket.create_server(("127.0.0.1", 0)) as opened:
        print(opened.getsockname()[1], flush=True)
        serve(opened)
