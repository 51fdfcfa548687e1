"""Archives as tools write them, and archives that somebody made to hurt."""

from __future__ import annotations

import io
import os
import tarfile
import tracemalloc
from collections.abc import Sequence

import pytest

from sidecar.listing.image.tar_stream import HEADER_MAX, BadArchive, Entry, TarStream

MANY = 1 << 40


def read(content: bytes, bytes_max: int = MANY) -> list[tuple[Entry, bytes]]:
    stream = TarStream(io.BytesIO(content), bytes_max)
    return [(entry, stream.content(1 << 20)) for entry in stream.entries()]


def written(*infos: tuple[tarfile.TarInfo, bytes], form: int = tarfile.PAX_FORMAT) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=form) as archive:
        for info, content in infos:
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return made.getvalue()


def info(name: str, kind: bytes = tarfile.REGTYPE) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type = kind
    return made


def header(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    """Return a header that says a size, without the content."""
    made = info(name, kind)
    made.size = size
    return made.tobuf(tarfile.GNU_FORMAT)


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("size", [0, 1, 511, 512, 513, 70_000])
def test_each_form_of_tar_is_read(form: int, size: int) -> None:
    content = os.urandom(size)
    found = read(written((info("a/b"), content), (info("c"), b"x"), form=form))
    assert [(entry.path, entry.size, data) for entry, data in found] == [("a/b", size, content), ("c", 1, b"x")]


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("name", ["d/" * 120 + "file", "ü" * 90, "x" * 3000])
def test_a_long_or_foreign_name_is_read(form: int, name: str) -> None:
    assert [entry.path for entry, _ in read(written((info(name), b"x"), form=form))] == [name]


@pytest.mark.parametrize(
    ("name", "path", "leaves"),
    [
        ("./a", "a", False),
        ("/a/./b", "a/b", False),
        ("a/../b", "b", False),
        ("../a", "../a", True),
        ("a/../../b", "../b", True),
        ("/../a", "../a", True),
        ("..", "..", True),
        ("./", ".", False),
    ],
)
def test_a_path_is_that_in_the_image(name: str, path: str, leaves: bool) -> None:
    (entry, _), *_ = read(written((info(name), b"")))
    assert (entry.path, entry.leaves) == (path, leaves)


def test_links_and_devices_have_no_content() -> None:
    link = info("l", tarfile.SYMTYPE)
    link.linkname = "/etc/passwd"
    found = read(written((link, b""), (info("d", tarfile.DIRTYPE), b""), (info("f"), b"x")))
    assert [(entry.is_file, entry.is_dir, data) for entry, data in found] == [
        (False, False, b""),
        (False, True, b""),
        (True, False, b"x"),
    ]


def test_content_is_read_up_to_a_bound_and_the_rest_is_passed_over() -> None:
    stream = TarStream(io.BytesIO(written((info("a"), b"x" * 9000), (info("b"), b"y"))), MANY)
    assert [(entry.path, stream.content(10)) for entry in stream.entries()] == [("a", b"x" * 10), ("b", b"y")]


def test_a_file_is_passed_over_without_being_read() -> None:
    source = io.BytesIO(written((info("a"), b"x" * 1_000_000), (info("b"), b"y")))
    reads: list[int] = []

    class Counted:
        def read(self, size: int = -1, /) -> bytes:
            reads.append(size)
            return source.read(size)

    assert [entry.path for entry in TarStream(Counted(), MANY, source.seek).entries()] == ["a", "b"]
    assert sum(reads) < 10_000


GOOD = written((info("a"), b"x" * 2000))
PAX = info("pax", tarfile.XHDTYPE)
HOSTILE: Sequence[tuple[str, bytes, str]] = [
    ("no-tar", b"x" * 512, "no tar header"),
    ("short-header", GOOD[:300], "ends early"),
    ("short-content", GOOD[:1000], "ends early"),
    ("negative", header("a", 1).replace(b"00000000001\0", b"-0000000001\0"), "no tar header"),
    ("sparse", header("a", 512, tarfile.GNUTYPE_SPARSE), "sparse"),
    ("long-name", header("././@LongLink", HEADER_MAX + 1, tarfile.GNUTYPE_LONGNAME), "extended header"),
    ("long-link", header("././@LongLink", 1 << 35, tarfile.GNUTYPE_LONGLINK), "extended header"),
    ("large-pax", header("pax", 1 << 33, tarfile.XHDTYPE), "extended header"),
    ("global-pax", header("pax", 1 << 33, tarfile.XGLTYPE), "extended header"),
    ("pax-no-length", written((PAX, b"x path=a\n")), "where a size should be"),
    ("pax-endless", written((PAX, b"0 path=a\n")), "pax header"),
    ("pax-no-end", written((PAX, b"10 path=abcdef")), "pax header"),
    ("pax-size", written((PAX, b"19 size=0x100000000\n"), (info("a"), b"x")), "pax header"),
    ("pax-negative", written((PAX, b"11 size=-5\n"), (info("a"), b"x")), "where a size should be"),
]


@pytest.mark.parametrize(("content", "fault"), [one[1:] for one in HOSTILE], ids=[one[0] for one in HOSTILE])
def test_a_broken_archive_is_refused_with_the_reason(content: bytes, fault: str) -> None:
    with pytest.raises(BadArchive, match=fault):
        read(content)


def test_an_archive_that_unpacks_to_more_than_the_bound_is_refused() -> None:
    assert read(GOOD, bytes_max=len(GOOD))
    with pytest.raises(BadArchive, match="more than 2000 bytes"):
        read(GOOD, bytes_max=2000)


def test_no_entry_takes_more_memory_than_a_piece() -> None:
    class Zeros:
        """An entry of one gigabyte, as a gzip bomb would unpack to."""

        left = 1 << 30
        begin = header("big", 1 << 30)

        def read(self, size: int = -1, /) -> bytes:
            if self.begin:
                found, self.begin = self.begin[:size], self.begin[size:]
                return found
            self.left -= size
            return bytes(size) if self.left >= 0 else b""

    tracemalloc.start()
    try:
        with pytest.raises(BadArchive, match="unpacked"):
            list(TarStream(Zeros(), 64 << 20).entries())
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def test_cut_anywhere_an_archive_is_read_or_refused() -> None:
    content = written((info("d/" * 120), b"x"), (info("ü"), b"y" * 600))
    for at in range(0, len(content), 37):
        try:
            read(content[:at])
        except BadArchive:
            continue
