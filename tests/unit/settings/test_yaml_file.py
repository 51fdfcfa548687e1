"""Strict YAML is read; anything else in a file is one clear error."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sidecar.errors import SettingsError
from sidecar.settings import yaml_file

FILE = Path("/etc/settings.yaml")


def fault_of(content: bytes) -> str:
    with pytest.raises(SettingsError) as caught:
        yaml_file.parse(content, FILE)
    (found,) = caught.value.problems
    assert found.setting == str(FILE)
    return found.fault


def test_a_mapping_is_read_as_plain_values() -> None:
    found = yaml_file.parse(b"a: text\nb: 3\nc: [1, {d: true}]\ne: null\n", FILE)
    assert found == {"a": "text", "b": 3, "c": [1, {"d": True}], "e": None}


@pytest.mark.parametrize("content", [b"", b"\n", b"# nothing\n", b"---\n", b"null"])
def test_an_empty_file_is_an_empty_mapping(content: bytes) -> None:
    assert yaml_file.parse(content, FILE) == {}


def test_a_date_stays_text() -> None:
    assert yaml_file.parse(b"a: 2026-01-02\nb: 2026-01-02T03:04:05Z\n", FILE) == {
        "a": "2026-01-02",
        "b": "2026-01-02T03:04:05Z",
    }


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"a: 1\nb: 2\na: 3\n", "line 3: key 'a' given twice"),
        (b"a:\n  - b: 1\n    b: 2\n", "line 3: key 'b' given twice"),
        (b"a: 1\n'a': 1\n", "key 'a' given twice"),
        (b"1: a\n", "key 1 is not text"),
        (b"yes: a\n", "key True is not text"),
        (b"? [a]\n: b\n", "is not text"),
        (b"a: [1\n", "is not YAML: line"),
        (b"a: b: c\n", "is not YAML: line 1"),
        (b"a: *b\n", "is not YAML: line 1"),
        (b"<<: {a: 1}\n", "is not YAML"),
        (b"a: !!python/object/apply:os.system [id]\n", "is not YAML"),
        (b"a: 1\n---\nb: 2\n", "is not YAML"),
        (b"\xff\xfe\xfa", "is not YAML"),
        (b"- a\n", "holds no mapping"),
        (b"text", "holds no mapping"),
        (b"3", "holds no mapping"),
    ],
)
def test_text_that_is_no_strict_yaml_mapping_is_refused(content: bytes, words: str) -> None:
    assert words in fault_of(content)


@pytest.mark.parametrize(
    "content",
    [
        b"a: 0b_\n",
        b"a: !!int 5m\n",
        b"a: !!bool maybe\n",
        b"a: !!timestamp noon\n",
        b"a: " + b"[" * 5000,
        b"a: " + b"9" * 5000,
    ],
    ids=["0b_", "int", "bool", "timestamp", "deep", "long number"],
)
def test_text_that_breaks_the_yaml_parser_is_a_settings_error(content: bytes) -> None:
    assert fault_of(content)


def test_aliases_that_stand_for_more_than_a_file_could_hold_are_refused() -> None:
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10)]
    assert "when its aliases are written out" in fault_of("\n".join(lines).encode())
    assert yaml_file.parse("\n".join(lines[:3]).encode(), FILE).keys() == {"a0", "a1", "a2"}


def test_a_value_inside_itself_is_refused() -> None:
    assert "when its aliases are written out" in fault_of(b"a: &a [*a]")


def test_the_lines_of_aliases_are_told_up_to_a_bound() -> None:
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10)]
    assert len(yaml_file.key_lines("\n".join(lines).encode())) < yaml_file.LINES_MAX + 200


def test_each_key_and_entry_has_its_line() -> None:
    text = b"# x\na: 1\nb:\n  - c: 2\n    d: 3\n  - 4\n"
    assert yaml_file.key_lines(text) == {"a": 2, "b": 3, "b[0]": 4, "b[0].c": 4, "b[0].d": 5, "b[1]": 6}
    assert yaml_file.key_lines(b"a: [") == {}


@pytest.mark.parametrize("content", [b"a: !!binary aGk=\n", b"a: !!set {x, y}\n"])
def test_only_json_values_come_out(content: bytes) -> None:
    try:
        found = yaml_file.parse(content, FILE)
    except SettingsError:
        return
    json.dumps(found)


@pytest.mark.parametrize(
    ("place", "line"),
    [("a[0].b", 2), ("a[0].c", 2), ("a[1]", 1), ("a[1].b.c", 1), ("x", None), ("", None)],
    ids=lambda one: str(one) or "nothing",
)
def test_a_key_that_is_missing_has_the_line_of_what_should_have_it(place: str, line: int | None) -> None:
    assert yaml_file.nearest_line(place, yaml_file.key_lines(b"a:\n  - b: 1\n")) == line


def test_a_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text("a: é\n", encoding="utf-8")
    assert yaml_file.read(tmp_path / "x.yaml") == {"a": "é"}


@pytest.mark.parametrize(("name", "words"), [("missing.yaml", "No such file"), (".", "Is a directory")])
def test_a_file_that_cannot_be_read_is_an_error_naming_it(tmp_path: Path, name: str, words: str) -> None:
    with pytest.raises(SettingsError) as caught:
        yaml_file.read(tmp_path / name)
    (found,) = caught.value.problems
    assert found.setting == str(tmp_path / name)
    assert words in found.fault


def test_a_file_of_a_mebibyte_is_read_and_a_larger_one_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_bytes(b"a: 1\n#" + b"x" * (yaml_file.SIZE_MAX - 6))
    assert yaml_file.read(path) == {"a": 1}
    path.write_bytes(b"a: 1\n#" + b"x" * (yaml_file.SIZE_MAX - 5))
    with pytest.raises(SettingsError, match="larger than"):
        yaml_file.read(path)
