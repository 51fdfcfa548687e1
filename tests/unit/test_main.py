"""The command line: which command is meant, how it ends, and what its help says."""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from sidecar.__main__ import MANIFEST, main
from sidecar.cli.parser import build_parser
from sidecar.settings.table import BY_NAME, MANIFEST_PATH
from tests.fakes.config import NOWHERE, PRODUCT
from tests.fakes.keys import body_of, private_pem, public_pem

ROOT = Path(__file__).parents[2]
Capture = pytest.CaptureFixture[str]
Write = Callable[[object], str]


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("SIDECAR_"):
            monkeypatch.delenv(name)


@pytest.fixture
def configured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIDECAR_PRODUCT_CODE", PRODUCT)
    monkeypatch.setenv("SIDECAR_PUBLIC_KEY", public_pem())


@pytest.fixture
def file(tmp_path: Path) -> Write:
    def write(content: object) -> str:
        path = tmp_path / "product.yaml"
        path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
        return str(path)

    return write


def code(*argv: str, manifest: str = str(NOWHERE)) -> int:
    """How the command ends, whether it returns or leaves."""
    try:
        return main(list(argv), manifest)
    except SystemExit as exc:
        return int(exc.code or 0)


def commands(parser: argparse.ArgumentParser | None = None, before: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for action in (parser or build_parser())._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, sub in action.choices.items():
                inner = list(commands(sub, (*before, name)))
                yield from inner or [(*before, name)]


NAMES = list(commands())


def test_the_commands_are_those_of_the_contract_so_far() -> None:
    assert {" ".join(one) for one in NAMES} >= {
        "run",
        "wait",
        "exec",
        "healthcheck",
        "recheck",
        "report",
        "usage retry",
        "usage export",
        "verify",
        "manifest check",
        "settings",
        "emulator",
        "demo",
    }


@pytest.mark.parametrize("name", NAMES, ids=" ".join)
def test_every_command_says_what_it_does_how_it_ends_and_an_example(capsys: Capture, name: tuple[str, ...]) -> None:
    assert code(*name, "--help") == 0
    usage, _, text = capsys.readouterr().out.partition("\n\n")
    assert usage.startswith("usage: entitlement-sidecar " + name[0])
    assert re.search(r"^exit( status)?: (0|as wait)", text, re.M)
    assert re.search(rf"^ .*(entitlement-sidecar {' '.join(name)}|\"{name[0]}\")", text, re.M)


def test_a_mistyped_flag_of_run_is_a_bad_setting_with_a_suggestion(capsys: Capture) -> None:
    assert code("run", "--on-denid", "exit", "--nonsense") == 78
    err = capsys.readouterr().err
    assert "Did you mean --on-denied?" in err
    assert "--nonsense" in err


@pytest.mark.parametrize("argv", [(), ("nonsense",), ("manifest",), ("manifest", "nonsense"), ("wait", "--nonsense")])
def test_what_is_no_command_is_2(capsys: Capture, argv: tuple[str, ...]) -> None:
    assert code(*argv) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "usage: entitlement-sidecar" in err


def test_help_and_version_are_0(capsys: Capture) -> None:
    assert code("--help") == 0
    assert "demo" in capsys.readouterr().out
    assert code("--version") == 0
    assert capsys.readouterr().out.startswith("entitlement-sidecar ")


def test_the_manifest_lies_where_nothing_moves_it() -> None:
    assert Path(MANIFEST) == MANIFEST_PATH


# -- arguments


@pytest.mark.parametrize("seconds", ["-1", "soon", "nan", "inf", "1e9", ""])
def test_a_timeout_is_a_number_of_seconds(capsys: Capture, seconds: str) -> None:
    assert code("wait", "--timeout", seconds) == 2
    assert code("exec", f"--timeout={seconds}", "--", "true") == 2


def test_a_command_to_become_is_written_after_dashes(capsys: Capture) -> None:
    assert code("exec") == 2
    assert "--" in capsys.readouterr().err
    assert code("exec", "--") == 2
    assert code("exec", "true") == 2


def test_wait_and_exec_have_codes_of_their_own(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    assert code("exec", "--", "/no/such") == 127
    assert code("wait", "--url", "nonsense") == 78
    assert "--url" in capsys.readouterr().err


# -- settings


def test_bad_settings_are_78_and_told_all_at_once_on_stderr(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIDECAR_ON_DENIED", "stop")
    assert code("settings", "--log-level", "loud") == 78
    out, err = capsys.readouterr()
    assert out == ""
    for words in ("SIDECAR_ON_DENIED", "--log-level", "SIDECAR_PRODUCT_CODE", "SIDECAR_PUBLIC_KEY"):
        assert words in err
    assert "Traceback" not in err


@pytest.mark.usefixtures("configured")
def test_the_effective_settings_are_tab_separated_and_show_no_key(capsys: Capture) -> None:
    assert code("settings", "--on-denied", "exit") == 0
    out = capsys.readouterr().out
    rows = {line.split("\t")[0]: line.split("\t")[1:] for line in out.splitlines()}
    assert rows["SIDECAR_ON_DENIED"] == ["exit", "flag"]
    assert rows["SIDECAR_PRODUCT_CODE"] == [PRODUCT, "environment"]
    assert {len(row) for row in rows.values()} == {2}
    assert body_of(public_pem()) not in out


def test_the_schema_and_the_table_need_no_settings(capsys: Capture) -> None:
    assert code("settings", "--schema") == 0
    assert json.loads(capsys.readouterr().out) == json.loads((ROOT / "docs/reference/settings.schema.json").read_text())
    assert code("settings", "--markdown") == 0
    assert capsys.readouterr().out.startswith("| Setting |")
    assert code("settings", "--schema", "--markdown") == 2


@pytest.mark.usefixtures("configured")
def test_a_flag_is_read_as_every_setting_is(capsys: Capture, file: Write) -> None:
    assert code("settings", "--config", file({"flush_seconds": 3})) == 0
    assert "SIDECAR_FLUSH_SECONDS\t3\tfile" in capsys.readouterr().out


def test_run_with_bad_settings_ends_with_78_and_a_note(tmp_path: Path) -> None:
    note = tmp_path / "note"
    note.write_text("")
    env = {"PATH": os.environ["PATH"], "SIDECAR_TERMINATION_LOG": str(note), "SIDECAR_ON_DENIED": "stop"}
    for argv in (["run"], ["run", "--log-level", "info"]):
        note.write_text("")
        ended = subprocess.run(
            [sys.executable, "-m", "sidecar", *argv], cwd=ROOT, env=env, capture_output=True, text=True, timeout=60
        )
        assert ended.returncode == 78
        assert ended.stdout == ""
        assert "SIDECAR_ON_DENIED" in ended.stderr
        assert "Traceback" not in ended.stderr
        assert note.read_text().strip() == ended.stderr.strip()


# -- manifest check


GOOD = {"products": [{"code": "a", "public_keys": [{"version": 2, "key": public_pem()}]}], "on_denied": "exit"}


def test_a_good_manifest_is_0_and_says_what_it_seals(capsys: Capture, file: Write) -> None:
    assert code("manifest", "check", file(GOOD)) == 0
    out, err = capsys.readouterr()
    first, second, third = out.splitlines()
    assert first == "product a: public key versions 2, entitlement check register_usage"
    assert second == "sealed: on_denied"
    left = set(third.removeprefix("open: ").split(", "))
    closed = {"product_code", "public_key", "public_key_file", "public_key_version", "entitlement_check", "on_denied"}
    assert left == set(BY_NAME) - closed - {"endpoint_url", "clock_url"}
    assert err == "warning: no dimensions are sealed for a; the settings may then meter any, or none\n"


KEYLESS = {"code": "a", "dimensions": []}
BY_METER_USAGE = {"code": "a", "dimensions": ["x"], "entitlement_check": "meter_usage"}


@pytest.mark.parametrize(
    ("content", "warned", "open_too"),
    [
        ({"products": [GOOD["products"][0] | {"dimensions": []}]}, [], set()),  # type: ignore[index]
        ({"products": [KEYLESS]}, ["no key is sealed", "no entitlement_check"], {"public_key", "entitlement_check"}),
        ({"products": [KEYLESS], "entitlement_check": "register_usage"}, ["no key is sealed"], {"public_key"}),
        ({"products": [KEYLESS], "public_key": public_pem()}, [], {"public_key_version"}),
        ({"products": [BY_METER_USAGE]}, ["AWS signs no answer"], {"public_key"}),
        ({"products": [{"code": "a"}], "dimensions": ["x"], "entitlement_check": "meter_usage"}, ["AWS signs"], set()),
        (
            {"products": [GOOD["products"][0] | {"dimensions": []}], "allow_endpoint_override": True},  # type: ignore[index]
            ["allow_endpoint_override is for tests"],
            {"endpoint_url", "clock_url"},
        ),
    ],
)
def test_what_a_manifest_leaves_to_outside_is_listed_and_warned_of(
    content: object, warned: list[str], open_too: set[str], capsys: Capture, file: Write
) -> None:
    assert code("manifest", "check", file(content)) == 0
    out, err = capsys.readouterr()
    assert len(err.splitlines()) == len(warned)
    assert all(words in line for words, line in zip(warned, err.splitlines(), strict=True))
    assert open_too <= set(out.splitlines()[-1].removeprefix("open: ").split(", "))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({}, "products"),
        (GOOD | {"on_deny": "exit"}, "on_deny"),
        (GOOD | {"public_key_file": "/etc/key.pem"}, "Write the key itself into public_keys"),
        ("a: [", "is not YAML"),
        ("- a", "no mapping"),
        ({"products": [{"code": "a", "public_keys": [{"version": 1, "key": private_pem()}]}]}, "private key"),
    ],
)
def test_a_bad_manifest_is_78_and_says_where(capsys: Capture, file: Write, content: object, words: str) -> None:
    assert code("manifest", "check", file(content)) == 78
    out, err = capsys.readouterr()
    assert out == ""
    assert words in err
    assert body_of(private_pem()) not in err


def test_a_manifest_that_is_not_there_is_78(capsys: Capture) -> None:
    assert code("manifest", "check", str(NOWHERE)) == 78
    assert code("manifest", "check") == 78


def test_the_manifests_schema_needs_no_file(capsys: Capture) -> None:
    assert code("manifest", "check", "--schema") == 0
    published = ROOT / "docs/reference/product-manifest.schema.json"
    assert json.loads(capsys.readouterr().out) == json.loads(published.read_text())


# -- verify, healthcheck, recheck


def test_verify_wants_all_it_compares_with(capsys: Capture) -> None:
    assert code("verify", "token") == 2
    assert code("verify", "t", "--public-key", "k", "--key-version", "x", "--product-code", "c", "--nonce", "n") == 2
    given = ("--public-key", str(NOWHERE), "--key-version", "1", "--product-code", "c", "--nonce", "n")
    assert code("verify", "t", *given) == 78


def test_a_rejected_token_is_77(capsys: Capture, tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_text(public_pem())
    given = ("--public-key", str(tmp_path / "key.pem"), "--key-version", "1", "--product-code", "c", "--nonce", "n")
    assert code("verify", "t", *given) == 77


def test_a_health_check_without_a_sidecar_is_1_on_stdout(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIDECAR_PROBE_BIND", "127.0.0.1:1")
    assert code("healthcheck") == 1
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 1
    assert err == ""


@pytest.mark.parametrize("command", ["recheck", "pre-stop"])
def test_what_is_told_to_no_sidecar_is_69(capsys: Capture, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    monkeypatch.setenv("SIDECAR_API_BIND", "127.0.0.1:1")
    assert code(command) == 69
    assert "no sidecar answers" in capsys.readouterr().err


def test_the_package_runs_as_a_module() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "sidecar", "--version"], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert (ended.returncode, ended.stderr) == (0, "")
