"""Compile what will be imported, so that a read-only image never compiles at its start.

precompile.py DIRECTORY           a virtual environment
precompile.py --stdlib            the interpreter's own library, where its image comes without bytecode
precompile.py --replace DIRECTORY a virtual environment, where bytecode takes the place of its source: a third less

The cache is bound to the source's hash and not checked at run time (PEP 552): a build that rewrites
modification times, or a registry that loses them, cannot make it stale.
"""

from __future__ import annotations

import compileall
import importlib.util
import py_compile
import re
import sys
import sysconfig
from pathlib import Path
from py_compile import PycInvalidationMode
from typing import Final

import prune

NOT_RUN: Final = re.compile(
    r"/(test|tests|idlelib|tkinter|turtledemo|lib2to3|ensurepip|pydoc_data|distutils|venv|unittest|curses|dbm|wsgiref"
    r"|site-packages|dist-packages|config-[^/]*|__phello__)(/|$)|/(turtle|pydoc|_aix_support|_osx_support|antigravity)\.py$"
)
"""Parts of the standard library that no server imports; a test imports everything else that one does."""
HEAD_BYTES: Final = 16
HASHED: Final = 0b01


def fits(source: Path) -> bool:
    """True when Python will load `source` from its cache."""
    cached = Path(importlib.util.cache_from_source(str(source)))
    if not cached.exists():
        return False
    with cached.open("rb") as file:
        head = file.read(HEAD_BYTES)
    if head[:4] != importlib.util.MAGIC_NUMBER:
        return False
    if int.from_bytes(head[4:8], "little") & HASHED:
        return True
    stat = source.stat()
    made_of = (int.from_bytes(head[8:12], "little"), int.from_bytes(head[12:16], "little"))
    return made_of == (int(stat.st_mtime) & 0xFFFF_FFFF, stat.st_size & 0xFFFF_FFFF)


def wanted(root: Path, *, stdlib: bool) -> list[Path]:
    """Every source below `root` that may be imported; of the standard library, what a server may import."""
    found = sorted(root.rglob("*.py"))
    return [path for path in found if not (stdlib and NOT_RUN.search(str(path.relative_to(root.parent))))]


def replace(root: Path) -> int:
    """Put bytecode where each source is (PEP 3147, "sourceless imports"); 1 where anything does not compile."""
    for source in wanted(root, stdlib=False):
        bytecode = source.with_suffix(".pyc")
        try:
            py_compile.compile(
                str(source), str(bytecode), doraise=True, invalidation_mode=PycInvalidationMode.UNCHECKED_HASH
            )
        except py_compile.PyCompileError as exc:
            sys.stderr.write(f"no bytecode: {source}: {exc.msg}\n")
            return 1
        source.unlink()
    for site in root.glob("lib/python3*/site-packages"):
        prune.record(site)
    return 0


def main(where: str) -> int:
    """Compile what has no fitting cache; 1 where anything is left without one."""
    stdlib = where == "--stdlib"
    root = Path(sysconfig.get_path("stdlib") if stdlib else where)
    missing = [path for path in wanted(root, stdlib=stdlib) if not fits(path)]
    for path in missing:
        compileall.compile_file(path, quiet=1, invalidation_mode=PycInvalidationMode.UNCHECKED_HASH)
    left = [path for path in missing if not fits(path)]
    for path in left:
        sys.stderr.write(f"no bytecode: {path}\n")
    sys.stdout.write(f"{root}: {len(missing) - len(left)} modules compiled\n")
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(replace(Path(sys.argv[2])) if sys.argv[1] == "--replace" else main(sys.argv[1]))
