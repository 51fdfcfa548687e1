"""Make a call fail, or the process die in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import pytest


def raising(fault: Callable[..., BaseException], *details: object) -> Callable[..., NoReturn]:
    """A function that raises a fault of this class, whatever it is called with; a new one each time."""

    def fails(*_: object, **__: object) -> NoReturn:
        raise fault(*details)

    return fails


@contextmanager
def killed_in(patch: pytest.MonkeyPatch, module: object, name: str) -> Iterator[None]:
    """The block reaches this function, and gets no further: no handler of the product takes what it raises."""
    with patch.context() as broken:
        broken.setattr(module, name, raising(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            yield


def hold_logs(patch: pytest.MonkeyPatch, code: int) -> None:
    """From now on no log of SQLite can be renamed."""
    whole = Path.rename

    def rename(path: Path, name: Path) -> Path:
        if path.name.endswith("-wal"):
            raise OSError(code, "not renamed", str(path))
        return whole(path, name)

    patch.setattr(Path, "rename", rename)
