"""The walls between the rooms: who may import whom, read from the source with `ast`."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "sidecar"

LEVELS = {
    "__main__": 4,
    "agent": 3,
    "api": 2,
    "ledger": 2,
    "marketplace": 2,
    "platform": 2,
    "entitlement": 1,
    "metering": 1,
    "settings": 0,
    "clock": 0,
    "errors": 0,
}
"""Imports go to a lower number; the emulator stands outside."""

SIDEWAYS = {("settings", "errors")}
"""On the ground floor, a bad setting is an error of the one tree."""

ROOMS_OF = {
    "jwt": {"entitlement", "emulator"},
    "cryptography": {"entitlement", "emulator"},
    "botocore": {"marketplace"},
    "boto3": set(),
    "sqlite3": {"ledger"},
    "kubernetes": {"platform"},
    "flask": {"api", "emulator"},
    "werkzeug": {"api", "emulator"},
    "gunicorn": {"agent"},
    "yaml": {"settings", "emulator"},
}
"""Third-party package (and sqlite3) → the rooms that may know it."""

CORE = ("entitlement", "metering")
NOT_IN_CORE = frozenset(
    [
        "asyncio",
        "ctypes",
        "fcntl",
        "ftplib",
        "glob",
        "http",
        "io",
        "logging",
        "mmap",
        "multiprocessing",
        "os",
        "pathlib",
        "random",
        "resource",
        "select",
        "selectors",
        "shutil",
        "signal",
        "smtplib",
        "socket",
        "socketserver",
        "sqlite3",
        "ssl",
        "subprocess",
        "sys",
        "syslog",
        "tempfile",
        "threading",
        "time",
        "urllib",
    ]
)
CALLS_NOT_IN_CORE = frozenset({"open", "print", "input", "now", "utcnow", "today"})


def imports(tree: ast.AST) -> Iterator[str]:
    """Every module named in an import, those inside functions included, those for types alone not."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            for other in node.orelse:
                yield from imports(ast.Module(body=[other], type_ignores=[]))
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                yield "." * node.level + (node.module or "")
            elif node.module == "sidecar":
                yield from (f"sidecar.{alias.name}" for alias in node.names)
            else:
                yield str(node.module)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("__import__", "import_module"):
            named = node.args[0] if node.args else None
            if isinstance(named, ast.Constant):
                yield str(named.value)
        yield from imports(node)


def faults(room: str, source: str) -> list[str]:
    """What a module of `room` does that it may not."""
    tree = ast.parse(source)
    found = [fault for name in imports(tree) if (fault := _import_fault(room, name))]
    if room in CORE:
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func).rpartition(".")[2]
                if called in CALLS_NOT_IN_CORE:
                    found.append(f"{room} calls {called}()")
    return found


def _import_fault(room: str, name: str) -> str | None:
    top, _, rest = name.partition(".")
    if not top:
        return f"{room} imports {name!r} relatively: a wall cannot be seen there"
    if top == "sidecar":
        return _room_fault(room, rest.partition(".")[0])
    if top in ROOMS_OF and room not in ROOMS_OF[top]:
        return f"{room} imports {top}, which belongs to {sorted(ROOMS_OF[top]) or 'nobody'}"
    if room in CORE and (top in NOT_IN_CORE):
        return f"{room} is core and imports {top}"
    return None


def _room_fault(room: str, other: str) -> str | None:
    if other in ("", "__version__") or other == room:
        return None
    if room == "emulator":
        return None if other == "clock" else f"emulator imports our {other}"
    if other == "emulator":
        return None if room == "__main__" else f"{room} imports the emulator"
    if other not in LEVELS:
        return f"{room} imports {other}, a room nobody knows"
    if room in CORE and other == "clock":
        return f"{room} is core and imports clock"
    if LEVELS[other] < LEVELS[room] or (room, other) in SIDEWAYS:
        return None
    return f"{room} imports {other}, which does not lie below it"


def room_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


