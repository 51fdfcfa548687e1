"""The lock files: every version is within pyproject's ranges, and every line has a hash."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from sidecar import __version__

ROOT = Path(__file__).parents[3]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCKED = tomllib.loads((ROOT / "uv.lock").read_text())["package"]
LOCKS = {
    "requirements.lock": PROJECT["project"]["dependencies"],
    "requirements-saas.lock": [
        *PROJECT["project"]["dependencies"],
        *PROJECT["project"]["optional-dependencies"]["saas"],
    ],
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


def newer_or_older(requirements: str, locked: list[dict[str, Any]]) -> set[str]:
    """What `requirements` pins to a version that uv.lock does not have."""
    versions = {(canonicalize_name(one["name"]), one.get("version")) for one in locked}
    pins = {(canonicalize_name(one.name), next(iter(one.specifier)).version) for one, _ in entries(requirements)}
    return {name for name, version in pins if (name, version) not in versions}


def test_the_image_has_the_versions_that_the_tests_ran_with() -> None:
    for name in ("requirements.lock", "requirements-saas.lock"):
        assert newer_or_older((ROOT / name).read_text(), LOCKED) == set(), "run: image/lock"
    assert newer_or_older("flask==0.1\n", LOCKED) == {"flask"}


def test_uv_lock_names_the_public_index_and_no_other() -> None:
    hosts = set(re.findall(r"https?://([^/\"]+)", (ROOT / "uv.lock").read_text()))
    assert hosts == {"pypi.org", "files.pythonhosted.org"}


def test_uv_lock_fits_pyproject() -> None:
    """The ranges that uv wrote into the lock file for this project are those of pyproject.toml."""
    (ours,) = (one for one in LOCKED if one["name"] == PROJECT["project"]["name"])
    assert names(one["name"] for one in ours["dependencies"]) == names(PROJECT["project"]["dependencies"])
    for group, members in PROJECT["dependency-groups"].items():
        locked = {(one["name"], one.get("specifier", "")) for one in ours["metadata"]["requires-dev"][group]}
        direct = [Requirement(one) for one in members if isinstance(one, str)]
        missing = {
            str(one)
            for one in direct
            if not any(name == canonicalize_name(one.name) and SpecifierSet(by) == one.specifier for name, by in locked)
        }
        assert missing == set(), f"{group}: run: image/lock"


def names(requirements: Iterable[str]) -> set[str]:
    return {canonicalize_name(Requirement(one).name) for one in requirements}


def test_the_tests_install_what_the_extras_install() -> None:
    for extra in PROJECT["project"]["optional-dependencies"].values():
        assert set(extra) <= {one for one in PROJECT["dependency-groups"]["test"] if isinstance(one, str)}


def test_the_image_beside_a_product_carries_no_database_driver() -> None:
    pinned = {one.name for one, _ in entries((ROOT / "requirements.lock").read_text())}
    assert not names(PROJECT["project"]["optional-dependencies"]["saas"]) & pinned
