"""The evidence lists what the three readers of HTTP disagree on, and nothing is accepted that another refuses."""

from __future__ import annotations

import re

from tests.fuzz.differences import END, PAGE, SEED, Class, classes, inputs, table

FEW = 1_000


def test_each_disagreement_is_listed() -> None:
    listed = PAGE.read_text().partition(END)[0]
    found = classes(inputs(SEED, FEW))
    assert len(found) >= 5
    rows = [re.sub(r" \d+ \| `.*` \|$", "", line) for line in table(found).splitlines()[2:]]
    assert [row for row in rows if row not in listed] == []


def test_nothing_is_accepted_that_another_refuses() -> None:
    assert [one for one in classes(inputs(SEED, FEW)) if one.ours == "accepts" and "refuses" in one[1:]] == []


def test_bytes_that_two_read_otherwise_are_a_class() -> None:
    found = classes([b"GET / HTTP/1.9\r\n\r\n", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"])
    assert found == {Class("bad_request", "accepts", "accepts"): (1, b"GET / HTTP/1.9\r\n\r\n")}
