"""The command, as a process of its own."""

from __future__ import annotations

import json
import shlex
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jwt
import pytest

from .conftest import code, metered, register

PROGRAM = """
import argparse, sys
from sidecar.emulator import cli, flags
heavy = {"flask", "werkzeug", "jwt", "cryptography", "yaml"} & set(sys.modules)
assert not heavy, heavy
parser = argparse.ArgumentParser(prog="entitlement-sidecar emulator")
flags.add_arguments(parser)
sys.exit(cli.run(parser.parse_args()))
"""

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts the command on a free port, and ends it after the test."""
    running: list[subprocess.Popen[str]] = []

    def begin(*flags: str) -> subprocess.Popen[str]:
        line = [sys.executable, "-c", PROGRAM, "--port", "0", *flags]
        process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        running.append(process)
        return process

    yield begin
    for process in running:
        process.kill()
        process.communicate()


def line(process: subprocess.Popen[str]) -> Any:
    assert process.stdout is not None
    return json.loads(process.stdout.readline())


def finished(*flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, *flags], capture_output=True, text=True, timeout=20, check=False
    )


def test_the_first_line_says_all_a_script_needs_and_the_next_are_events(start: Start) -> None:
    process = start("--json", "--product-code", "prod1", "--product-code", "prod2")
    first = line(process)
    assert first["product_codes"] == ["prod1", "prod2"]
    answer = register(first["url"])
    jwt.decode(answer["Signature"], first["public_keys"][0]["key"], algorithms=["PS256"])
    event = line(process)
    assert (event["event"], event["workload"], event["answer"]) == ("call.answered", "pod-a", "ok")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_well_on_a_signal_even_while_a_call_hangs(start: Start, number: signal.Signals) -> None:
    process = start("--json", "--fault", "RegisterUsage:hang*forever")
    port = int(line(process)["url"].rpartition(":")[2])
    head = "AWS4-HMAC-SHA256 Credential=k/20261120/us-east-1/aws-marketplace/aws4_request"
    with socket.create_connection(("127.0.0.1", port), timeout=5) as hanging:
        hanging.sendall(
            "POST / HTTP/1.1\r\nHost: x\r\nX-Amz-Target: AWSMPMeteringService.RegisterUsage\r\n"
            f"Authorization: {head}, SignedHeaders=host, Signature=0\r\nContent-Length: 2\r\n\r\n{{}}".encode()
        )
        assert line(process)["answer"] == "hang"
        process.send_signal(number)
        assert process.wait(timeout=10) == 0
        assert hanging.recv(1) == b""


def test_flags_become_knobs(start: Start) -> None:
    process = start(
        *("--json", "--product-code", "prod1", "--account", "999999999999", "--region", "eu-west-1"),
        *("--key-bits", "1024", "--key-version", "3", "--key-version", "4", "--superseded", "3"),
        *("--claims", "both", "--no-iat", "--fault", "RegisterUsage:ThrottlingException*1"),
    )
    first = line(process)
    assert [each["version"] for each in first["public_keys"]] == [3, 4]
    assert code(lambda: register(first["url"], region="eu-west-1")) == "ThrottlingException"
    answer = register(first["url"], region="eu-west-1", PublicKeyVersion=3)
    assert answer["PublicKeyRotationTimestamp"]
    claims = jwt.decode(answer["Signature"], options={"verify_signature": False})
    assert ("iat" in claims, claims["productCode"], claims["ProductCode"]) == (False, "prod1", "prod1")


def test_the_quotas_flag_keeps_awss_quotas(start: Start) -> None:
    first = line(start("--json", "--key-bits", "1024", "--quotas"))
    with urllib.request.urlopen(f"{first['url']}/_emulator/state", timeout=5) as state:
        assert json.load(state)["behaviour"]["quotas"] == 1


def test_an_unsubscribed_customer_can_be_had_and_the_platform_too(start: Start) -> None:
    unsubscribed = line(start("--json", "--product-code", "prod1", "--unsubscribed"))
    assert code(lambda: register(unsubscribed["url"])) == "CustomerNotEntitledException"
    laptop = line(start("--json", "--product-code", "prod1", "--platform", "none"))
    assert code(lambda: register(laptop["url"])) == "PlatformNotSupportedException"


def test_metering_flags_become_dimensions_a_clock_and_a_stricter_dry_run(start: Start) -> None:
    process = start(
        *("--json", "--product-code", "prod1", "--unsubscribed", "--dry-run-checks-subscription"),
        *("--dimension", "users", "--dimension", "jobs"),
        *("--clock-start", "2030-01-31T23:59:00Z", "--clock-speed", "0"),
    )
    first = line(process)
    assert first["dimensions"] == ["users", "jobs"]
    with urllib.request.urlopen(f"{first['url']}/_emulator/clock", timeout=5) as clock:
        assert json.load(clock) == {"now": 1_896_134_340.0, "speed": 0.0}
    at = datetime(2030, 1, 31, 23, tzinfo=UTC)
    dry = {"Timestamp": at, "UsageDimension": "jobs", "DryRun": True}
    assert metered(first["url"], **dry) == "CustomerNotEntitledException"
    urllib.request.urlopen(f"{first['url']}/_emulator/subscribe", data=b"", timeout=5).close()
    assert metered(first["url"], **dry) == "DryRunOperation"
    event = line(process)
    assert (event["operation"], event["at"]) == ("MeterUsage", "2030-01-31T23:59:00.000Z")


def test_a_timeline_says_what_it_did(start: Start, tmp_path: Path) -> None:
    (tmp_path / "script.yaml").write_text("- {after: 0, do: unsubscribe}\n")
    process = start("--json", "--timeline", str(tmp_path / "script.yaml"))
    line(process)
    event = line(process)
    assert (event["event"], event["do"], event["with"]) == ("timeline.played", "unsubscribe", {})


def test_the_newest_public_key_is_written_where_asked(start: Start, tmp_path: Path) -> None:
    keys = line(start("--json", "--public-key-file", str(tmp_path / "key.pem")))["public_keys"]
    assert (tmp_path / "key.pem").read_text() == keys[-1]["key"]


def greeting(process: subprocess.Popen[str]) -> str:
    """Return the lines for a person up to "What it knows"."""
    assert process.stdout is not None
    said: list[str] = []
    while not said or not said[-1].startswith("What it knows"):
        said.append(process.stdout.readline())
        assert said[-1], process.communicate()
    return "".join(said)


def test_a_person_is_told_what_to_export(start: Start, tmp_path: Path) -> None:
    process = start("--public-key-file", str(tmp_path / "key.pem"))
    text = greeting(process)
    assert process.stdout is not None
    assert "export SIDECAR_ENDPOINT_URL=http://127.0.0.1:" in text
    assert "export SIDECAR_PRODUCT_CODE=demo-product\n" in text
    assert f"export SIDECAR_PUBLIC_KEY_FILE={tmp_path}/key.pem\n" in text
    assert "/_emulator/bill (dimensions: requests)" in process.stdout.readline()


def test_a_license_adds_what_a_contract_exports_and_without_one_nothing(start: Start) -> None:
    license = {"sku": "prod-1", "entitlements": [{"name": "disk", "unit": "Gigabytes", "max_count": 5}]}
    text = greeting(start("--license", json.dumps(license)))
    (line,) = (one for one in text.splitlines() if one.startswith("export SIDECAR_LICENSES="))
    (value,) = shlex.split(line.partition("=")[2], comments=True)
    assert json.loads(value) == [{"name": "disk", "unit": "Gigabytes", "take": "check"}]
    assert "export SIDECAR_PRODUCT_SKU=prod-1\n" in text
    assert "checkout_license" not in greeting(start())


def test_an_agents_sidecar_is_told_its_platform_and_others_are_not(start: Start) -> None:
    text = greeting(start("--platform", "agentcore", "--dimension", "requests", "--dimension", "tokens"))
    assert "export SIDECAR_PLATFORM=agentcore SIDECAR_ENTITLEMENT_CHECK=meter_usage\n" in text
    assert "export SIDECAR_DIMENSIONS=requests,tokens\n" in text
    assert "SIDECAR_PLATFORM" not in greeting(start())


def test_nobody_reading_delays_no_answer(start: Start) -> None:
    process = start("--json", "--product-code", "prod1")
    first = line(process)
    assert process.stdout is not None
    process.stdout.close()
    assert [code(lambda: register(first["url"])) for _ in range(3)] == ["ok"] * 3
    process.terminate()
    assert process.wait(timeout=10) == 0


def test_a_port_in_use_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ended = finished("--port", port)
    assert ended.returncode == 69
    assert f"port {port} on 127.0.0.1 cannot be had: Address already in use" in ended.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flags", "names"),
    [
        (("--fault", "RegisterUsage:nonsense"), "kind:"),
        (("--fault", "hang"), "OPERATION:KIND"),
        (("--timeline", "/absent/script.yaml"), "/absent/script.yaml: cannot be read"),
        (("--fault", "DescribeAgreement:hang"), "operation:"),
        (("--clock-start", "yesterday"), "--clock-start: must be Unix seconds, or ISO 8601"),
        (("--clock-start", "2026-01-31T23:59:00"), "--clock-start: must be"),
        (("--clock-speed", "-1"), "speed: must be 0 to"),
        (("--clock-speed", "nan"), "speed: must be 0 to"),
        (("--dimension", ""), "dimensions: must be"),
        (("--superseded", "2"), "--superseded 2"),
        (("--key-version", "0"), "at least 1"),
        (("--public-key-file", "/absent/key.pem"), "/absent/key.pem"),
    ],
)
def test_a_wrong_flag_ends_it_with_its_name(flags: tuple[str, ...], names: str) -> None:
    ended = finished("--port", "0", *flags)
    assert ended.returncode == 78
    assert names in ended.stderr
    assert ended.stdout == ""


def test_the_help_teaches() -> None:
    ended = finished("--help")
    assert ended.returncode == 0
    assert "examples:" in ended.stdout
    assert "drop_after" in ended.stdout
