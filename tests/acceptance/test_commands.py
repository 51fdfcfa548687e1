"""The commands a product, a health check and a person use, as real processes."""

from __future__ import annotations

import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sidecar.cli.demo import ROUTES
from sidecar.emulator import Emulator
from tests.acceptance.support import PRODUCT, Sidecar, clean_environment, eventually

HELLO = [sys.executable, "-c", "import sys; print('product runs'); sys.exit(5)"]


def test_exec_starts_the_product_only_once_entitled_and_becomes_it(aws: Emulator, tmp_path: Path) -> None:
    aws.fault("RegisterUsage", "ThrottlingException", times=2)
    with Sidecar(aws, tmp_path) as sidecar:
        done = sidecar.command("exec", "--", *HELLO)
        assert done.returncode == 5, "the product's own exit code"
        assert done.stdout == "product runs\n"
        assert "pending" in done.stderr or "waiting" in done.stderr


def test_exec_never_starts_a_denied_product(aws: Emulator, tmp_path: Path) -> None:
    aws.unsubscribe()
    with Sidecar(aws, tmp_path) as sidecar:
        done = sidecar.command("exec", "--timeout", "20", "--", *HELLO)
    assert done.returncode == 77
    assert "product runs" not in done.stdout
    assert "customer_not_entitled" in done.stderr


@pytest.mark.slow
def test_wait_gives_up_after_its_time_with_69(aws: Emulator, tmp_path: Path) -> None:
    aws.fault("RegisterUsage", "ThrottlingException", times=None)
    with Sidecar(aws, tmp_path) as sidecar:
        done = sidecar.command("wait", "--timeout", "1")
        assert done.returncode == 69
        assert "not entitled within 1 s" in done.stderr


@pytest.mark.slow
def test_wait_begun_before_the_sidecar_succeeds_once_it_is_there(aws: Emulator, tmp_path: Path) -> None:
    sidecar = Sidecar(aws, tmp_path)
    waiting = subprocess.Popen(
        [sys.executable, "-m", "sidecar", "wait"], env=sidecar.env, stderr=subprocess.PIPE, text=True
    )
    assert waiting.stderr is not None
    assert "waiting for the sidecar" in waiting.stderr.readline()
    with sidecar:
        assert waiting.wait(20) == 0
    waiting.stderr.close()


@pytest.mark.slow
def test_wait_can_ask_another_workloads_sidecar(aws: Emulator, tmp_path: Path) -> None:
    with Sidecar(aws, tmp_path) as sidecar:
        url = f"http://127.0.0.1:{sidecar.probe_port}"
        elsewhere = {"SIDECAR_PROBE_BIND": "127.0.0.1:9"}
        assert sidecar.command("wait", "--timeout", "15", "--url", url, **elsewhere).returncode == 0
        assert sidecar.command("wait", "--timeout", "1", **elsewhere).returncode == 69
        assert sidecar.command("wait", "--url", "ftp://x", **elsewhere).returncode == 78


@pytest.mark.slow
def test_wait_ends_on_sigterm(tmp_path: Path) -> None:
    sidecar = Sidecar(None, tmp_path)
    waiting = subprocess.Popen(
        [sys.executable, "-m", "sidecar", "wait"], env=sidecar.env, stderr=subprocess.PIPE, text=True
    )
    assert waiting.stderr is not None
    waiting.stderr.readline()
    waiting.send_signal(signal.SIGTERM)
    assert waiting.wait(5) == 143
    waiting.stderr.close()


def test_healthcheck_prints_one_line_and_its_exit_code_is_the_gate(aws: Emulator, tmp_path: Path) -> None:
    sidecar = Sidecar(aws, tmp_path)
    gone = sidecar.command("healthcheck")
    assert gone.returncode == 1
    assert gone.stdout.startswith("unreachable: ")
    with sidecar:
        sidecar.shows("entitled")
        fine = sidecar.command("healthcheck")
        assert fine.returncode == 0
        assert fine.stdout.startswith("entitled (registered): ")
    aws.unsubscribe()
    with Sidecar(aws, tmp_path) as denied:
        denied.shows("denied")
        shut = denied.command("healthcheck")
        assert shut.returncode == 1
        assert shut.stdout.startswith("denied (customer_not_entitled): ")
        assert shut.stdout.count("\n") == 1


