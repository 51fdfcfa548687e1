"""The lock files: every version is within pyproject's ranges, and every line has a hash."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from sidecar import __version__

ROOT = Path(__file__).parents[3]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCKS = {
    "requirements.lock": PROJECT["project"]["dependencies"],
    "requirements-build.lock": PROJECT["build-system"]["requires"],
}


def entries(text: str) -> Iterator[tuple[Requirement, list[str]]]:
    """Each locked requirement with its hashes."""
    lines = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    for entry in lines.replace("\\\n", " ").splitlines():
        words, *hashes = entry.split(" --hash=")
        if words.strip():
            yield Requirement(words.strip()), [one.strip() for one in hashes]


def faults(text: str, ranges: list[str]) -> list[str]:
    """What is wrong with a lock file for these ranges."""
    found, pinned = [], {}
    for requirement, hashes in entries(text):
        pins = [one for one in requirement.specifier if one.operator == "=="]
        if len(pins) != 1 or len(requirement.specifier) != 1:
            found.append(f"{requirement} is no pin")
            continue
        pinned[canonicalize_name(requirement.name)] = pins[0].version
        if not hashes or not all(re.fullmatch("sha256:[0-9a-f]{64}", one) for one in hashes):
            found.append(f"{requirement.name} has no hash")
    for wanted in map(Requirement, ranges):
        version = pinned.get(canonicalize_name(wanted.name))
        if version is None or not wanted.specifier.contains(version, prereleases=True):
            found.append(f"{wanted} is locked as {version}")
    return found


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_file_fits_pyproject_and_has_a_hash_on_every_line(name: str) -> None:
    assert faults((ROOT / name).read_text(), LOCKS[name]) == [], "run: image/lock"


def test_the_checker_sees_what_does_not_fit() -> None:
    digest = "sha256:" + "0" * 64
    good = f"flask==3.1.3 \\\n    --hash={digest}\n"
    assert faults(good, ["flask>=3.1,<4"]) == []
    assert faults("flask==3.1.3\n", ["flask"]) == ["flask has no hash"]
    assert faults(good, ["flask>=4"]) == ["flask>=4 is locked as 3.1.3"]
    assert faults(good, ["pyyaml"]) == ["pyyaml is locked as None"]
    assert "is no pin" in faults(good.replace("==", ">="), [])[0]


def test_nothing_that_runs_needs_a_compiler_to_be_installed() -> None:
    """One hash is a source archive's or a pure wheel's; what has code of its own has wheels for two platforms."""
    found = {requirement.name: len(hashes) for requirement, hashes in entries((ROOT / "requirements.lock").read_text())}
    assert min(found[name] for name in ("cryptography", "cffi", "markupsafe", "pyyaml")) >= 10


def test_the_image_names_the_version_of_the_code() -> None:
    assert f"ARG VERSION={__version__}\n" in (ROOT / "Dockerfile").read_text()


def test_the_default_base_is_pinned_by_digest() -> None:
    assert re.search(r"^ARG BASE_IMAGE=docker\.io/library/python:\S+-slim\S*@sha256:[0-9a-f]{64}$",
                     (ROOT / "Dockerfile").read_text(), re.MULTILINE)  # fmt: skip
