"""The sidecar reaches AWS through the App Mesh proxy: it starts after the proxy and ends before it."""

from __future__ import annotations

from typing import Any

import pytest

from sidecar.taskdef.container import NAME
from sidecar.taskdef.render import CannotRender, RenderOptions, render
from tests.ecs.agent_rules import Container, Health, Status, may_start, may_stop
from tests.unit.taskdef.support import BRIDGE_APP, FARGATE_APP, IMAGE, container, merged, refused, with_containers

HEALTH = {"command": ["CMD-SHELL", "curl -s http://localhost:9901/server_info"]}
ENVOY = {"name": "envoy", "image": "e", "essential": True, "user": "1337", "healthCheck": HEALTH}


def meshed(proxy: dict[str, Any] = ENVOY, ignored: str = "169.254.170.2,169.254.169.254") -> dict[str, Any]:
    """Return a definition as the App Mesh user guide has it."""
    properties = [{"name": "IgnoredUID", "value": "1337"}, {"name": "EgressIgnoredIPs", "value": ignored}]
    configuration = {"type": "APPMESH", "containerName": "envoy", "properties": properties}
    return with_containers(proxy) | {"proxyConfiguration": configuration}


def waiting_for_proxy(condition: str, proxy: dict[str, Any] = ENVOY) -> dict[str, Any]:
    """Return a merged definition whose sidecar waits for the proxy by a condition of the seller's."""
    made = merged(meshed(proxy))
    container(made)["dependsOn"] = [{"containerName": "envoy", "condition": condition}]
    return made


def without_health_check() -> dict[str, Any]:
    return {key: value for key, value in ENVOY.items() if key != "healthCheck"}


def notes(given: dict[str, Any]) -> str:
    return " ".join(render(given, RenderOptions(gate=["app"], image=IMAGE))[1])


@pytest.mark.parametrize(
    ("proxy", "condition"),
    [(ENVOY, "HEALTHY"), (without_health_check(), "START"), (ENVOY | {"healthCheck": {"command": ["NONE"]}}, "START")],
)
def test_the_sidecar_waits_for_the_proxy(proxy: dict[str, Any], condition: str) -> None:
    made = merged(meshed(proxy))
    assert container(made)["dependsOn"] == [{"containerName": "envoy", "condition": condition}]
    assert "dependsOn" not in container(made, "envoy")
    assert merged(made, image=None) == made
    assert ("no healthCheck to wait for" in notes(meshed(proxy))) == (condition == "START")


def test_the_agent_starts_and_stops_proxy_sidecar_and_product_in_this_order() -> None:
    task = {one["name"]: Container({"dependsOn": []} | one) for one in merged(meshed())["containerDefinitions"]}
    order = ["envoy", NAME, "app"]
    for at, name in enumerate(order):
        assert [one for one in order[at:] if may_start(task[one], task, now=0)] == [name]
        task[name].status, task[name].health = Status.RUNNING, Health.HEALTHY
    for at, name in reversed(list(enumerate(order))):
        assert [one for one in order[: at + 1] if may_stop(task[one], task)] == [name]
        task[name].status = Status.STOPPED


def test_without_a_proxy_the_sidecar_waits_for_nothing() -> None:
    """Service Connect is not in the definition, and its proxy starts first without us."""
    assert "dependsOn" not in container(merged(with_containers(ENVOY)))
    assert "proxy" not in notes(with_containers(ENVOY))


@pytest.mark.parametrize(
    ("condition", "proxy"), [("START", ENVOY), ("HEALTHY", ENVOY), ("START", without_health_check())]
)
def test_a_dependency_of_the_sellers_on_the_proxy_stays(condition: str, proxy: dict[str, Any]) -> None:
    given = waiting_for_proxy(condition, proxy)
    assert container(merged(given))["dependsOn"] == [{"containerName": "envoy", "condition": condition}]


