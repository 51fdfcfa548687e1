"""Check who imports whom: packages in order, third-party packages in their places, and no import cycle.

Run `python -m tests.test_layers` for the packages, their order and the number of cycles.

Invariants:
- Imports are read from the source with `ast`; those inside functions count, those for types alone do not.
- A job that `child.main` imports by name counts as no import: the child runs one job, and no job imports `child.main`.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "sidecar"
LINES_MAX = 350
"""Past that a module has a second noun in it."""
LEVELS = {
    "__main__": 8,
    "cli": 7,
    "app": 6,
    "doctor": 6,
    "gate": 5,
    "billing": 5,
    "pod_status": 5,
    "server": 5,
    "listing": 5,
    "injector": 5,
    "sources": 5,
    "saas": 5,
    "api": 4,
    "ledger": 4,
    "marketplace": 4,
    "platform": 4,
    "child": 4,
    "taskdef": 4,
    "audit": 4,
    "entitlement": 3,
    "metering": 3,
    "settings": 2,
    "remote_clock": 2,
    "errors": 1,
    "proof": 1,
    "attempts": 1,
    "clock": 1,
    "log": 1,
    "termination_log": 1,
    "restart_state": 1,
    "address_file": 1,
    "directory_lock": 1,
    "quick_dataclasses": 0,
    "quick_json": 0,
    "digests": 0,
    "strict_json": 1,
    "printable": 0,
    "secret_forms": 1,
    "local_http": 1,
    "backoff": 1,
}
"""Imports go to a lower number; packages of one number are strangers to one another; the emulator stands outside."""

PACKAGES_OF = {
    "jwt": {"entitlement", "emulator", "proof"},
    "cryptography": {"entitlement", "emulator", "proof", "doctor", "injector"},
    "botocore": {"marketplace"},
    "boto3": {"doctor"},
    "sqlite3": {"ledger", "audit", "saas"},
    "kubernetes": set(),  # it was pod_status's: 16 MiB for three requests
    "flask": {"api", "emulator", "saas"},
    "werkzeug": {"api", "emulator", "saas"},
    "jinja2": {"api"},
    "markupsafe": {"api"},
    "gunicorn": set(),  # it was server's: 9 MiB in each of two processes
    "h11": {"server"},
    "yaml": {"settings", "emulator", "listing"},
    "sqlalchemy": {"saas"},
    "alembic": {"saas"},
    "psycopg": {"saas"},
}
"""Third-party package (and sqlite3) → the packages that may import it."""

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
    """Yield every module or name in an import, those inside functions included, those for types alone not."""
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
            else:
                yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("__import__", "import_module"):
            named = node.args[0] if node.args else None
            if isinstance(named, ast.Constant):
                yield str(named.value)
        yield from imports(node)


def faults(package: str, source: str) -> list[str]:
    """Return what a module of `package` does that it may not."""
    tree = ast.parse(source)
    found = [fault for name in imports(tree) if (fault := _import_fault(package, name))]
    if package in CORE:
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func).rpartition(".")[2]
                if called in CALLS_NOT_IN_CORE:
                    found.append(f"{package} calls {called}()")
    return found


def _import_fault(package: str, name: str) -> str | None:
    top, _, rest = name.partition(".")
    if not top:
        return f"{package} imports {name!r} relatively: its order cannot be seen there"
    if top == "sidecar":
        return _order_fault(package, rest.partition(".")[0])
    if top in PACKAGES_OF and package not in PACKAGES_OF[top]:
        return f"{package} imports {top}, which belongs to {sorted(PACKAGES_OF[top])}"
    if package in CORE and (top in NOT_IN_CORE):
        return f"{package} is core and imports {top}"
    return None


def _order_fault(package: str, other: str) -> str | None:
    if other in ("", "__version__") or other == package:
        return None
    if package == "emulator":
        return None if other == "clock" else f"emulator imports our {other}"
    if other == "emulator":
        return None if package == "cli" else f"{package} imports the emulator"
    if other not in LEVELS:
        return f"{package} imports {other}, an unknown package"
    if package in CORE and other == "clock":
        return f"{package} is core and imports clock"
    if LEVELS[other] < LEVELS[package]:
        return None
    return f"{package} imports {other}, which is not below it"


def package_of(path: Path) -> str:
    """Return the package, or the module at the root, that a file belongs to."""
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def import_graph(sources: Mapping[str, str]) -> dict[str, set[str]]:
    """Return module → modules it imports. `sources`: dotted name → text; only imports among them count."""
    graph: dict[str, set[str]] = {}
    for module, text in sources.items():
        named = set(imports(ast.parse(text)))
        found = {name if name in sources else name.rpartition(".")[0] for name in named}
        graph[module] = {name for name in found if name in sources and name != module}
    return graph


def cycles(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """Return every import cycle that a depth-first search closes, each as the modules along it."""
    found: list[list[str]] = []
    done: set[str] = set()

    def visit(module: str, path: list[str]) -> None:
        if module in path:
            found.append([*path[path.index(module) :], module])
            return
        if module in done:
            return
        for other in sorted(graph[module]):
            visit(other, [*path, module])
        done.add(module)

    for module in sorted(graph):
        visit(module, [])
    return found


def depth(graph: Mapping[str, set[str]], module: str) -> int:
    """Return the number of modules on the longest import chain that begins at `module`. The graph has no cycle."""
    return 1 + max((depth(graph, other) for other in graph[module]), default=0)


MODULES = sorted(ROOT.rglob("*.py"))
SOURCES = {
    ".".join(path.relative_to(ROOT.parent).with_suffix("").parts).removesuffix(".__init__"): path.read_text()
    for path in MODULES
}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_imports_downwards_and_only_what_its_package_may(path: Path) -> None:
    if path != ROOT / "__init__.py":
        assert faults(package_of(path), path.read_text()) == []


def test_every_package_has_a_number() -> None:
    assert {package_of(path) for path in MODULES} == {*LEVELS, "emulator", "__init__"}


def test_no_module_imports_itself_through_others() -> None:
    assert cycles(import_graph(SOURCES)) == []
    assert len(SOURCES) > 100, "the modules were not found"


def test_a_cycle_is_found_lazy_imports_included() -> None:
    sources = {
        "sidecar.a": "from sidecar import b",
        "sidecar.b": "def f():\n    from sidecar.c import g",
        "sidecar.c": "from sidecar.a import h\nimport sidecar.d",
        "sidecar.d": "if TYPE_CHECKING:\n    from sidecar.a import h",
    }
    assert cycles(import_graph(sources)) == [["sidecar.a", "sidecar.b", "sidecar.c", "sidecar.a"]]
    assert cycles(import_graph({**sources, "sidecar.c": "import sidecar.d"})) == []


def test_a_cycle_through_a_package_is_found() -> None:
    sources = {"sidecar.p": "from sidecar.p.a import f", "sidecar.p.a": "from sidecar.p import g"}
    assert cycles(import_graph(sources)) == [["sidecar.p", "sidecar.p.a", "sidecar.p"]]


def test_the_package_itself_imports_nothing() -> None:
    assert list(imports(ast.parse((ROOT / "__init__.py").read_text()))) == []


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_is_short_enough_for_one_noun(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= LINES_MAX


UNIT = Path(__file__).parent / "unit"
UNIT_TESTS = sorted(path for path in UNIT.glob("**/test_*.py") if path.parent.name not in ("bench", "image"))


@pytest.mark.parametrize("path", UNIT_TESTS, ids=lambda path: str(path.relative_to(UNIT)))
def test_a_unit_test_is_named_after_a_module(path: Path) -> None:
    """`test_loop.py` and `test_loop_restart.py` both belong to `loop.py`."""
    package = ROOT / path.parent.relative_to(UNIT)
    assert has_module(path.stem, {module.stem.strip("_") for module in package.glob("*.py")})


def has_module(test: str, modules: set[str]) -> bool:
    """Return whether a test file is named after one of `modules`, perhaps with an aspect behind it."""
    name = test.removeprefix("test_")
    return any(name == module or name.startswith(f"{module}_") for module in modules if module)


def test_a_unit_test_of_no_module_is_noticed() -> None:
    assert has_module("test_loop_restart", {"loop"})
    assert not has_module("test_loops", {"loop"})
    assert not has_module("test_restart_loop", {"loop", ""})


ALLOWED = [
    ("__main__", "from sidecar.cli import parser"),
    ("cli", "from sidecar.emulator import cli\nfrom sidecar.doctor import diagnosis"),
    ("doctor", "import boto3\nfrom sidecar.gate.hint_facts import hint_facts"),
    ("app", "from sidecar.api.router import Router\nfrom sidecar.billing.loop import BillingLoop"),
    ("server", "import h11"),
    ("app", "import sidecar\nfrom sidecar import __version__"),
    ("api", "from sidecar.entitlement.status import Status\nimport flask, werkzeug.exceptions"),
    ("api", "from sidecar.clock import iso"),
    ("entitlement", "import jwt, json, hashlib\nfrom datetime import datetime\nfrom sidecar.settings import PublicKey"),
    ("entitlement", "if TYPE_CHECKING:\n    import logging\n    from sidecar.app import run"),
    ("marketplace", "import botocore.session"),
    ("settings", "from sidecar.errors import Problem\ndef f():\n    import yaml"),
    ("emulator", "from sidecar.clock import Clock\nimport flask, jwt, yaml"),
]

FORBIDDEN = [
    ("app", "import sidecar.__main__", "not below"),
    ("app", "from sidecar import cli", "not below"),
    ("app", "from sidecar.emulator import Emulator", "imports the emulator"),
    ("cli", "import kubernetes", "belongs to"),
    ("cli", "import boto3", "belongs to"),
    ("doctor", "from sidecar.app import run", "not below"),
    ("app", "from sidecar.doctor import context", "not below"),
    ("__main__", "def f():\n    from sidecar.emulator import Emulator", "imports the emulator"),
    ("app", "import boto3", "belongs to ['doctor']"),
    ("app", "import h11", "belongs to"),
    ("gate", "from sidecar.billing import loop", "not below"),
    ("server", "from sidecar.gate import loop", "not below"),
    ("child", "from sidecar.gate import job", "not below"),
    ("api", "from sidecar.platform import ecs", "not below"),
    ("api", "from sidecar import app", "not below"),
    ("platform", "import sidecar.marketplace.client", "not below"),
    ("ledger", "from sidecar.api import ports", "not below"),
    ("marketplace", "import boto3.session", "belongs to"),
    ("platform", "from botocore.session import Session", "belongs to"),
    ("api", "import h11", "belongs to"),
    ("gate", "if True:\n    class A:\n        def f(self):\n            import jwt", "belongs to"),
    ("gate", "import_module('cryptography.x509')", "belongs to"),
    ("billing", "__import__('sqlite3')", "belongs to"),
    ("marketplace", "import yaml", "belongs to"),
    ("app", "import kubernetes", "belongs to"),
    ("entitlement", "from sidecar.clock import iso", "core and imports clock"),
    ("entitlement", "from sidecar.ledger import kept_file", "not below"),
    ("entitlement", "from sidecar.metering import hours", "not below"),
    ("entitlement", "import logging", "core and imports logging"),
    ("entitlement", "def f():\n    import os", "core and imports os"),
    ("entitlement", "import socket, time", "core and imports socket"),
    ("entitlement", "from pathlib import Path", "core and imports pathlib"),
    ("entitlement", "from datetime import datetime\nx = datetime.now()", "calls now()"),
    ("entitlement", "open('x')", "calls open()"),
    ("entitlement", "if TYPE_CHECKING:\n    import os\nelse:\n    import os", "core and imports os"),
    ("settings", "from sidecar.entitlement import classify", "not below"),
    ("errors", "from sidecar.settings import parsers", "not below"),
    ("clock", "from sidecar.errors import Exit", "not below"),
    ("emulator", "from sidecar.entitlement import token", "imports our entitlement"),
    ("emulator", "from sidecar import errors", "imports our errors"),
    ("emulator", "import boto3", "belongs to"),
    ("app", "from sidecar.agent import x", "an unknown package"),
    ("app", "from . import log", "relatively"),
]


@pytest.mark.parametrize(("package", "source"), ALLOWED)
def test_the_checker_lets_what_is_allowed_pass(package: str, source: str) -> None:
    assert faults(package, source) == []


@pytest.mark.parametrize(("package", "source", "fault"), FORBIDDEN)
def test_the_checker_sees_what_is_forbidden(package: str, source: str, fault: str) -> None:
    assert fault in " ".join(faults(package, source))


def main() -> int:
    """Print the packages in their order with modules, lines and import depth, and the cycles; 1 where there is one."""
    graph = import_graph(SOURCES)
    closed = cycles(graph)
    names = sorted({package_of(path) for path in MODULES} - {"__init__"}, key=lambda name: (-LEVELS.get(name, 0), name))
    for name in names:
        files = [path for path in MODULES if package_of(path) == name]
        inside = {f"sidecar.{name}"} | {module for module in SOURCES if module.startswith(f"sidecar.{name}.")}
        own = {module: graph[module] & inside for module in inside & graph.keys()}
        lines = sum(len(path.read_text().splitlines()) for path in files)
        deepest = max(depth(own, module) for module in own) if not closed else 0
        level = LEVELS.get(name, "-")
        print(f"{level}  {name:16} {len(files):3} modules {lines:6} lines, {deepest} deep")
    for cycle in closed:
        print(" -> ".join(cycle))
    print(f"{len(closed)} cycles")
    return 1 if closed else 0


if __name__ == "__main__":
    sys.exit(main())
