"""Ports that are not known beforehand: the real process, its address file and our commands."""

from __future__ import annotations

import json
import signal
import socket
from pathlib import Path
from typing import Any

import pytest

from sidecar.cli import local_client
from sidecar.emulator import Emulator
from tests.acceptance.support import Sidecar, eventually

pytestmark = pytest.mark.slow  # each starts processes

FREE = {"SIDECAR_PROBE_BIND": ":0", "SIDECAR_API_BIND": "127.0.0.1:0", "SIDECAR_DIMENSIONS": "requests"}


def of(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = eventually(lambda: json.loads(path.read_text()))
    return found


def port(url: str) -> int:
    return int(url.rpartition(":")[2])


def test_commands_follow_the_file_and_a_restart_has_the_same_ports(aws: Emulator, tmp_path: Path) -> None:
    path = tmp_path / "shared.json"
    with Sidecar(aws, tmp_path, **FREE, SIDECAR_ADDRESS_FILE=str(path)) as sidecar:
        waited = sidecar.command("wait", "--timeout", "20")
        assert waited.returncode == 0, waited.stderr
        before = of(path)
        (started,) = sidecar.events("sidecar.started")
        assert port(before["probe"]) == port(started["listening"]["probe"][0])
        for command in (["healthcheck"], ["report", "requests", "1"], ["usage"], ["exec", "--", "true"]):
            ended = sidecar.command(*command)
            assert ended.returncode == 0, (command, ended.stderr)
        assert local_client.get_json([("127.0.0.1", port(before["api"]))], "GET /entitled", 5.0)[0] == 200
        sidecar.told()
        assert sidecar.ended() == 0
        assert of(path) == before, "it stays, so that the next start tries the same ports"
        assert sidecar.command("wait", "--timeout", "0").returncode == 69
        with sidecar.start():
            assert sidecar.command("wait", "--timeout", "20").returncode == 0
            after = eventually(lambda: found if (found := of(path)) != before else None)
            assert (after["probe"], after["api"]) == (before["probe"], before["api"])


def test_in_the_sidecars_own_container_a_health_check_needs_no_setting(aws: Emulator, tmp_path: Path) -> None:
    with Sidecar(aws, tmp_path, **FREE) as sidecar:
        eventually(lambda: sidecar.command("healthcheck").returncode == 0)
        assert len(list(tmp_path.glob("addresses*.json"))) == 1
        found = json.loads(sidecar.command("doctor", "--json").stdout)
        (listeners,) = [one for one in found["checks"] if one["id"] == "listeners"]
        assert listeners["status"] == "pass", listeners


def test_another_pods_open_gate_at_an_old_port_is_not_this_ones(aws: Emulator, tmp_path: Path) -> None:
    """Two pods of one product in the node's own network. The second got the port that the first had."""
    mine, theirs = tmp_path / "mine.json", tmp_path / "theirs.json"
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    with Sidecar(aws, first, **FREE, SIDECAR_ADDRESS_FILE=str(mine)) as sidecar:
        assert sidecar.command("wait", "--timeout", "20").returncode == 0
        worker = sidecar.worker()
        sidecar.told(signal.SIGKILL)
        sidecar.ended()
        eventually(lambda: not Path(f"/proc/{worker}").exists())
        old = of(mine)
        given = {name: f"127.0.0.1:{port(old[of_])}" for name, of_ in (("PROBE", "probe"), ("API", "api"))}
        binds = {f"SIDECAR_{name}_BIND": address for name, address in given.items()}
        with Sidecar(aws, second, **(FREE | binds), SIDECAR_ADDRESS_FILE=str(theirs)) as other:
            assert other.command("wait", "--timeout", "20").returncode == 0, "its own gate is open"
            waited = sidecar.command("wait", "--timeout", "1")
            assert (waited.returncode, "another sidecar answers at 127.0.0.1" in waited.stderr) == (69, True)
            assert sidecar.command("healthcheck").returncode == 1
            reported = sidecar.command("report", "requests", "5")
            assert (reported.returncode, "another sidecar answers" in reported.stderr) == (69, True)
            assert "5" not in other.command("usage").stdout, "nothing of ours is on its bill"
            with sidecar.start():
                assert sidecar.command("wait", "--timeout", "20").returncode == 0
                assert port(of(mine)["probe"]) != port(old["probe"]), "its old port is taken"


def test_a_file_of_a_running_sidecar_is_refused_to_a_second_one(aws: Emulator, tmp_path: Path) -> None:
    path = tmp_path / "shared.json"
    with Sidecar(aws, tmp_path, **FREE, SIDECAR_ADDRESS_FILE=str(path)) as sidecar:
        sidecar.logged("sidecar.started")
        before = of(path)
        second = sidecar.command("run")
        assert second.returncode == 78
        assert f"SIDECAR_ADDRESS_FILE: {path} is the file of another sidecar" in second.stderr
        assert of(path) == before


def test_where_no_file_can_be_written_it_does_not_start(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "addresses.json"
    ended = Sidecar(None, tmp_path, **FREE, SIDECAR_ADDRESS_FILE=str(path), SIDECAR_ENTITLEMENT_CHECK="meter_usage")
    found = ended.command("run")
    assert found.returncode == 78
    assert f"{path} cannot be written: No such file or directory. Mount a volume there" in found.stderr


@pytest.mark.parametrize("bind", ["127.0.0.1:0", ":0"])
def test_two_on_one_address_get_different_ports(aws: Emulator, tmp_path: Path, bind: str) -> None:
    given = FREE | {"SIDECAR_PROBE_BIND": bind, "SIDECAR_API_BIND": bind}
    with Sidecar(aws, tmp_path, **given) as sidecar:
        listening = sidecar.logged("sidecar.started")["listening"]
        ports = [port(listening[name][0]) for name in ("probe", "api")]
        assert 0 not in ports
        assert len(set(ports)) == 2
        for one in ports:
            with socket.create_connection(("127.0.0.1", one), 5):
                pass
