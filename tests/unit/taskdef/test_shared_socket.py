"""In the instance's own network a task has ports and a socket of its own, or what the seller has set."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sidecar.taskdef import shared_socket
from sidecar.taskdef.container import EC2, NAME
from sidecar.taskdef.render import RenderOptions, render
from sidecar.taskdef.shared_socket import BIND, DIRECTORY, VOLUME
from tests.ecs.templates import product
from tests.unit.taskdef.support import BRIDGE_APP, EC2_APP, IMAGE, container, merged, refused, variables, with_sidecar

HOST_APP = product(EC2, "host")


def app_variables(made: dict[str, Any]) -> dict[str, str]:
    return {one["name"]: one["value"] for one in container(made, "app").get("environment", [])}


def test_no_port_is_fixed_and_the_product_finds_the_socket() -> None:
    made, notes = render(HOST_APP, RenderOptions(gate=["app"], image=IMAGE))
    assert variables(made)["SIDECAR_PROBE_BIND"] == "127.0.0.1:0"
    assert variables(made)["SIDECAR_API_BIND"] == app_variables(made)["SIDECAR_API_BIND"] == BIND
    assert variables(made)["SIDECAR_API_SOCKET_MODE"] == "0666"
    assert {"sourceVolume": VOLUME, "containerPath": DIRECTORY, "readOnly": True} in container(made, "app")[
        "mountPoints"
    ]
    assert {"sourceVolume": VOLUME, "containerPath": DIRECTORY, "readOnly": False} in container(made)["mountPoints"]
    (volume,) = [one for one in made["volumes"] if one["name"] == VOLUME]
    assert volume["dockerVolumeConfiguration"]["scope"] == "task", "another task has another"
    assert "several such tasks" in " ".join(notes)


def test_rendering_again_changes_nothing() -> None:
    once = merged(HOST_APP)
    assert merged(json.loads(json.dumps(once))) == once


def test_a_container_that_is_not_gated_gets_neither_socket_nor_variable() -> None:
    given = json.loads(json.dumps(HOST_APP))
    given["containerDefinitions"].append({"name": "other", "image": "other", "memory": 64})
    other = container(merged(given), "other")
    assert not {"mountPoints", "environment"} & other.keys()


@pytest.mark.parametrize("given", [BRIDGE_APP, EC2_APP], ids=["bridge", "awsvpc"])
def test_where_tasks_have_addresses_of_their_own_nothing_is_added(given: dict[str, Any]) -> None:
    made = merged(given)
    assert VOLUME not in json.dumps(made)
    assert "SIDECAR_PROBE_BIND" not in variables(made)


def test_a_listener_that_the_seller_has_set_stays_and_no_volume_is_added() -> None:
    given = with_sidecar(HOST_APP, environment=[{"name": "SIDECAR_API_BIND", "value": "127.0.0.1:9485"}])
    given["volumes"] = [one for one in given["volumes"] if one["name"] != VOLUME]
    for one in given["containerDefinitions"]:
        one["mountPoints"] = [two for two in one.get("mountPoints", []) if two["sourceVolume"] != VOLUME]
    made, notes = render(given, RenderOptions(gate=["app"]))
    assert variables(made)["SIDECAR_API_BIND"] == "127.0.0.1:9485"
    assert VOLUME not in json.dumps(made)
    assert "one such task runs on an instance" in " ".join(notes)


def test_managed_instances_have_no_docker_volumes_so_the_ports_stay() -> None:
    made, notes = render(
        HOST_APP | {"requiresCompatibilities": ["MANAGED_INSTANCES"]}, RenderOptions(gate=["app"], image=IMAGE)
    )
    assert "dockerVolumeConfiguration" not in json.dumps(made)
    assert not set(shared_socket.VARIABLES) & variables(made).keys()
    assert "one such task runs on an instance" in " ".join(notes)


def test_a_product_that_asks_at_a_port_of_the_instance_is_refused() -> None:
    given = json.loads(json.dumps(HOST_APP))
    asks = {"name": "SIDECAR_API_BIND", "value": "127.0.0.1:8485"}
    container(given, "app").setdefault("environment", []).append(asks)
    assert f"has SIDECAR_API_BIND '127.0.0.1:8485', and the sidecar listens on {BIND}" in refused(given)
    asks["value"] = BIND
    assert app_variables(merged(given))["SIDECAR_API_BIND"] == BIND


@pytest.mark.parametrize("name", ["app", NAME])
def test_another_volume_where_the_socket_is_is_refused(name: str) -> None:
    given = with_sidecar(HOST_APP)
    container(given, name)["mountPoints"] = [{"sourceVolume": "other", "containerPath": f"{DIRECTORY}/"}]
    given.setdefault("volumes", []).append({"name": "other", "host": {}})
    assert f"has the volume 'other' at {DIRECTORY}, where the sidecar's socket is" in refused(given)


def test_a_socket_in_no_volume_is_refused() -> None:
    given = with_sidecar(HOST_APP, environment=[{"name": "SIDECAR_API_BIND", "value": "unix:/run/x/api.sock"}])
    assert "no mount of the sidecar holds /run/x/api.sock" in refused(given)
    container(given)["mountPoints"].append({"sourceVolume": "x", "containerPath": "/run/x", "readOnly": False})
    given["volumes"].append({"name": "x", "host": {"sourcePath": "/run/x"}})
    assert variables(merged(given))["SIDECAR_API_BIND"] == "unix:/run/x/api.sock"


def test_a_socket_in_a_volume_is_reached_without_a_link() -> None:
    given = with_sidecar(BRIDGE_APP, environment=[{"name": "SIDECAR_API_BIND", "value": "unix:/run/x/api.sock"}])
    container(given)["mountPoints"].append({"sourceVolume": "x", "containerPath": "/run/x", "readOnly": False})
    given["volumes"].append({"name": "x", "host": {}})
    made, notes = render(given, RenderOptions(gate=["app"]))
    assert variables(made)["SIDECAR_API_BIND"] == "unix:/run/x/api.sock"
    assert f"http://{NAME}:" not in " ".join(notes)
