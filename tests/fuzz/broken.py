"""Make a module's copy with one mistake in it, to show that a target finds the mistake.

Invariants:
- The module itself stays as it is; the copy replaces it in a target only.
- A mistake replaces text that is in the source once, so that a changed source fails the test and not its purpose.
"""

from __future__ import annotations

import inspect
from types import ModuleType
from typing import Any


def with_mistake(module: ModuleType, right: str, wrong: str) -> Any:
    """Return a copy of the module in which `wrong` stands for `right`."""
    source = inspect.getsource(module)
    if source.count(right) != 1:
        raise ValueError(f"{module.__name__} has {right!r} {source.count(right)} times")
    made = ModuleType(module.__name__)
    exec(compile(source.replace(right, wrong), str(module.__file__), "exec"), made.__dict__)
    return made
