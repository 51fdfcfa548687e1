"""Settings that are read again in a worker that follows: from what was in the files, not from the files."""

from __future__ import annotations

import json
import os
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from sidecar.cli.manifest import seal_manifest
from sidecar.errors import SettingsError
from sidecar.settings import Settings, saas
from sidecar.settings.files import Files
from tests.fakes.config import NOWHERE, PRODUCT
from tests.fakes.keys import public_pem


def passed_on(files: Files) -> Files:
    """What a worker that follows is given: JSON."""
    return Files(json.loads(json.dumps(files.contents)))


def nothing_is_read(path: Path) -> Mapping[str, object]:
    raise AssertionError(f"{path} is read again")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Files of every kind that settings are read from."""
    (tmp_path / "key.pem").write_text(public_pem("file"))
    (tmp_path / "token").write_text("a-token-of-this-test\n")
    chosen = {"api_token_file": str(tmp_path / "token"), "flush_seconds": 7}
    (tmp_path / "sidecar.yaml").write_text(yaml.safe_dump(chosen))
    product = {"code": PRODUCT, "public_keys": [{"version": 1, "key": public_pem()}]}
    (tmp_path / "product.yaml").write_text(yaml.safe_dump({"products": [product], "dimensions": [{"name": "é"}]}))
    assert seal_manifest(Namespace(file=str(tmp_path / "product.yaml")), tmp_path / "manifest.sha256") == 0
    return tmp_path


def removed(directory: Path) -> None:
    for one in directory.iterdir():
        one.unlink()


def edited(directory: Path) -> None:
    for one in directory.iterdir():
        os.chmod(one, 0o600)
        one.write_text("[")


@pytest.mark.parametrize("change", [removed, edited])
def test_a_worker_that_follows_has_the_settings_whatever_became_of_the_files(directory: Path, change: Any) -> None:
    env = {"SIDECAR_CONFIG": str(directory / "sidecar.yaml")}
    manifest, seal, files = directory / "product.yaml", directory / "manifest.sha256", Files()
    first = Settings.load(env, {}, manifest, seal_path=seal, files=files)
    assert (first.flush_seconds, first.api_token, first.product_code) == (7, "a-token-of-this-test", PRODUCT)
    change(directory)
    with pytest.raises(SettingsError):
        Settings.load(env, {}, manifest, seal_path=seal)
    assert Settings.load(env, {}, manifest, nothing_is_read, seal, passed_on(files)) == first


@pytest.mark.parametrize("change", [removed, edited])
def test_nor_is_a_key_read_again(directory: Path, change: Any) -> None:
    env = {"SIDECAR_PRODUCT_CODE": PRODUCT, "SIDECAR_PUBLIC_KEY_FILE": str(directory / "key.pem")}
    files = Files()
    first = Settings.load(env, {}, NOWHERE, seal_path=NOWHERE, files=files)
    change(directory)
    assert Settings.load(env, {}, NOWHERE, nothing_is_read, NOWHERE, passed_on(files)) == first


def test_a_manifest_that_comes_later_is_none(tmp_path: Path) -> None:
    env = {"SIDECAR_PRODUCT_CODE": PRODUCT, "SIDECAR_PUBLIC_KEY": public_pem()}
    files, manifest = Files(), tmp_path / "product.yaml"
    first = Settings.load(env, {}, manifest, seal_path=NOWHERE, files=files)
    manifest.write_text("[")
    assert Settings.load(env, {}, manifest, nothing_is_read, NOWHERE, passed_on(files)) == first


def test_the_service_has_its_settings_likewise(tmp_path: Path) -> None:
    file, files = tmp_path / "saas.yaml", Files()
    file.write_text("saas_region: eu-west-1\nproduct_code: prod9\ndimensions: [{name: requests}]\n")
    env = {"SIDECAR_CONFIG": str(file)}
    first = saas.load(env, {}, files=files)
    file.unlink()
    assert saas.load(env, {}, nothing_is_read, passed_on(files)) == first


def test_what_another_reader_makes_of_a_file_is_another_thing(tmp_path: Path) -> None:
    files = Files()
    assert files.read("a", tmp_path, lambda _: 1) == 1
    assert files.read("b", tmp_path, lambda _: 2) == 2
    assert files.read("a", tmp_path / "x", lambda _: 3) == 3
    assert files.read("a", tmp_path, lambda _: 4) == 1
