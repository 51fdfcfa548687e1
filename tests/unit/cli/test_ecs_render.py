"""`ecs render`: files, streams and exit codes."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sidecar.__main__ import main
from sidecar.taskdef.container import NAME
from sidecar.taskdef.render import difference
from tests.unit.taskdef.support import FARGATE_APP, IMAGE, merged

DEEP = '{"containerDefinitions": [{"name": "app"}], "x": ' + "[" * 5_000 + "]" * 5_000 + "}"


def run(*argv: str) -> int:
    try:
        return main(["ecs", "render", *argv])
    except SystemExit as exc:
        return int(exc.code or 0)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "taskdef.json"
    path.write_text(json.dumps(FARGATE_APP))
    return path


def test_json_goes_to_stdout_and_the_diff_to_stderr(capsys: pytest.CaptureFixture[str], file: Path) -> None:
    assert run(str(file), "--gate", "app", "--image", IMAGE) == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == merged(FARGATE_APP)
    assert f'+      "name": "{NAME}",' in err
    assert json.loads(file.read_text()) == FARGATE_APP


def test_the_output_may_replace_the_input(capsys: pytest.CaptureFixture[str], file: Path) -> None:
    assert run(str(file), "--gate", "app", "--image", IMAGE, "--output", str(file)) == 0
    assert capsys.readouterr().out == ""
    assert run(str(file), "--gate", "app", "--output", str(file)) == 0
    assert capsys.readouterr().err.startswith("nothing changes")


def test_a_described_definition_is_compared_as_it_can_be_registered(
    capsys: pytest.CaptureFixture[str], file: Path
) -> None:
    described = {"taskDefinitionArn": "arn", **FARGATE_APP, "revision": 7, "status": "ACTIVE"}
    file.write_text(json.dumps({"taskDefinition": described, "tags": []}))
    assert run(str(file), "--gate", "app", "--image", IMAGE) == 0
    out, err = capsys.readouterr()
    assert err.startswith(difference(FARGATE_APP, merged(FARGATE_APP), str(file)))
    assert "does not take them: taskDefinitionArn, revision, status" in err
    file.write_text(json.dumps({"taskDefinition": {**json.loads(out), "revision": 8}, "tags": []}))
    assert run(str(file), "--gate", "app") == 0
    assert capsys.readouterr().err.startswith("nothing changes\nnote: Left out")


def test_a_dash_reads_stdin(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(json.dumps(FARGATE_APP).encode())))
    assert run("-", "--gate", "app", "--image", IMAGE) == 0
    assert json.loads(capsys.readouterr().out) == merged(FARGATE_APP)


@pytest.mark.parametrize("text", ["", "{", "[]", '"x"', "{}", "[" * 200_000, DEEP])
def test_text_that_is_no_definition_is_78_and_nothing_is_written(
    capsys: pytest.CaptureFixture[str], file: Path, text: str
) -> None:
    file.write_text(text)
    assert run(str(file), "--gate", "app", "--image", IMAGE, "--output", str(file)) == 78
    out, err = capsys.readouterr()
    assert (out, file.read_text()) == ("", text)
    assert "nothing was written" in err
    assert "Traceback" not in err


ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le"]
NAMED = FARGATE_APP | {"tags": [{"key": "Besitzer", "value": "Käthe 日本 🐙"}]}


@pytest.mark.slow
@pytest.mark.parametrize("locale", [{"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
                                    {"PYTHONIOENCODING": "cp1252"}], ids=["C", "cp1252"])  # fmt: skip
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_definition_is_read_in_its_own_encoding(file: Path, encoding: str, locale: dict[str, str]) -> None:
    """PowerShell writes UTF-16, Notepad a byte order mark; what comes out is UTF-8 on stdout as in a file."""
    content = json.dumps(NAMED, ensure_ascii=False).encode(encoding)
    file.write_bytes(content)
    command = [sys.executable, "-m", "sidecar", "ecs", "render", "--gate", "app", "--image", IMAGE]
    environment = {"PATH": os.environ["PATH"]} | locale
    piped = subprocess.run([*command, "-"], input=content, env=environment, capture_output=True, check=True)
    assert json.loads(piped.stdout.decode("utf-8")) == merged(NAMED)
    to_file = [*command, str(file), "--output", str(file)]
    assert subprocess.run(to_file, env=environment, capture_output=True, check=True).stdout == b""
    assert file.read_bytes() == piped.stdout


@pytest.mark.parametrize("content", ["Käthe".encode("latin-1"), b"\xff\xfe{", b"\x80"])
def test_bytes_in_no_encoding_of_json_are_78(capsys: pytest.CaptureFixture[str], file: Path, content: bytes) -> None:
    file.write_bytes(b'{"family": "' + content)
    if content.startswith(b"\xff"):
        file.write_bytes(content)
    assert run(str(file), "--gate", "app", "--image", IMAGE) == 78
    assert "Save it as UTF-8" in capsys.readouterr().err


def test_half_a_surrogate_pair_is_refused(capsys: pytest.CaptureFixture[str], file: Path) -> None:
    file.write_text(json.dumps(FARGATE_APP | {"family": "\ud800"}))
    assert run(str(file), "--gate", "app", "--image", IMAGE) == 78
    assert "surrogates not allowed" in capsys.readouterr().err


def test_files_that_cannot_be_read_or_written_are_78(capsys: pytest.CaptureFixture[str], file: Path) -> None:
    assert run(str(file.parent / "none.json"), "--gate", "app", "--image", IMAGE) == 78
    assert "none.json" in capsys.readouterr().err
    assert run(str(file), "--gate", "app", "--image", IMAGE, "--output", str(file.parent)) == 78
    assert "--output" in capsys.readouterr().err


def test_an_unknown_launch_type_is_a_usage_error(capsys: pytest.CaptureFixture[str], file: Path) -> None:
    assert run(str(file), "--gate", "app", "--launch-type", "LAMBDA") == 2
    assert "FARGATE" in capsys.readouterr().err


def test_rendering_needs_neither_emulator_nor_sdk() -> None:
    code = (
        "import sys; sys.modules |= dict.fromkeys(('sidecar.emulator', 'botocore', 'flask', 'h11', 'jwt'));"
        "import sidecar.cli.ecs_render, sidecar.taskdef.render"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
