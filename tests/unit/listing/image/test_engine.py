"""Names of images, with engines that are scripts."""

from __future__ import annotations

from pathlib import Path

import pytest

from sidecar.listing.image import rules
from sidecar.listing.image.check import check
from tests.unit.listing.image.support import Layout, archived, config


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH with nothing on it but what a test puts there."""
    directory = tmp_path / "bin"
    directory.mkdir()
    monkeypatch.setenv("PATH", str(directory))
    return directory


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    layout = Layout(tmp_path / "image").image({"a": b"x"}, document=config(User=""))
    return archived(layout.written(name="registry.example/shop:latest"), tmp_path / "image.tar")


def put(directory: Path, name: str, script: str) -> None:
    (directory / name).write_text(f"#!/bin/sh\n{script}\n")
    (directory / name).chmod(0o755)


def message(name: str) -> str:
    checked = check(name)
    assert [one.rule for one in checked.findings] == [rules.READABLE]
    return checked.findings[0].message


def test_without_any_engine_the_fix_is_an_archive(path: Path) -> None:
    assert "neither podman, docker nor skopeo is on PATH" in message("shop:1.2.3")


def test_the_first_engine_that_has_the_image_saves_it(path: Path, archive: Path) -> None:
    put(path, "podman", "echo 'image not known' >&2; exit 125")
    put(path, "docker", f'test "$1 $2" = "save -o" && /bin/cp {archive} "$3"')
    assert {one.rule for one in check("shop:latest").findings} >= {rules.NON_ROOT, rules.TAG}


def test_podman_saves_with_all_that_oci_has(path: Path, archive: Path) -> None:
    put(path, "podman", f'test "$5" = oci-archive && /bin/cp {archive} "$7"')
    assert rules.NON_ROOT in {one.rule for one in check("shop:latest").findings}


def test_what_each_engine_said_is_shown_without_control_characters(path: Path) -> None:
    put(path, "podman", r"printf 'no \033[31mimage\n' >&2; exit 1")
    put(path, "docker", "exit 3")
    assert r"podman: no \x1b[31mimage; docker: exit code 3" in message("shop:1.2.3")


@pytest.mark.parametrize("name", ["--help", "-o", ""])
def test_a_name_that_is_an_option_reaches_no_engine(name: str, path: Path) -> None:
    put(path, "podman", "echo reached >&2; exit 1")
    assert "reached" not in message(name)


@pytest.mark.parametrize("name", ["./missing", "/nowhere/image", "image.tar", "dir/"])
def test_a_path_that_is_missing_reaches_no_engine(name: str, path: Path) -> None:
    put(path, "podman", "echo reached >&2; exit 1")
    assert "no such file" in message(name)


def test_a_directory_of_the_same_name_that_is_no_image_does_not_hide_one(
    path: Path, archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(path, "podman", f'/bin/cp {archive} "$7"')
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shop").mkdir()
    assert check("shop").complete
    assert not check("./shop").complete
