"""Stores as tools write them, and stores that somebody made to hurt."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sidecar.listing.image import rules
from sidecar.listing.image.check import check
from sidecar.listing.image.manifests import MANIFESTS_MAX, images_of
from sidecar.listing.image.store import JSON_MAX, Unreadable, opened
from tests.unit.listing.image.support import INDEX, LAYER, MANIFEST, Layout, archived, config, tar

GONE = f"sha256:{'0' * 64}"


def layout(path: Path) -> Path:
    return Layout(path).image({"bin/app": b"x" * 5000}).written()


def with_index(index: object) -> Callable[[Path], Path]:
    def make(path: Path) -> Path:
        layout(path)
        (path / "index.json").write_text(index if isinstance(index, str) else json.dumps(index))
        return path

    return make


def with_manifest(**changes: object) -> Callable[[Path], Path]:
    """Return what makes an image whose manifest has other fields."""

    def make(path: Path) -> Path:
        made = Layout(path).image({"bin/app": b"x"})
        document = json.loads((path / "blobs/sha256" / made.entries[0]["digest"][7:]).read_bytes())
        made.entries = [made.blob(json.dumps({**document, **changes}).encode(), MANIFEST)]
        return made.written()

    return make


def nested(path: Path) -> Path:
    made = Layout(path).image({"a": b"x"})
    for _ in range(6):
        made.entries = [made.blob(json.dumps({"manifests": made.entries}).encode(), INDEX)]
    return made.written()


def changed_blob(path: Path) -> Path:
    layout(path)
    for blob in (path / "blobs/sha256").iterdir():
        if blob.read_bytes()[:2] == b"\x1f\x8b":
            blob.write_bytes(blob.read_bytes() + b"\0")
    return path


def changed_config(path: Path) -> Path:
    layout(path)
    for blob in (path / "blobs/sha256").iterdir():
        if b"architecture" in blob.read_bytes():
            blob.write_bytes(blob.read_bytes().replace(b"65532", b"00000"))
    return path


def cut_layer(path: Path) -> Path:
    return Layout(path).image(b"\x1f\x8b\x08\x00 cut").written()


def linked(path: Path) -> Path:
    layout(path)
    for blob in (path / "blobs/sha256").iterdir():
        blob.unlink()
        blob.symlink_to("/etc/passwd")
    return path


def pipe(path: Path) -> Path:
    layout(path)
    (path / "index.json").unlink()
    os.mkfifo(path / "index.json")
    return path


def old_archive(manifest: object) -> Callable[[Path], Path]:
    def make(path: Path) -> Path:
        path.with_suffix(".tar").write_bytes(tar({"manifest.json": json.dumps(manifest).encode(), "c": b"{}"}))
        return path.with_suffix(".tar")

    return make


HOSTILE: dict[str, Callable[[Path], Path]] = {
    "not-json": with_index("{"),
    "deep-json": with_index("[" * 200_000),
    "list": with_index([]),
    "no-manifests": with_index({}),
    "manifests-no-list": with_index({"manifests": {"a": 1}}),
    "no-object": with_index({"manifests": [7]}),
    "empty": with_index({"manifests": []}),
    "too-many": with_index({"manifests": [{"digest": GONE}] * (MANIFESTS_MAX + 1)}),
    "too-large": with_index(" " * (JSON_MAX + 1)),
    "no-digest": with_index({"manifests": [{"mediaType": MANIFEST}]}),
    "traversal": with_index({"manifests": [{"digest": "sha256:../../../../etc/passwd"}]}),
    "missing": with_index({"manifests": [{"digest": GONE}]}),
    "own-index": nested,
    "config-missing": with_manifest(config={"digest": GONE}),
    "config-no-object": with_manifest(config=7),
    "layers-no-list": with_manifest(layers={}),
    "layer-no-object": with_manifest(layers=["x"]),
    "layer-missing": with_manifest(layers=[{"digest": GONE, "mediaType": LAYER}]),
    "changed-layer": changed_blob,
    "changed-config": changed_config,
    "cut-layer": cut_layer,
    "links": linked,
    "pipe": pipe,
    "archive-no-list": old_archive({}),
    "archive-empty": old_archive([]),
    "archive-traversal": old_archive([{"Config": "../../etc/passwd", "Layers": []}]),
    "archive-layer-missing": old_archive([{"Config": "c", "Layers": ["gone"]}]),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_broken_store_is_a_finding_and_no_traceback(name: str, tmp_path: Path) -> None:
    found = check(str(HOSTILE[name](tmp_path / "image")))
    assert [one.rule for one in found.findings if one.rule is rules.READABLE] == [rules.READABLE]
    assert not found.complete


@pytest.mark.parametrize("value", [None, 7, "x", [], {}, [7], {"a": 7}], ids=repr)
def test_a_configuration_of_wrong_types_is_read(value: object, tmp_path: Path) -> None:
    for field in ("User", "Env", "Labels"):
        document = config(**{field: value})
        check(str(Layout(tmp_path / field).image({"a": b"x"}, document=document).written()))
    for field in ("config", "history", "os", "architecture"):
        document = {**config(), field: value}
        check(str(Layout(tmp_path / field).image({"a": b"x"}, document=document).written()))


def test_a_compressed_archive_is_refused_with_the_fix(tmp_path: Path) -> None:
    (tmp_path / "image.tar.gz").write_bytes(b"\x1f\x8b\x08\x00")
    assert "gunzip" in check(str(tmp_path / "image.tar.gz")).findings[0].message


def test_a_layer_of_zstd_is_not_checked_and_that_is_said(tmp_path: Path) -> None:
    found = check(str(Layout(tmp_path / "image").image(b"\x28\xb5\x2f\xfd rest", document=config(User="")).written()))
    assert {one.rule for one in found.not_checked} >= set(rules.OF_FILES)
    assert "zstd" in found.not_checked[0].reason
    assert rules.NON_ROOT in {one.rule for one in found.findings}


def test_a_directory_that_leads_out_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Unreadable, match="leads out"):
        opened(str(layout(tmp_path / "image"))).open("../index.json")


def test_names_are_those_of_the_index(tmp_path: Path) -> None:
    store = opened(str(Layout(tmp_path / "image").image({"a": b"x"}).written(name="latest")))
    assert images_of(store).names == [":latest"]


@pytest.mark.parametrize("how", ["layout", "archive"])
def test_platforms_are_those_of_the_index(how: str, tmp_path: Path) -> None:
    made = Layout(tmp_path / "image")
    for architecture in ("amd64", "arm64"):
        document: dict[str, Any] = config(architecture=architecture)
        made.image({"a": b"x"}, document=document, platform=f"linux/{architecture}")
    path = made.written()
    found = images_of(opened(str(path if how == "layout" else archived(path, tmp_path / "image.tar"))))
    assert [one.announced for one in found.images] == ["linux/amd64", "linux/arm64"]
    assert found.indexed


def test_the_digest_of_each_document_is_compared(tmp_path: Path) -> None:
    path = layout(tmp_path / "image")
    for blob in (path / "blobs/sha256").iterdir():
        assert hashlib.sha256(blob.read_bytes()).hexdigest() == blob.name
    assert check(str(path)).complete


def test_a_platform_whose_files_are_not_here_is_said(tmp_path: Path) -> None:
    """`docker save` keeps the whole index, and the files of one platform."""
    made = Layout(tmp_path / "image").image({"a": b"x"}, platform="linux/amd64")
    platform = {"os": "linux", "architecture": "arm64"}
    made.entries.append({"mediaType": MANIFEST, "digest": GONE, "size": 1, "platform": platform})
    unknown = {"os": "unknown", "architecture": "unknown"}
    made.entries.append({"mediaType": MANIFEST, "digest": GONE, "size": 1, "platform": unknown})
    found = check(str(made.written(below=True)))
    assert [one.rule for one in found.findings] == [rules.ATTESTATIONS]
    assert [(one.rule, "linux/arm64: the index has it" in one.reason) for one in found.not_checked] == [
        (rules.READABLE, True)
    ]


def test_an_index_without_the_files_of_any_platform_cannot_be_read(tmp_path: Path) -> None:
    platform = {"os": "linux", "architecture": "arm64"}
    index = {"manifests": [{"mediaType": MANIFEST, "digest": GONE, "platform": platform}]}
    assert not check(str(with_index(index)(tmp_path / "image"))).complete
