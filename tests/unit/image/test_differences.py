"""Two images are compared file by file."""

from __future__ import annotations

import io
import tarfile
from typing import Any

import differences
import pytest


def image(**files: dict[str, Any]) -> dict[str, differences.Entry]:
    """Return the entries of an exported image with these files, each with its content and more of tar's fields."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, given in files.items():
            content = given.pop("content", b"")
            member = tarfile.TarInfo(name)
            member.size = len(content)
            for field, value in given.items():
                setattr(member, field, value)
            archive.addfile(member, io.BytesIO(content))
    packed.seek(0)
    with tarfile.open(fileobj=packed) as archive:
        return dict(differences.entries(archive))


def test_the_same_files_are_no_difference_whenever_they_were_written() -> None:
    assert differences.differences(image(a={"content": b"x", "mtime": 1}), image(a={"content": b"x", "mtime": 2})) == []


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"content": b"y"}, "digest"),
        ({"content": b"x", "mode": 0o600}, "mode"),
        ({"content": b"x", "uid": 5}, "owner"),
        ({"type": tarfile.SYMTYPE, "linkname": "b"}, "kind, link, digest"),
    ],
    ids=["content", "mode", "owner", "link"],
)
def test_what_is_not_the_same_is_named(changed: dict[str, Any], named: str) -> None:
    assert differences.differences(image(a={"content": b"x"}), image(a=changed)) == [f"a: {named}"]


def test_a_file_of_one_image_alone_is_named() -> None:
    assert differences.differences(image(a={}), image(b={})) == ["a: only in the first", "b: only in the second"]
