"""The archive is whole or not there, for its owner alone, and its manifest says what is missing."""

from __future__ import annotations

import io
import json
import os
import stat
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sidecar.__main__ import main
from sidecar.cli import support_bundle
from sidecar.cli.bundle_parts import Part
from sidecar.cli.masking import Masking
from sidecar.errors import Exit
from tests.fakes.clock import NOON
from tests.fakes.config import NOWHERE
from tests.fakes.peer import Peer, http_answer
from tests.ports import free_port

PARTS = [
    Part(name="status.json", content=b'{"token": "s3cret-s3cret"}'),
    Part(name="usage-records.jsonl", content=b"1\n", note="the 2 oldest records are left out"),
    Part(name="log.jsonl", content=None, note="no sidecar answers (s3cret-s3cret)"),
]


def unpacked(data: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        members = tar.getmembers()
        assert all(one.isfile() and one.mode == 0o600 for one in members)
        return {one.name: tar.extractfile(one).read() for one in members}  # type: ignore[union-attr]


def test_the_archive_has_a_manifest_and_everything_masked() -> None:
    data = support_bundle.archive(PARTS, Masking({"A_TOKEN": "s3cret-s3cret"}), NOON, answered=True)
    found = unpacked(data)
    manifest = json.loads(found.pop("entitlement-sidecar-support/manifest.json"))
    assert found == {
        "entitlement-sidecar-support/status.json": b'{"token": "[masked]"}',
        "entitlement-sidecar-support/usage-records.jsonl": b"1\n",
    }
    assert manifest["sidecar_answered"] is True
    assert manifest["written_at"] == "2026-01-02T12:00:00.000Z"
    assert manifest["parts"] == [
        {"file": "status.json", "bytes": 21, "missing": None, "left_out": None},
        {"file": "usage-records.jsonl", "bytes": 2, "missing": None, "left_out": "the 2 oldest records are left out"},
        {"file": "log.jsonl", "bytes": None, "missing": "no sidecar answers ([masked])", "left_out": None},
    ]


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """No sidecar runs, and the settings are wrong: what can be had without both is quick."""
    for name in [name for name in os.environ if name.startswith(("SIDECAR_", "AWS_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("SIDECAR_API_BIND", f"127.0.0.1:{free_port()}")


def code(*arguments: str) -> int:
    return main(["support-bundle", *arguments], str(NOWHERE))


@pytest.mark.usefixtures("alone")
def test_without_a_sidecar_the_bundle_has_the_rest_and_the_code_is_69(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "bundle.tar.gz"
    assert code(str(file)) == Exit.UNAVAILABLE
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    found = unpacked(file.read_bytes())
    manifest = json.loads(found["entitlement-sidecar-support/manifest.json"])
    missing = {one["file"]: one["missing"] for one in manifest["parts"] if one["missing"]}
    assert "SIDECAR_PRODUCT_CODE" in missing["settings.txt"]
    assert "no sidecar answers" in missing["status.json"]
    assert "entitlement-sidecar-support/doctor.json" in found
    assert "manifest.json in it says why" in capsys.readouterr().err
    assert [one.name for one in tmp_path.iterdir()] == ["bundle.tar.gz"]


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize("status", [200, 401])
def test_a_sidecar_that_refuses_its_status_has_said_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], status: int
) -> None:
    """With another token than the sidecar's, only the probe routes answer."""
    answer = http_answer(status, {"reason": "token_refused", "detail": "Another token."})
    with Peer(lambda received: http_answer(200, {}) if received.target == "/metrics" else answer) as peer:
        monkeypatch.setenv("SIDECAR_API_BIND", peer.url.removeprefix("http://"))
        found = code(str(tmp_path / "bundle.tar.gz"))
    assert found == (Exit.OK if status == 200 else Exit.UNAVAILABLE)
    assert ("manifest.json in it says why" in capsys.readouterr().err) == (status != 200)


@pytest.mark.usefixtures("alone")
def test_an_existing_file_is_not_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "bundle.tar.gz"
    file.write_text("mine")
    assert code(str(file)) == Exit.FAILED
    assert file.read_text() == "mine"
    assert f"{file} exists, and is not replaced" in capsys.readouterr().err


@pytest.mark.usefixtures("alone")
def test_a_link_to_nowhere_is_not_followed(tmp_path: Path) -> None:
    file = tmp_path / "bundle.tar.gz"
    file.symlink_to(tmp_path / "elsewhere")
    assert code(str(file)) == Exit.FAILED
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.usefixtures("alone")
def test_a_directory_that_is_not_there_is_named_with_the_fix(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert code(str(tmp_path / "absent" / "bundle.tar.gz")) == Exit.FAILED
    error = capsys.readouterr().err
    assert "No such file or directory" in error
    assert "`support-bundle -`" in error


def test_what_breaks_in_the_middle_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), support_bundle._destination(str(tmp_path / "b")) as out:
        out.write(b"%d" % (1 // 0))
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_came_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    file = tmp_path / "bundle.tar.gz"
    with pytest.raises(support_bundle.NotWritten, match="File exists"), support_bundle._destination(str(file)):
        file.write_text("theirs")
    assert file.read_text() == "theirs"
    assert list(tmp_path.iterdir()) == [file]


@contextmanager
def no_links(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def link(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", link)
    yield


def test_a_file_system_without_links_takes_it_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "bundle.tar.gz"
    with no_links(monkeypatch), support_bundle._destination(str(file)) as out:
        out.write(b"ours")
    assert file.read_bytes() == b"ours"
    assert list(tmp_path.iterdir()) == [file]


def test_a_terminal_gets_no_archive(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert code("-") == Exit.FAILED
    assert "> bundle.tar.gz" in capsys.readouterr().err


def test_a_note_that_is_no_utf_8_does_not_end_the_bundle() -> None:
    parts = [Part(name="settings.txt", content=None, note="SIDECAR_STATE_DIR: '/\udcff' is wrong.")]
    found = unpacked(support_bundle.archive(parts, Masking({"A_TOKEN": "\udcffx\udcffx\udcffx"}), NOON, answered=False))
    assert "\udcff" in json.loads(found["entitlement-sidecar-support/manifest.json"])["parts"][0]["missing"]
