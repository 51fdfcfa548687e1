"""The licenses of what the images carry are listed, and one that nobody has read is refused."""

from __future__ import annotations

from email.message import Message
from email.parser import Parser

import licenses
import pytest

LOCK = "attrs==26.1.0 \\\n    --hash=sha256:00\n    # via aiohttp\npsycopg[binary]==3.3.9 ; python_version >= '3.11'\n"


def about(*lines: str) -> Message:
    return Parser().parsestr("\n".join(("Name: attrs", "Version: 26.1.0", *lines, "", "text")))


@pytest.mark.filterwarnings("error::DeprecationWarning")  # Python 3.13 has one for a field that a package lacks
def test_the_page_is_that_of_the_lock_files() -> None:
    assert licenses.PAGE.read_text() == licenses.page(), "python image/licenses.py --write"


def test_a_lock_gives_each_package_with_its_version() -> None:
    assert licenses.pinned(LOCK) == {"attrs": "26.1.0", "psycopg": "3.3.9"}


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        (("License-Expression: MIT AND PSF-2.0",), "MIT AND PSF-2.0"),
        (("License-Expression: (MIT OR ISC) AND MIT-0",), "(MIT OR ISC) AND MIT-0"),
        (("License: Apache 2.0",), "Apache-2.0"),
        (("Classifier: License :: OSI Approved :: MIT License",), "MIT"),
    ],
    ids=["expression", "brackets", "another form", "classifier"],
)
def test_a_license_is_an_expression_of_spdx(lines: tuple[str, ...], found: str) -> None:
    assert licenses.license_of(about(*lines)) == found


@pytest.mark.parametrize(
    "lines",
    [
        ("License-Expression: AGPL-3.0-only",),
        ("License-Expression: MIT AND GPL-3.0-only",),
        ("License: a text of its own",),
        ("Classifier: License :: A", "Classifier: License :: OSI Approved :: MIT License"),
        (),
    ],
    ids=["not allowed", "one of two", "a text", "two classifiers", "none"],
)
def test_a_license_that_nobody_has_read_is_refused(lines: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match=r"attrs 26\.1\.0: license .* read it"):
        licenses.license_of(about(*lines))


def test_a_package_of_another_version_than_the_locked_one_is_refused() -> None:
    with pytest.raises(ValueError, match=r"26\.1\.0 is installed and 25\.0\.0 is locked"):
        list(licenses.rows({"sidecar": "attrs==25.0.0\n"}, lambda _: about("License: MIT")))


def test_a_package_of_two_images_is_one_row() -> None:
    given = {"sidecar": "attrs==26.1.0\n", "SaaS service": "attrs==26.1.0\n"}
    assert list(licenses.rows(given, lambda _: about("License: MIT"))) == [
        ("attrs", "26.1.0", "MIT", "sidecar, SaaS service")
    ]
