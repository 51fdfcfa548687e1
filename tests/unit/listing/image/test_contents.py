"""What a container sees of layers, and what stays in them."""

from __future__ import annotations

import gzip
import tracemalloc
from pathlib import Path

import pytest

from sidecar.listing.image.contents import KEPT_BYTES_MAX, KEPT_MAX, PRODUCT, SEAL, SECRETS_MAX, Contents, contents_of
from sidecar.listing.image.layers import files
from sidecar.listing.image.manifests import images_of
from sidecar.listing.image.store import Unreadable, opened
from tests.unit.listing.image.support import PACKAGE, Files, Layout, tar

KEY = b"-----BEGIN RSA PRIVATE KEY-----\nMIIE"


def contents(tmp_path: Path, *layers: Files | bytes) -> Contents:
    store = opened(str(Layout(tmp_path / "image").image(*layers).written()))
    return contents_of(files(store, images_of(store).images[0]))


def test_a_higher_layer_replaces_a_file(tmp_path: Path) -> None:
    assert contents(tmp_path, {PRODUCT: b"1"}, {PRODUCT: b"2"}).files == {PRODUCT: (2, b"2")}


def test_a_whiteout_removes_a_file_and_all_below_a_directory(tmp_path: Path) -> None:
    for whiteout in ("etc/entitlement-sidecar/.wh.product.yaml", "etc/.wh.entitlement-sidecar", ".wh.etc"):
        assert contents(tmp_path / whiteout.replace("/", "-"), {PRODUCT: b"1"}, {whiteout: b""}).files == {}


def test_a_whiteout_of_another_name_removes_nothing(tmp_path: Path) -> None:
    assert PRODUCT in contents(tmp_path, {PRODUCT: b"1"}, {"etc/.wh.entitlement": b""}).files


def test_an_opaque_directory_hides_lower_layers_and_not_its_own(tmp_path: Path) -> None:
    opaque = "etc/entitlement-sidecar/.wh..wh..opq"
    assert contents(tmp_path / "a", {PRODUCT: b"1"}, {opaque: b""}).files == {}
    for own in ({PRODUCT: b"2", opaque: b""}, {opaque: b"", PRODUCT: b"2"}):
        found = contents(tmp_path / str(len(str(own)) + list(own).index(opaque)), {PRODUCT: b"1"}, own)
        assert found.files == {PRODUCT: (2, b"2")}


def test_an_opaque_root_hides_everything_below_it(tmp_path: Path) -> None:
    assert contents(tmp_path, {PRODUCT: b"1"}, {".wh..wh..opq": b""}).files == {}


def test_a_file_in_the_place_of_a_directory_removes_what_was_below(tmp_path: Path) -> None:
    assert contents(tmp_path, {PRODUCT: b"1"}, {"etc/entitlement-sidecar": b"x"}).files == {}


def test_a_directory_that_is_there_again_removes_nothing(tmp_path: Path) -> None:
    assert PRODUCT in contents(tmp_path, {PRODUCT: b"1"}, {"etc/entitlement-sidecar/": b""}).files


def test_a_secret_that_a_higher_layer_removes_stays_one(tmp_path: Path) -> None:
    found = contents(tmp_path, {"root/key": KEY, "app/key": KEY}, {"root/.wh.key": b""})
    assert set(found.secrets) == {"root/key", "app/key"}
    assert found.removed == {"root/key"}


def test_secrets_are_counted_where_they_are_too_many_to_be_named(tmp_path: Path) -> None:
    found = contents(tmp_path, {f"keys/{number}": KEY for number in range(SECRETS_MAX + 5)})
    assert (len(found.secrets), found.secret_count) == (SECRETS_MAX, SECRETS_MAX + 5)


def test_no_file_is_remembered_that_no_rule_is_about(tmp_path: Path) -> None:
    found = contents(tmp_path, {f"usr/share/{number}": b"x" for number in range(500)})
    assert found == Contents()


def test_a_small_blob_that_unpacks_to_much_is_refused(tmp_path: Path) -> None:
    bomb = gzip.compress(tar({"zeros": bytes(40 << 20)}))
    assert len(bomb) < 64 << 10
    store = opened(str(Layout(tmp_path / "image").image({"a": b"x"}, bomb).written()))
    tracemalloc.start()
    try:
        with pytest.raises(Unreadable, match=r"layer 2 has more than \d+ bytes when it is unpacked"):
            contents_of(files(store, images_of(store).images[0], unpacked_max=20 << 20))
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def test_files_that_look_like_ours_are_kept_in_bounds(tmp_path: Path) -> None:
    found = contents(tmp_path, {f"{number}/sidecar/manifest.sha256": bytes(9000) for number in range(KEPT_MAX + 5)})
    assert len(found.files) == KEPT_MAX
    assert {len(content) for _, content in found.files.values()} == {KEPT_BYTES_MAX}


def test_an_artifact_among_the_layers_is_passed_over(tmp_path: Path) -> None:
    """It is a finding of its own: what it holds is no file of a container."""
    layout = Layout(tmp_path / "image").image(b"{}", layer_type="application/vnd.example+json")
    store = opened(str(layout.written()))
    assert list(files(store, images_of(store).images[0])) == []


def test_layers_are_read_packed_or_not_and_in_several_gzip_members(tmp_path: Path) -> None:
    seal = f"{PACKAGE}/sidecar/manifest.sha256"
    content = tar({seal: b"x"})
    forms = (content, gzip.compress(content), gzip.compress(content[:700]) + gzip.compress(content[700:]))
    for number, form in enumerate(forms):
        assert contents(tmp_path / str(number), form).matching(SEAL) == [seal]