@pytest.mark.slow
def test_healthcheck_follows_a_listener_that_a_settings_file_moved(aws: Emulator, tmp_path: Path) -> None:
    sidecar = Sidecar(aws, tmp_path)
    file = tmp_path / "settings.yaml"
    file.write_text(f'probe_bind: "127.0.0.1:{sidecar.probe_port}"\n')
    del sidecar.env["SIDECAR_PROBE_BIND"]
    sidecar.env["SIDECAR_CONFIG"] = str(file)
    with sidecar:
        sidecar.shows("entitled")
        assert sidecar.command("healthcheck").returncode == 0


@pytest.mark.slow
def test_settings_shows_each_value_with_its_source(aws: Emulator, tmp_path: Path) -> None:
    done = Sidecar(aws, tmp_path).command("settings", "--on-denied", "exit")
    assert done.returncode == 0
    rows = {row.split("\t")[0]: row.split("\t")[1:] for row in done.stdout.splitlines()}
    assert rows["SIDECAR_ON_DENIED"] == ["exit", "flag"]
    assert rows["SIDECAR_PRODUCT_CODE"] == [PRODUCT, "environment"]
    assert rows["SIDECAR_REASK_SECONDS"] == ["300", "default"]
    assert "BEGIN PUBLIC KEY" not in done.stdout


STORIES = {
    "hourly": [
        "pending (",
        "entitled (registered)",
        "the product says: hello",
        "denied (customer_not_entitled)",
        "never started",
    ],
    "contract": [
        "entitled (licenses_allowed)",
        "the product says: hello",
        "1 of 1 seats",
        "17 of 1000 pages",
        "settled 17",
        "denied (no_entitlements_allowed)",
        "checks the seat in",
        "entitled (licenses_allowed)",
        "the product says: hello",
        "denied (no_entitlements_allowed)",
        "never started",
    ],
    "saas": [
        "POST /v1/customers/resolve → 200",
        '{"accepted": 0, "duplicates": 1}',
        "BatchMeterUsage was sent",
        "AWS's bill: 17 requests",
        "Purchase Agreement Ended",
        "AWS's bill: 4 requests",
        "422 customer_closed",
        "nothing was lost",
    ],
}
"""Route → what it prints, in order."""


def test_every_route_of_the_demo_has_its_story_here() -> None:
    assert set(STORIES) == set(ROUTES)


