"""Makes sure that a benchmark times start-up, not the compiler.

Without cached bytecode either side starts two to three times slower, and the ratio means nothing.
Our package and the baseline are compiled here, as an image build does; then every module of every
package that either side imports must have a cache file that fits its source.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

from lib import HERE

PACKAGES = (
    "sidecar", "gunicorn", "boto3", "botocore", "s3transfer", "urllib3", "jwt", "cryptography",
    "flask", "werkzeug", "jinja2", "pydantic", "structlog", "prometheus_client", "yaml",
)  # fmt: skip
FLAGS_HASHED = 0b01


def fits(source: Path) -> bool:
    """True when Python will load `source` from its cache."""
    cached = Path(importlib.util.cache_from_source(str(source)))
    if not cached.exists():
        return False
    head = cached.read_bytes()[:16]
    if head[:4] != importlib.util.MAGIC_NUMBER:
        return False
    if int.from_bytes(head[4:8], "little") & FLAGS_HASHED:
        return True
    stat = source.stat()
    made_of = (int.from_bytes(head[8:12], "little"), int.from_bytes(head[12:16], "little"))
    return made_of == (int(stat.st_mtime) & 0xFFFF_FFFF, stat.st_size & 0xFFFF_FFFF)


def _sources() -> list[Path]:
    found = [HERE / "baseline" / "app.py"]
    for name in PACKAGES:
        spec = importlib.util.find_spec(name)
        for place in (spec.submodule_search_locations if spec else None) or []:
            found += sorted(Path(place).rglob("*.py"))
    standard = (getattr(module, "__spec__", None) for module in list(sys.modules.values()))
    origins = (spec.origin for spec in standard if spec and spec.has_location and spec.origin)
    found += [Path(origin) for origin in origins if origin.endswith(".py")]
    return found


def require() -> None:
    """Compile what is ours; stop when anything else is not compiled."""
    sidecar = importlib.util.find_spec("sidecar")
    ours = list((sidecar.submodule_search_locations if sidecar else None) or [])
    subprocess.run([sys.executable, "-m", "compileall", "-q", *ours, str(HERE)], check=True)
    stale = [str(path) for path in _sources() if not fits(path)]
    if stale:
        raise SystemExit(
            f"{len(stale)} modules have no fitting bytecode, first {stale[0]};"
            f" run: {sys.executable} -m compileall -q <their package>"
        )
