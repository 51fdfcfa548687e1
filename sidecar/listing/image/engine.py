"""Find an image on this machine: a path, or a name that an engine saves to a temporary archive.

Invariants:
- Nothing is pulled: each command reads what is on this machine.
- The archive is gone when the check has ended.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from sidecar.listing.image.store import Store, Unreadable, opened
from sidecar.printable import one_line

SAVE_SECONDS: Final = 900
SHOWN_MAX: Final = 300
PATHS: Final = (".", "/")
"""What a path begins with, and no name of an image."""

Command = Callable[[str, str], Sequence[str]]
"""Image and file → what saves one to the other."""
COMMANDS: Final[Sequence[tuple[str, Command]]] = (
    (
        "podman",
        lambda image, file: ("podman", "save", "-q", "--uncompressed", "--format", "oci-archive", "-o", file, image),
    ),
    ("docker", lambda image, file: ("docker", "save", "-o", file, image)),
    ("skopeo", lambda image, file: ("skopeo", "copy", "-q", f"containers-storage:{image}", f"oci-archive:{file}")),
    ("skopeo", lambda image, file: ("skopeo", "copy", "-q", f"docker-daemon:{image}", f"oci-archive:{file}")),
)
"""In this order, until one succeeds."""


@contextmanager
def found(name: str) -> Iterator[Store]:
    """Give the store of a path, or of what an engine of this machine has under this name. Raises Unreadable."""
    if is_stored(name):
        yield opened(name)
    else:
        with saved(name) as archive:
            yield opened(str(archive))


def is_stored(name: str) -> bool:
    """Return whether a name is a path. A directory `shop` beside an image `shop` is one only where it has an image."""
    if os.path.isdir(name) and not (name.startswith(PATHS) or name.endswith("/")):
        return os.path.exists(os.path.join(name, "index.json"))
    return os.path.lexists(name)


@contextmanager
def saved(image: str) -> Iterator[Path]:
    """Give an archive of the image. Raises Unreadable, which says what each engine answered."""
    if image.startswith("-") or not image.strip():
        raise Unreadable(f"{image!r} is neither a file nor the name of an image.")
    if image.endswith((".tar", "/")) or image.startswith(PATHS):
        raise Unreadable("there is no such file.")
    with tempfile.TemporaryDirectory(prefix="listing-check-") as directory:
        path = Path(directory) / "image.tar"
        _save(image, path)
        yield path


def _save(image: str, path: Path) -> None:
    answers = []
    for engine, command in COMMANDS:
        if shutil.which(engine) is None:
            continue
        path.unlink(missing_ok=True)
        answer = _run(command(image, str(path)))
        if answer is None and path.is_file():
            return
        answers.append(f"{engine}: {answer}")
    if not answers:
        raise Unreadable(
            "it is no file, and neither podman, docker nor skopeo is on PATH to save an image of this name. Give an"
            " archive: `docker save -o image.tar NAME` where it was built."
        )
    raise Unreadable(f"it is no file, and no engine has saved it ({'; '.join(answers)}).")


def _run(command: Sequence[str]) -> str | None:
    """Run a command. Returns None where it succeeds, else its last words."""
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=SAVE_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return f"no end within {SAVE_SECONDS} s"
    except OSError as exc:
        return str(exc.strerror)
    if done.returncode == 0:
        return None
    return one_line(done.stderr.decode("utf-8", "replace"))[-SHOWN_MAX:] or f"exit code {done.returncode}"
