"""A sealed image starts with the manifest it was sealed with, and with no other."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

import sidecar
from sidecar.cli.manifest import seal_manifest
from sidecar.errors import SettingsError
from sidecar.settings import Settings, seal
from tests.fakes.keys import public_pem

PRODUCT = {"products": [{"code": "sealed", "public_keys": [{"version": 1, "key": public_pem()}]}]}
FREE = {"products": [{"code": "free", "public_keys": [{"version": 1, "key": public_pem()}]}]}
OUTSIDE = {"SIDECAR_PRODUCT_CODE": "free", "SIDECAR_PUBLIC_KEY": public_pem()}


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    path = tmp_path / "etc" / "product.yaml"
    path.parent.mkdir()
    path.write_text(yaml.safe_dump(PRODUCT))
    return path


@pytest.fixture
def sealed(tmp_path: Path, manifest: Path) -> Path:
    path = tmp_path / "manifest.sha256"
    assert seal_manifest(Namespace(file=str(manifest)), path) == 0
    return path


def faults(manifest: Path, sealed: Path, env: dict[str, str] | None = None) -> str:
    with pytest.raises(SettingsError) as caught:
        Settings.load(env or {}, None, manifest, seal_path=sealed)
    return str(caught.value)


def test_a_sealed_image_starts_with_its_manifest(manifest: Path, sealed: Path) -> None:
    assert Settings.load({}, None, manifest, seal_path=sealed).product_code == "sealed"


def test_an_image_that_nobody_sealed_starts_with_any_manifest_and_without(manifest: Path, tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    assert Settings.load({}, None, manifest, seal_path=nowhere).product_code == "sealed"
    assert Settings.load(OUTSIDE, None, nowhere, seal_path=nowhere).product_code == "free"


CHANGES: dict[str, Callable[[Path], object]] = {
    "an empty volume over its directory": lambda path: path.unlink(),
    "the directory is gone": lambda path: shutil.rmtree(path.parent),
    "another manifest": lambda path: path.write_text(yaml.safe_dump(FREE)),
    "the same manifest and a line more": lambda path: path.write_text(f"{path.read_text()}log_level: debug\n"),
    "a directory in its place": lambda path: (path.unlink(), path.mkdir()),
    "a dangling link": lambda path: (path.unlink(), path.symlink_to("nowhere")),
    "nothing in it": lambda path: path.write_bytes(b""),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_sealed_image_does_not_start_with_anything_else(change: str, manifest: Path, sealed: Path) -> None:
    CHANGES[change](manifest)
    said = faults(manifest, sealed, OUTSIDE)
    assert str(manifest) in said
    assert "sealed with" in said or "cannot be read" in said


@pytest.mark.parametrize("content", [b"", b"x", b"\xff", b"0" * 64, b"0" * 65 + b"\n", b"0" * 64 + b"\n\n"])
def test_a_digest_that_is_none_is_a_fault(content: bytes, manifest: Path, sealed: Path) -> None:
    sealed.unlink()
    sealed.write_bytes(content)
    assert str(sealed) in faults(manifest, sealed)


def test_a_bad_manifest_is_not_sealed(tmp_path: Path, manifest: Path) -> None:
    manifest.write_text("products: 7")
    with pytest.raises(SettingsError):
        seal_manifest(Namespace(file=str(manifest)), tmp_path / "manifest.sha256")
    assert not (tmp_path / "manifest.sha256").exists()


LARGE = b"#" * (2 * seal.SIZE_MAX)


@pytest.mark.parametrize("change", [LARGE + b"\n", LARGE[:-1], LARGE[:-1] + b"x", LARGE[: seal.SIZE_MAX]])
def test_every_byte_of_a_large_manifest_counts(change: bytes, manifest: Path, tmp_path: Path) -> None:
    manifest.write_bytes(LARGE)
    assert seal.record(manifest, tmp_path / "manifest.sha256") == hashlib.sha256(LARGE).hexdigest()
    assert seal.problem(manifest, tmp_path / "manifest.sha256") is None
    manifest.write_bytes(change)
    found = seal.problem(manifest, tmp_path / "manifest.sha256")
    assert found is not None
    assert "sealed with" in found.fault


def test_where_the_digest_cannot_be_written_that_is_said(tmp_path: Path, manifest: Path) -> None:
    with pytest.raises(SettingsError, match="as root"):
        seal.record(manifest, tmp_path / "nowhere" / "manifest.sha256")


def test_sealing_again_takes_the_newer_manifest(manifest: Path, sealed: Path) -> None:
    manifest.write_text(yaml.safe_dump(FREE))
    seal.record(manifest, sealed)
    assert Settings.load({}, None, manifest, seal_path=sealed).product_code == "free"
    assert sealed.stat().st_mode & 0o777 == 0o444


def test_the_digest_lies_beside_the_code_and_ends_the_start(tmp_path: Path, manifest: Path) -> None:
    """A copy of the package is sealed; at its usual place there is no manifest."""
    package = tmp_path / "sidecar"
    shutil.copytree(Path(sidecar.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    seal.record(manifest, package / seal.SEAL_PATH.name)
    assert seal.SEAL_PATH.parent == Path(sidecar.__file__).parent
    env = {**OUTSIDE, "PYTHONPATH": f"{tmp_path}", "PYTHONDONTWRITEBYTECODE": "1"}
    ended = subprocess.run(
        [sys.executable, "-m", "sidecar", "run"], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == 78
    assert "this image was sealed" in ended.stderr