@pytest.mark.slow
@pytest.mark.parametrize("route", STORIES)
def test_the_demo_tells_its_story_and_ends_by_itself(route: str, tmp_path: Path) -> None:
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "sidecar", "demo", "--route", route],
        env=clean_environment() | {"TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    place, told = 0, " ".join(done.stdout.split())  # lines are wrapped wherever they are full
    for words in STORIES[route]:
        assert words in told[place:], f"{words}\n{done.stdout}"
        place = told.index(words, place) + len(words)
    assert list(tmp_path.iterdir()) == [], "nothing is left behind"
    assert time.monotonic() - began < 80


@pytest.mark.slow
def test_the_demo_ignores_the_configuration_around_it(tmp_path: Path) -> None:
    hostile = {"SIDECAR_ON_DENIED": "nonsense", "AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_PROFILE": "none"}
    done = subprocess.run(
        [sys.executable, "-m", "sidecar", "demo"],
        env=clean_environment() | hostile | {"TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_the_demo_cleans_up_when_told_to_end(tmp_path: Path) -> None:
    demo = subprocess.Popen(
        [sys.executable, "-m", "sidecar", "demo"],
        env=clean_environment() | {"TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert demo.stdout is not None
    eventually(lambda: "Act 1" in demo.stdout.readline())
    demo.send_signal(signal.SIGTERM)
    assert demo.wait(20) == 143
    demo.stdout.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["docter", "nonsense"])
def test_a_command_that_does_not_exist_is_refused_like_any_other(command: str, tmp_path: Path) -> None:
    done = Sidecar(None, tmp_path).command(command)
    assert done.returncode == 2
    assert "invalid choice" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("route", ["POST /v1/usages", "POST /v1/proofs", "GET /openapi.yaml"])
def test_a_route_that_does_not_exist_is_refused_like_any_other(aws: Emulator, tmp_path: Path, route: str) -> None:
    with Sidecar(aws, tmp_path) as sidecar:
        sidecar.shows("entitled")
        status, found = sidecar.api(route)
        assert (status, found["reason"]) == (404, "not_found")


# -- what they print may find no reader

FULL = "exec {command} >/dev/full"
CLOSED = "exec {command} >&-"
GONE = "set -o pipefail; {command} | true"


def shell(sidecar: Sidecar, form: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    line = shlex.join([sys.executable, "-m", "sidecar", *arguments])
    argv = ["bash", "-c", form.format(command=line)]
    return subprocess.run(argv, env=sidecar.env, capture_output=True, text=True, timeout=30, check=False)


@pytest.mark.slow
@pytest.mark.parametrize("form", [FULL, CLOSED, GONE], ids=["full", "closed", "gone"])
def test_a_report_that_was_kept_ends_with_0_whoever_hears_it(aws: Emulator, tmp_path: Path, form: str) -> None:
    with Sidecar(aws, tmp_path, SIDECAR_DIMENSIONS="requests") as sidecar:
        sidecar.logged("ledger.opened")
        done = shell(sidecar, form, "report", "requests", "1", "--id", "a")
        assert (done.returncode, done.stderr) == (0, "")
        again = sidecar.command("report", "requests", "1", "--id", "a")
        assert again.stdout == "duplicate\n"


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [("settings", "--markdown"), ("usage",)], ids=" ".join)
def test_what_cannot_be_printed_is_a_line_and_not_a_traceback(
    aws: Emulator, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    with Sidecar(aws, tmp_path, SIDECAR_DIMENSIONS="requests") as sidecar:
        sidecar.logged("ledger.opened")
        full, gone = shell(sidecar, FULL, *arguments), shell(sidecar, GONE, *arguments)
    assert (full.returncode, full.stderr) == (1, "stdout cannot be written: No space left on device\n")
    assert gone.stderr == ""


@pytest.mark.slow
def test_with_a_token_the_commands_work_and_a_request_without_it_does_not(aws: Emulator, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("token-of-the-acceptance-test\n")
    with Sidecar(aws, tmp_path, SIDECAR_API_TOKEN_FILE=str(token), SIDECAR_DIMENSIONS="requests") as sidecar:
        sidecar.shows("entitled")
        assert sidecar.api("GET /v1/status")[0] == 401
        assert sidecar.api("POST /v1/usage")[0] == 401
        assert sidecar.api("GET /entitled")[0] == 200
        assert sidecar.command("report", "requests", "2").stdout == "accepted\n"
        assert "requests" in sidecar.command("usage").stdout
        assert sidecar.command("usage", "export").returncode == 0
        assert sidecar.command("recheck").returncode in (0, 69), "429 where AWS was asked just now"
        refused = sidecar.command("report", "requests", "2", SIDECAR_API_TOKEN_FILE="")
        assert (refused.returncode, "token_refused" in refused.stderr) == (65, True)
        assert token.read_text().strip() not in sidecar.text()
        assert token.read_text().strip() not in sidecar.command("settings").stdout


@pytest.mark.slow
def test_a_sidecar_without_its_token_does_not_start(aws: Emulator, tmp_path: Path) -> None:
    with Sidecar(aws, tmp_path, SIDECAR_API_TOKEN_FILE=str(tmp_path / "absent")) as sidecar:
        assert sidecar.ended() == 78
        assert "SIDECAR_API_TOKEN_FILE" in sidecar.text()