@pytest.mark.parametrize(
    ("condition", "proxy", "words"),
    [
        ("COMPLETE", ENVOY, "waits for 'envoy' with 'COMPLETE', and the proxy runs as long as the task"),
        ("SUCCESS", ENVOY | {"essential": False}, "waits for 'envoy' with 'SUCCESS', and the proxy runs as long"),
        ("HEALTHY", without_health_check(), "waits for 'envoy' with 'HEALTHY', and the proxy has no healthCheck"),
    ],
)
def test_a_condition_that_the_proxy_never_meets_is_refused(condition: str, proxy: dict[str, Any], words: str) -> None:
    assert f"{NAME}.dependsOn: {words}" in refused(waiting_for_proxy(condition, proxy))


def test_one_condition_of_several_that_the_proxy_never_meets_is_refused() -> None:
    given = waiting_for_proxy("START")
    container(given)["dependsOn"].append({"containerName": "envoy", "condition": "COMPLETE"})
    assert "'COMPLETE'" in refused(given)


def test_a_condition_on_another_container_is_the_sellers() -> None:
    given = merged(meshed())
    given["containerDefinitions"].append({"name": "migrate", "image": "m", "essential": False})
    container(given)["dependsOn"].append({"containerName": "migrate", "condition": "SUCCESS"})
    assert merged(given) == given


@pytest.mark.parametrize(
    ("given", "mode"),
    [
        (BRIDGE_APP, "bridge"),
        ({key: value for key, value in BRIDGE_APP.items() if key != "networkMode"}, "bridge"),
        (BRIDGE_APP | {"networkMode": "host"}, "host"),
        (BRIDGE_APP | {"networkMode": "host", "requiresCompatibilities": ["MANAGED_INSTANCES"]}, "host"),
    ],
)
def test_a_proxy_without_a_network_of_the_task_is_refused(given: dict[str, Any], mode: str) -> None:
    assert merged(given)
    envoy = ENVOY | {"memory": 128}
    meshed_app = given | {
        "proxyConfiguration": meshed()["proxyConfiguration"],
        "containerDefinitions": [*given["containerDefinitions"], envoy],
    }
    words = f"networkMode: is {mode!r}, and ECS takes a proxyConfiguration with 'awsvpc' alone"
    assert words in refused(meshed_app)
    assert merged(meshed_app | {"networkMode": "awsvpc"})


@pytest.mark.parametrize(
    ("given", "gate", "words"),
    [
        (meshed(), ("app", "envoy"), "--gate: is 'envoy', the proxy of proxyConfiguration"),
        (meshed(ENVOY | {"name": "other"}), ("app",), "proxyConfiguration.containerName: is 'envoy', and no container"),
        (
            meshed(ENVOY | {"dependsOn": [{"containerName": "app", "condition": "START"}]}),
            ("app",),
            f"'{NAME}' → 'envoy' → 'app' → '{NAME}'",
        ),
        ({**FARGATE_APP, "proxyConfiguration": {"containerName": 1}}, ("app",), "has to be a string"),
    ],
)
def test_a_proxy_that_cannot_start_first_is_refused(given: dict[str, Any], gate: tuple[str, ...], words: str) -> None:
    assert words in refused(given, gate)
    assert ("forms a cycle" in refused(given, gate)) == ("→" in words)


@pytest.mark.parametrize("junk", [None, 0, True, "", "x", [], [None], [{}], {}, {"properties": [{"name": None}]}])
def test_junk_as_the_proxys_configuration_is_refused_or_merged(junk: object) -> None:
    for given in ({**meshed(), "proxyConfiguration": junk}, meshed() | {"proxyConfiguration": {"containerName": junk}}):
        try:
            assert merged(given)
        except CannotRender:
            continue


@pytest.mark.parametrize("ignored", ["", "169.254.169.254", "169.254.170.23"])
def test_a_proxy_that_takes_the_way_to_the_role_is_noted(ignored: str) -> None:
    assert "without 169.254.170.2:" in notes(meshed(ignored=ignored))
    assert "EgressIgnoredIPs" not in notes(meshed(ignored="169.254.169.254, 169.254.170.2"))
