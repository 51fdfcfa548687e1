"""Charts made to break the reader end with a finding, soon and without a traceback."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from sidecar.listing.chart import files
from sidecar.listing.chart.check import FINDINGS_MAX, check
from tests.unit.listing.chart.good import GOOD, write

Harm = Callable[[Path], object]
MORE = "templates/more.yaml"


@pytest.fixture(autouse=True)
def _no_helm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))


def written(path: str, content: bytes | str) -> Harm:
    """Return what writes one file into a chart."""
    return lambda chart: (chart / path).write_bytes(content if isinstance(content, bytes) else content.encode())


def linked(path: str, target: str) -> Harm:
    return lambda chart: (chart / path).symlink_to(target)


def packed(name: str, size: int) -> bytes:
    """Return a .tgz with one file of zeros."""
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w:gz", compresslevel=1) as archive:
        member = tarfile.TarInfo(name)
        member.size = size
        archive.addfile(member, io.BytesIO(bytes(size)))
    return held.getvalue()


def crowded(chart: Path) -> None:
    (chart / "files").mkdir()
    for at in range(files.FILES_MAX):
        os.close(os.open(chart / "files" / str(at), os.O_CREAT))


BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{chr(at + 1)}: &{chr(at + 1)} [{', '.join([f'*{chr(at)}'] * 10)}]\n" for at in range(ord("a"), ord("i"))
)
CASES: dict[str, tuple[Harm, str, str]] = {
    "a link to itself": (linked(MORE, "more.yaml"), MORE, ""),
    "a link to the chart": (linked("templates/loop", ".."), "templates/loop", "directory"),
    "a cycle of charts": (linked("charts/shop", ".."), "charts/shop", "directory"),
    "a link out": (linked(MORE, "/etc/passwd"), MORE, "out of the chart"),
    "a link to nothing": (linked(MORE, "nowhere"), MORE, "cannot be read"),
    "a pipe": (lambda chart: os.mkfifo(chart / MORE), MORE, "pipe"),
    "a huge file": (lambda chart: os.truncate(chart / "README.md", 1 << 40), "README.md", "larger"),
    "a large template": (written(MORE, "#" * (1 << 20) + "\n"), MORE, "larger"),
    "too many files": (crowded, "", "more than"),
    "binary": (written(MORE, b"\0\1\2"), MORE, "binary"),
    "not UTF-8": (written(MORE, b"a: \xff\n"), MORE, "UTF-8"),
    "a list for values": (written("values.yaml", "- a\n"), "values.yaml", "mapping"),
    "aliases multiplied": (written("values.yaml", BOMB), "values.yaml", "alias"),
    "deep YAML": (written("values.yaml", "a: " + "[" * 900 + "]" * 900), "values.yaml", "levels"),
    "deeper YAML": (written("values.yaml", "a: " + "[" * 50_000), "values.yaml", ""),
    "a long number": (written("values.yaml", "a: " + "1" * 5_000), "values.yaml", "digits"),
    "a long number of base 60": (written("values.yaml", "a: 1" + ":1" * 50_000), "values.yaml", "digits"),
    "a Python object": (written("values.yaml", "a: !!python/object/apply:os.system [x]"), "values.yaml", "no YAML"),
    "deep parentheses": (written(MORE, "{{ " + "(" * 40_000 + " }}"), MORE, "levels"),
    "blocks without an end": (written(MORE, "{{ if .a }}" * 5_000), MORE, "no {{ end }}"),
    "many variables": (written(MORE, "".join(f"{{{{ $v{at} := 1 }}}}" for at in range(2_000))), MORE, "variables"),
    "a string without an end": (written(MORE, '{{ "x }}'), MORE, "does not end"),
    "a broken archive": (written("charts/x.tgz", b"\x1f\x8b no"), "charts/x.tgz", "no packed chart"),
    "an archive of zeros": (written("charts/x.tgz", packed("x/values.yaml", 6 << 20)), "charts/x.tgz", "larger"),
}


@pytest.mark.parametrize("name", CASES)
def test_a_hostile_file_is_one_finding_that_names_it(tmp_path: Path, name: str) -> None:
    harm, path, words = CASES[name]
    chart = write(tmp_path)
    harm(chart)
    found = [one for one in check(str(chart)).findings if one.rule.id == "chart-readable"]
    assert found, "nothing is found"
    assert all(one.file.startswith(f"{chart}/{path}") and words in one.message for one in found)


def test_what_helmignore_names_is_not_walked_through(tmp_path: Path) -> None:
    chart = write(tmp_path, {".helmignore": "# as helm create writes it\n.git/\n*.orig\n"})
    crowded(chart)
    (chart / "files").rename(chart / ".git")
    (chart / "templates" / "x.orig").write_text("{{ .Release.Service }}")
    assert check(str(chart)).findings == []
    (chart / "templates" / "keep.orig.yaml").write_text("{{ .Release.Service }}")
    assert [one.rule.id for one in check(str(chart)).findings] == ["chart-release-field"]


def test_a_packed_dependency_is_read_where_it_lies(tmp_path: Path) -> None:
    chart = write(tmp_path, {path: None for path in GOOD if path.startswith("charts/")})
    packed_chart = io.BytesIO()
    inside = {"Chart.yaml": GOOD["charts/cache/Chart.yaml"], "templates/x.yaml": "\n{{ .Release.Service }}"}
    with tarfile.open(fileobj=packed_chart, mode="w:gz") as archive:
        for path, text in inside.items():
            member = tarfile.TarInfo(f"cache/{path}")
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    (chart / "charts").mkdir()
    (chart / "charts" / "cache-0.1.0.tgz").write_bytes(packed_chart.getvalue())
    places = {(one.rule.id, one.file.rpartition("/")[2], one.place) for one in check(str(chart)).findings}
    assert ("chart-release-field", "cache-0.1.0.tgz", "templates/x.yaml:2") in places
    assert not any(rule == "chart-dependency-vendored" for rule, _, _ in places)


def test_a_line_made_to_be_searched_for_long_is_searched_once(tmp_path: Path) -> None:
    text = "{{- a }}" + "a" * 400_000 + " lookup " + "x.dkr.ecr" * 20_000 + "\n"
    found = [one.rule.id for one in check(str(write(tmp_path, {MORE: text, "README.md": "{{-" * 100_000}))).findings]
    assert found == ["chart-text-refused"]


def test_findings_of_one_rule_are_bounded(tmp_path: Path) -> None:
    text = "{{ .Release.Service }}\n" * (FINDINGS_MAX + 100)
    assert len(check(str(write(tmp_path, {MORE: text}))).findings) == FINDINGS_MAX


def test_a_configuration_schema_that_nests_without_end_is_a_finding(tmp_path: Path) -> None:
    deep = '{"properties": {"a": ' * 5_000 + "{}" + "}}" * 5_000
    found = [one.rule.id for one in check(str(write(tmp_path, {"aws_mp_configuration_schema.json": deep}))).findings]
    assert "chart-schema-json" in found or "chart-schema-draft" in found


def test_what_no_terminal_should_obey_is_escaped(tmp_path: Path) -> None:
    chart = write(tmp_path, {"templates/\x1b[2J.yaml": "{{ .Release.Service }}"})
    (found,) = check(str(chart)).findings
    assert "\x1b" not in found.file + found.message


@pytest.mark.parametrize("there", ["nothing", "a file", "a directory for Chart.yaml"])
def test_what_is_no_chart_is_one_finding(tmp_path: Path, there: str) -> None:
    chart = tmp_path / "chart"
    if there == "a file":
        chart.write_text(GOOD["Chart.yaml"])
    elif there != "nothing":
        (chart / "Chart.yaml").mkdir(parents=True)
    checked = check(str(chart))
    assert [one.rule.id for one in checked.findings] == ["chart-readable"]
    assert not checked.complete


@pytest.mark.parametrize(
    ("rule", "path", "ignored"),
    [
        ("templates/*.yml", "templates/a.yml", True),
        ("templates/*.yml", "templates/sub/a.yml", False),
        ("templates/?.yml", "templates/a.yml", True),
        ("templates/[^b].yml", "templates/a.yml", True),
        ("templates/[!b].yml", "templates/a.yml", False),
        ("*.yml", "templates/sub/a.yml", True),
        ("/a.yml", "templates/a.yml", False),
        (r"templates/\a.yml", "templates/a.yml", True),
        ("!templates", "Chart.yaml", True),
        ("*" * 200 + "b", "a" * 250, False),
    ],
)
def test_helmignore_is_read_as_helm_reads_it(tmp_path: Path, rule: str, path: str, ignored: bool) -> None:
    (tmp_path / ".helmignore").write_text(rule)
    (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / path).write_text("a: 1")
    assert (path not in files.read(tmp_path).contents) is ignored
