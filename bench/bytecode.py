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

sys.path.append(str(HERE.parent / "image"))
from precompile import fits

PACKAGES = (
    "sidecar", "h11", "gunicorn", "boto3", "botocore", "s3transfer", "urllib3", "jwt", "cryptography",
    "flask", "werkzeug", "jinja2", "pydantic", "structlog", "prometheus_client", "yaml",
)  # fmt: skip


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
    subprocess.run([sys.executable, "-m", "compileall", "-q", *ours, str(HERE), str(HERE.parent / "image")], check=True)
    stale = [str(path) for path in _sources() if not fits(path)]
    if stale:
        raise SystemExit(
            f"{len(stale)} modules have no fitting bytecode, first {stale[0]};"
            f" run: {sys.executable} -m compileall -q <their package>"
        )