MODULES = sorted(path for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py")


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_imports_downwards_and_only_what_its_room_may(path: Path) -> None:
    assert faults(room_of(path), path.read_text()) == []


def test_every_room_has_its_place() -> None:
    assert {room_of(path) for path in MODULES} <= {*LEVELS, "emulator"}
    assert len(MODULES) > 50, "the rooms were not found"


def test_the_package_itself_imports_nothing() -> None:
    assert list(imports(ast.parse((ROOT / "__init__.py").read_text()))) == []


ALLOWED = [
    ("__main__", "from sidecar.agent import serve"),
    ("__main__", "from sidecar.emulator import command"),
    ("agent", "from sidecar.api.site import Site\nimport gunicorn"),
    ("agent", "import sidecar\nfrom sidecar import __version__"),
    ("api", "from sidecar.entitlement.status import Status\nimport flask, werkzeug.exceptions"),
    ("api", "from sidecar.clock import iso"),
    ("entitlement", "import jwt, json, hashlib\nfrom datetime import datetime\nfrom sidecar.settings import PublicKey"),
    ("entitlement", "if TYPE_CHECKING:\n    import logging\n    from sidecar.agent import serve"),
    ("marketplace", "import botocore.session"),
    ("settings", "from sidecar.errors import Problem\ndef f():\n    import yaml"),
    ("emulator", "from sidecar.clock import Clock\nimport flask, jwt, yaml"),
]

FORBIDDEN = [
    ("agent", "import sidecar.__main__", "does not lie below"),
    ("agent", "from sidecar.emulator import Emulator", "imports the emulator"),
    ("agent", "def f():\n    from sidecar.emulator import Emulator", "imports the emulator"),
    ("agent", "import boto3", "belongs to nobody"),
    ("agent", "import flask", "belongs to"),
    ("api", "from sidecar.platform import ecs", "does not lie below"),
    ("api", "from sidecar import agent", "does not lie below"),
    ("platform", "import sidecar.marketplace.client", "does not lie below"),
    ("ledger", "from sidecar.api import view", "does not lie below"),
    ("marketplace", "import boto3.session", "belongs to nobody"),
    ("platform", "from botocore.session import Session", "belongs to"),
    ("api", "import gunicorn.util", "belongs to"),
    ("agent", "if True:\n    class A:\n        def f(self):\n            import jwt", "belongs to"),
    ("agent", "import_module('cryptography.x509')", "belongs to"),
    ("agent", "__import__('sqlite3')", "belongs to"),
    ("marketplace", "import yaml", "belongs to"),
    ("agent", "import kubernetes", "belongs to"),
    ("entitlement", "from sidecar.clock import iso", "core and imports clock"),
    ("entitlement", "from sidecar.ledger import answer", "does not lie below"),
    ("entitlement", "import logging", "core and imports logging"),
    ("entitlement", "def f():\n    import os", "core and imports os"),
    ("entitlement", "import socket, time", "core and imports socket"),
    ("entitlement", "from pathlib import Path", "core and imports pathlib"),
    ("entitlement", "from datetime import datetime\nx = datetime.now()", "calls now()"),
    ("entitlement", "open('x')", "calls open()"),
    ("entitlement", "if TYPE_CHECKING:\n    import os\nelse:\n    import os", "core and imports os"),
    ("settings", "from sidecar.entitlement import answers", "does not lie below"),
    ("errors", "from sidecar.settings import values", "does not lie below"),
    ("clock", "from sidecar.errors import Exit", "does not lie below"),
    ("emulator", "from sidecar.entitlement import token", "imports our entitlement"),
    ("emulator", "from sidecar import errors", "imports our errors"),
    ("emulator", "import boto3", "belongs to nobody"),
    ("agent", "from sidecar.billing import x", "a room nobody knows"),
    ("agent", "from . import log", "relatively"),
]


@pytest.mark.parametrize(("room", "source"), ALLOWED)
def test_the_checker_lets_what_is_allowed_pass(room: str, source: str) -> None:
    assert faults(room, source) == []


@pytest.mark.parametrize(("room", "source", "fault"), FORBIDDEN)
def test_the_checker_sees_what_is_forbidden(room: str, source: str, fault: str) -> None:
    assert fault in " ".join(faults(room, source))
