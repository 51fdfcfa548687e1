"""Judge the options of a database's URL: those after its question mark.

Invariants:
- Of an option only its name is shown: a value may be a password.
- PostgreSQL's options are those that the installed libpq knows; what is only a parameter of the driver is none.

Sources: PostgreSQL 15, "Parameter Key Words" (libpq).
"""

from __future__ import annotations

import re
from typing import Final

from sqlalchemy.engine import URL

from sidecar.strict_json import shown

SEVERAL: Final = frozenset(("host", "port"))
"""Given once for each of several hosts."""
WRONG_VALUE: Final = re.compile(
    r'invalid \w+ value: |invalid (integer )?value "[^"]*" for connection option|invalid connection option'
    r"|bad value for \w+|invalid port number"
    r'|unrecognized configuration parameter "|invalid value for parameter "'
)
"""How libpq, psycopg and, of `options`, the server refuse a value. A failed connection has no SQLSTATE."""


def wrong_option(url: URL) -> str:
    """Return what is wrong with an option; empty: nothing."""
    if url.get_backend_name() == "sqlite":
        return f"{_name(next(iter(url.query)))} is not an option: a URL of SQLite has none." if url.query else ""
    known = _known()
    for name, value in url.query.items():
        if name not in known:
            return f"{_name(name)} is not an option of PostgreSQL's connections. Correct it, or leave it out."
        if not isinstance(value, str) and name not in SEVERAL:
            return f"{_name(name)} is given twice. Give it once."
    return ""


def _name(name: str) -> str:
    return f"option {shown(name)}"


def _known() -> frozenset[str]:
    from psycopg import pq

    return frozenset(one.keyword.decode() for one in pq.Conninfo.get_defaults())
