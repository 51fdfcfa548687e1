"""Remove what the image does not need. Run by Dockerfile, with the base's own Python.

prune.py unread VENV    of botocore's data, the models of other services; of boto3, what describes their resources; of
                        other packages, what only a compiler or their faster twin needs
prune.py emulator VENV  the emulator and the demo
prune.py base ROOT      pip, setuptools and wheel, and what could bring them back

Invariants:
- What is asked for and not there is an error: a new release that moved it must not slip through.
- A package's own list of files (RECORD) says what is there, so that a scanner believes it.
- The services stay a list of their own, which a test compares with the client's.
"""

from __future__ import annotations

import csv
import shutil
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

SERVICES: Final = ("meteringmarketplace", "license-manager", "sts")
SHARED: Final = ("_retry.json", "endpoints.json", "partitions.json", "sdk-default-configuration.json")
"""What the SDK reads for any service; `endpoints.json` only where a client is boto3's: ours makes its table from the
partitions."""
NOT_READ: Final = ("examples-1.json", "paginators-1.json")
RESOURCES: Final = ("data", "examples")
"""Of boto3: the resources of nine other services, and examples for its manual. `boto3.client` reads neither. s3transfer
stays: boto3 imports it first of all."""
UNREAD: Final = ("cffi", "pycparser", "yaml/_yaml.*.so", "dateutil/zoneinfo/*.tar.gz")
"""cryptography has its bindings made, and imports `_cffi_backend` alone; PyYAML's parser in Python reads the same; the
SDK asks dateutil for UTC and the local zone."""
EMULATOR: Final = ("sidecar/emulator", "sidecar/cli/demo")
INSTALLERS: Final = ("pip", "setuptools", "wheel", "pkg_resources", "_distutils_hack", "ensurepip")
PYTHON_ROOTS: Final = ("usr/lib", "usr/local/lib")


def unread(venv: Path) -> list[Path]:
    """What is never imported or read."""
    found = {name: list(_site(venv).glob(name)) for name in UNREAD}
    if missing := [name for name, paths in found.items() if not paths]:
        raise SystemExit(f"there is no {', '.join(missing)}")
    return [*sdk(venv), *(path for paths in found.values() for path in paths)]


def sdk(venv: Path) -> list[Path]:
    """Everything below botocore's data that these services do not need, and boto3's resources."""
    data = _site(venv) / "botocore" / "data"
    kept = {data / name for name in (*SHARED, *SERVICES)}
    resources = [_site(venv) / "boto3" / name for name in RESOURCES]
    if missing := [str(path) for path in (*kept, *resources) if not path.exists()]:
        raise SystemExit(f"the SDK has no {', '.join(sorted(missing))}")
    unread = [path for service in SERVICES for name in NOT_READ for path in (data / service).rglob(name)]
    return [path for path in data.iterdir() if path not in kept] + unread + resources


def emulator(venv: Path) -> list[Path]:
    """The witness and its stage."""
    found = [_site(venv) / name for name in EMULATOR]
    if missing := [str(path) for path in found if not path.exists()]:
        raise SystemExit(f"there is no {', '.join(missing)}")
    return found


def base(root: Path) -> list[Path]:
    """Installers of the base, wherever a Python of it keeps them."""
    return sorted(set(_installers(root)))


def _installers(root: Path) -> Iterator[Path]:
    for library in PYTHON_ROOTS:
        for name in INSTALLERS:
            for place in ("python3*", "python3*/site-packages", "python3*/dist-packages"):
                yield from (root / library).glob(f"{place}/{name}")
                yield from (root / library).glob(f"{place}/{name}-*.dist-info")
        yield from (root / library).glob("python3*/site-packages/distutils-precedence.pth")
    yield from (root / "usr/share").glob("python-wheels")
    for directory in ("usr/bin", "usr/local/bin"):
        yield from (root / directory).glob("pip*")
        yield from (root / directory).glob("wheel")


def _site(venv: Path) -> Path:
    (found,) = venv.glob("lib/python3*/site-packages")
    return found


def remove(paths: Iterable[Path]) -> int:
    """Delete; how many were there."""
    count = 0
    for path in paths:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
        count += 1
    return count


def record(site: Path) -> None:
    """Make every RECORD say what is there: nothing that is gone, and bytecode that took the place of its source."""
    for path in site.glob("*.dist-info/RECORD"):
        rows = _rows(path)
        there = [found for row in rows if (found := _as_it_is(site, row))]
        if there != rows:
            with path.open("w", newline="", encoding="utf-8") as file:
                csv.writer(file, lineterminator="\n").writerows(there)


def _as_it_is(site: Path, row: list[str]) -> list[str] | None:
    name = row[0]
    if (site / name).exists():
        return row
    return [f"{name}c", "", ""] if name.endswith(".py") and (site / f"{name}c").exists() else None


def _rows(record: Path) -> list[list[str]]:
    with record.open(newline="", encoding="utf-8") as file:
        return [row for row in csv.reader(file) if row]


def main(what: str, where: str) -> None:
    """Prune one thing in one place."""
    place = Path(where)
    count = remove({"unread": unread, "emulator": emulator, "base": base}[what](place))
    if what != "base":
        site = _site(place)
        # pip's scripts are those of the dependencies and a slower one of ours.
        remove(path for path in (place / "bin").iterdir() if not path.name.startswith("python"))
        record(site)
    sys.stdout.write(f"{what}: {count} files or directories removed\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
