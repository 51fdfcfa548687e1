"""Read a task definition from the bytes of a file.

Invariants:
- The text may be UTF-8, UTF-16 or UTF-32, with a byte order mark or without, whatever the locale: Windows PowerShell
  redirects into UTF-16.

Sources: RFC 8259, section 8.1 (a parser may ignore a byte order mark); Python's `json.loads` of bytes.
"""

from __future__ import annotations

import json

from sidecar.errors import Problem
from sidecar.taskdef.render import CannotRender
from sidecar.taskdef.schema import Json


def parse(content: bytes, name: str) -> Json:
    """Return the object in a JSON text. `name` is for errors alone. Raises CannotRender."""
    try:
        found = json.loads(content)
        json.dumps(found, ensure_ascii=False).encode()  # half a surrogate pair could not be written
    except UnicodeDecodeError as exc:
        fault = f"is not text in UTF-8, UTF-16 or UTF-32 ({exc}). Save it as UTF-8."
        raise CannotRender([Problem(setting=name, fault=fault)]) from exc
    except ValueError as exc:
        raise CannotRender([Problem(setting=name, fault=f"is not JSON: {exc}.", example='{"family": …}')]) from exc
    except RecursionError as exc:
        raise too_deep(name) from exc
    if not isinstance(found, dict):
        raise CannotRender([Problem(setting=name, fault="is JSON, but not an object.", example='{"family": …}')])
    return found


def too_deep(name: str) -> CannotRender:
    """Return the error of a text that is nested too deep for its rules to be checked."""
    fault = "is nested deeper than any task definition. Give the definition alone."
    return CannotRender([Problem(setting=name, fault=fault, example='{"family": …}')])
