"""Each part of a support bundle is bounded, and a part that cannot be had says why."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from sidecar.cli import bundle_parts
from sidecar.cli.bundle_parts import EXPORT_BYTES_MAX, FILES_MAX, RECORDS_MAX, RunningSidecar, make
from sidecar.cli.usage import ClientResponse, CommandFailed
from sidecar.errors import Exit, Problem, SettingsError
from tests.fakes.peer import Peer, http_answer
from tests.ports import free_port


def pages(*bodies: bytes) -> Callable[[str], ClientResponse]:
    """Return what serves an export page by page."""

    def get(target: str) -> ClientResponse:
        number = int(target.partition("after=")[2] or 0)
        link = f'</v1/usage/export?after={number + 1}>; rel="next"' if number + 1 < len(bodies) else ""
        return ClientResponse(body=bodies[number], link=link)

    return get


def test_records_are_one_a_line_and_none_is_left_out() -> None:
    body = json.dumps({"records": [{"hour": 1}, {"hour": 2}]}).encode()
    assert bundle_parts.records(body) == (b'{"hour": 1}\n{"hour": 2}\n', "")


def test_of_too_many_records_the_oldest_are_left_out() -> None:
    body = json.dumps({"records": [{"n": number} for number in range(RECORDS_MAX + 3)]}).encode()
    lines, note = bundle_parts.records(body)
    assert json.loads(lines.splitlines()[0]) == {"n": 3}
    assert lines.count(b"\n") == RECORDS_MAX
    assert note == "the 3 oldest records are left out"


def test_an_export_is_read_page_by_page() -> None:
    assert bundle_parts.export(pages(b"1\n2\n", b"3\n", b"total\n")) == (b"1\n2\n3\ntotal\n", "")


def test_of_too_long_an_export_the_end_is_kept() -> None:
    big = b"x" * (EXPORT_BYTES_MAX // 2) + b"\n"
    content, note = bundle_parts.export(pages(b"old\n", big, big, b"total\n"))
    assert content == big + b"total\n"
    assert note.startswith("the 2 oldest lines are left out")


def test_an_export_that_takes_too_long_says_that_lines_are_missing() -> None:
    ticks = iter([0.0, 0.0, 1000.0])
    content, note = bundle_parts.export(pages(b"1\n", b"2\n"), lambda: next(ticks))
    assert content == b"1\n"
    assert "newer lines are missing" in note


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (CommandFailed(Exit.UNAVAILABLE, "no sidecar answers"), "no sidecar answers"),
        (SettingsError([Problem(setting="SIDECAR_X", fault="is wrong.")]), "SIDECAR_X"),
        (PermissionError(13, "Permission denied", "/x"), "Permission denied"),
        (RuntimeError("password=hunter2"), "could not be made: RuntimeError"),
    ],
)
def test_a_part_that_cannot_be_had_says_why(error: Exception, why: str) -> None:
    def broken() -> tuple[bytes, str]:
        raise error

    part = make("x.json", broken)
    assert part.content is None
    assert why in part.note
    assert "hunter2" not in part.note


def test_a_part_that_hangs_is_missing_and_ends_nothing() -> None:
    never = threading.Event()
    part = make("state-directory.txt", lambda: (b"", str(never.wait())), seconds=0.05)
    never.set()
    assert (part.content, part.note) == (None, "it did not end within 0.05 s")


def test_the_environment_is_an_allowlist() -> None:
    env = {
        "AWS_REGION": "us-east-1",
        "SIDECAR_PRODUCT_CODE": "prod1",
        "SIDECAR_UNHEARD_OF": "x1",
        "DATABASE_URL": "x2",
        "AWS_SECRET_ACCESS_KEY": "x3",
        "AWS_SESSION_TOKEN": "",
    }
    assert bundle_parts.environment(env) == {
        "variables": {"AWS_REGION": "us-east-1", "SIDECAR_PRODUCT_CODE": "prod1"},
        "set_and_not_shown": ["AWS_SECRET_ACCESS_KEY"],
    }


def test_a_proxy_and_a_url_are_shown_without_what_may_be_secret() -> None:
    env = {"HTTPS_PROXY": "joe:pa55@proxy:3128", "AWS_ENDPOINT_URL": "https://h/?X=pa55", "NO_PROXY": "a@b,.svc"}
    shown = {"AWS_ENDPOINT_URL": "https://h/?[masked]", "HTTPS_PROXY": "[masked]@proxy:3128", "NO_PROXY": "a@b,.svc"}
    assert bundle_parts.environment(env)["variables"] == shown


def test_the_state_directory_is_listed_and_not_read(tmp_path: Path) -> None:
    (tmp_path / "answer-1.json").write_text('{"token": "abc"}')
    (tmp_path / "answer-1.json").chmod(0o000)
    text, note = bundle_parts.state_directory(tmp_path)
    head, line = text.decode().splitlines()
    assert head == str(tmp_path)
    assert line.split("\t")[0] == "100000"
    assert line.split("\t")[2] == "16"
    assert line.endswith("\tanswer-1.json")
    assert note == ""


def test_a_directory_with_too_many_files_is_cut(tmp_path: Path) -> None:
    for number in range(FILES_MAX + 2):
        (tmp_path / f"f{number:05}").touch()
    text, note = bundle_parts.state_directory(tmp_path)
    assert text.count(b"\n") == FILES_MAX + 1
    assert note == "2 more files"


def test_versions_name_python_the_system_and_the_packages() -> None:
    found = bundle_parts.versions()
    assert {"entitlement_sidecar", "python", "system", "packages"} <= found.keys()
    assert "PyJWT" in found["packages"]  # type: ignore[operator]


def test_a_sidecar_that_does_not_answer_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    monkeypatch.setenv("SIDECAR_API_BIND", f"127.0.0.1:{port}")
    sidecar = RunningSidecar()
    with pytest.raises(CommandFailed) as first:
        sidecar.get("/v1/status")
    with Peer([http_answer(200, {})], port=port) as peer, pytest.raises(CommandFailed) as second:
        sidecar.get("/v1/status")
    assert second.value is first.value
    assert peer.requests == []
    assert not sidecar.answered


def test_a_sidecar_that_answers_and_then_is_slow_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    with Peer([http_answer(200, {}), b"", http_answer(200, {"a": 1})]) as peer:
        monkeypatch.setenv("SIDECAR_API_BIND", f"127.0.0.1:{peer.port}")
        sidecar = RunningSidecar()
        sidecar.get("/metrics")
        with pytest.raises(CommandFailed):
            sidecar.get("/v1/usage")
        assert json.loads(sidecar.get("/v1/status").body) == {"a": 1}
    assert sidecar.answered
