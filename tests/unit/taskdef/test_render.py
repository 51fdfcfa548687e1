"""The sidecar merged into a seller's definition, and definitions that cannot be merged."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest

from sidecar.taskdef.container import EC2, FARGATE, NAME, VOLUME
from sidecar.taskdef.render import CannotRender, RenderOptions, render
from tests.unit.taskdef.support import (
    BRIDGE_APP,
    EC2_APP,
    FARGATE_APP,
    IMAGE,
    bound,
    container,
    merged,
    refused,
    variables,
    with_sidecar,
    with_state_on,
)


@pytest.mark.parametrize("given", [FARGATE_APP, EC2_APP, BRIDGE_APP], ids=["fargate", "ec2", "bridge"])
def test_rendering_twice_changes_nothing(given: dict[str, Any]) -> None:
    once = merged(given)
    assert once != given
    assert merged(once, image=None) == once


def test_the_input_is_not_changed() -> None:
    given = copy.deepcopy(FARGATE_APP)
    merged(given)
    assert given == FARGATE_APP


def test_only_the_named_containers_are_held_back() -> None:
    given = copy.deepcopy(FARGATE_APP)
    given["containerDefinitions"] += [{"name": "worker", "image": "w"}, {"name": "proxy", "image": "p"}]
    made = merged(given, ("app", "worker"))
    waits = [{"containerName": NAME, "condition": "HEALTHY"}]
    assert [container(made, name).get("dependsOn") for name in ("app", "worker", "proxy")] == [waits, waits, None]
    assert [one["name"] for one in made["containerDefinitions"]] == [NAME, "app", "worker", "proxy"]


def test_other_dependencies_stay_and_the_gates_becomes_healthy() -> None:
    given = copy.deepcopy(FARGATE_APP)
    other = {"containerName": "proxy", "condition": "START"}
    given["containerDefinitions"][0]["dependsOn"] = [{"containerName": NAME, "condition": "START"}, other]
    made = merged(given)
    assert container(made, "app")["dependsOn"] == [{"containerName": NAME, "condition": "HEALTHY"}, other]


def test_the_gate_has_no_start_timeout_and_a_short_interval() -> None:
    found = container(merged(FARGATE_APP))
    assert "startTimeout" not in found
    assert found["healthCheck"]["command"] == ["CMD", "entitlement-sidecar", "healthcheck"]
    assert found["healthCheck"]["interval"] == 10


def test_the_flush_ends_before_ecs_kills() -> None:
    assert variables(merged(FARGATE_APP))["SIDECAR_FLUSH_SECONDS"] == "50"
    shorter = with_sidecar(stopTimeout=30, environment=None)
    assert variables(merged(shorter))["SIDECAR_FLUSH_SECONDS"] == "20"


def test_the_task_hands_in_the_time_the_sidecar_has_to_end() -> None:
    assert variables(merged(FARGATE_APP))["SIDECAR_GRACE_SECONDS"] == "60"
    assert variables(merged(with_sidecar(stopTimeout=30, environment=None)))["SIDECAR_GRACE_SECONDS"] == "30"


@pytest.mark.parametrize(("seconds", "noted"), [(60, False), (61, True)])
def test_more_time_to_stop_than_spot_gives_is_noted(seconds: int, noted: bool) -> None:
    given = copy.deepcopy(FARGATE_APP)
    given["containerDefinitions"][0]["stopTimeout"] = seconds
    notes = " ".join(render(given, RenderOptions(gate=["app"], image=IMAGE))[1])
    assert ("add up to 121 s. Fargate Spot ends a task after 120 s" in notes) == noted
    on_ec2 = copy.deepcopy(EC2_APP)
    on_ec2["containerDefinitions"][0]["stopTimeout"] = 600
    assert "Spot" not in " ".join(render(on_ec2, RenderOptions(gate=["app"], image=IMAGE))[1])


def test_the_denial_code_is_not_restarted() -> None:
    policy = container(merged(FARGATE_APP))["restartPolicy"]
    assert policy == {"enabled": True, "ignoredExitCodes": [77, 78], "restartAttemptPeriod": 60}
    assert variables(merged(FARGATE_APP))["SIDECAR_ON_DENIED"] == "exit"


def test_no_region_and_no_ports_are_set() -> None:
    for given in (FARGATE_APP, EC2_APP, BRIDGE_APP):
        made = merged(given)
        assert "portMappings" not in container(made)
        assert not any("REGION" in name for name in variables(made))


def test_a_sellers_own_settings_of_the_sidecar_stay() -> None:
    given = with_sidecar(
        environment=[{"name": "SIDECAR_ON_DENIED", "value": "hold"}], user="1000:1000", stopTimeout=100, cpu=32
    )
    made = merged(given, image="gate:2")
    assert variables(made) == {
        "SIDECAR_ON_DENIED": "hold",
        "SIDECAR_FLUSH_SECONDS": "90",
        "SIDECAR_GRACE_SECONDS": "100",
    }
    assert [container(made)[key] for key in ("user", "stopTimeout", "cpu", "image")] == ["1000:1000", 100, 32, "gate:2"]


def test_a_product_code_is_set_only_where_it_is_given() -> None:
    assert "SIDECAR_PRODUCT_CODE" not in variables(merged(FARGATE_APP))
    made = merged(FARGATE_APP, product_code="abc")
    assert variables(made)["SIDECAR_PRODUCT_CODE"] == "abc"
    assert variables(merged(made, product_code="def"))["SIDECAR_PRODUCT_CODE"] == "def"


def test_the_state_is_on_an_empty_volume_of_the_task() -> None:
    made = merged(FARGATE_APP)
    assert made["volumes"] == [{"name": VOLUME, "host": {}}]
    assert container(made)["mountPoints"][0]["containerPath"] == "/var/lib/entitlement-sidecar"


def test_the_sellers_own_state_volume_is_used() -> None:
    volume = {"name": "own", "host": {"sourcePath": "/data"}}
    made = merged(with_state_on(volume))
    assert made["volumes"] == [volume]
    assert [one["sourceVolume"] for one in container(made)["mountPoints"]] == ["own"]


def test_the_volume_is_mounted_where_the_sellers_setting_puts_the_state() -> None:
    given = with_sidecar(mountPoints=None, environment=[{"name": "SIDECAR_STATE_DIR", "value": "/data/state"}])
    assert container(merged(given))["mountPoints"][0]["containerPath"] == "/data/state"


def test_the_sidecar_logs_where_the_product_does() -> None:
    assert (
        container(merged(FARGATE_APP))["logConfiguration"] == FARGATE_APP["containerDefinitions"][0]["logConfiguration"]
    )
    bare = copy.deepcopy(FARGATE_APP)
    del bare["containerDefinitions"][0]["logConfiguration"]
    made, notes = render(bare, RenderOptions(gate=["app"], image=IMAGE))
    assert "logConfiguration" not in container(made)
    assert "logConfiguration" in " ".join(notes)


def test_in_bridge_mode_the_product_gets_a_link() -> None:
    made, notes = render(BRIDGE_APP, RenderOptions(gate=["app"], image=IMAGE))
    assert container(made, "app")["links"] == [NAME]
    assert variables(made)["SIDECAR_API_BIND"] == ":8485"
    assert variables(made)["SIDECAR_API_HOSTS"] == NAME, "the product asks with its link's name as Host"
    assert f"http://{NAME}:8485" in " ".join(notes)
    notes = render(bound("0.0.0.0:9000"), RenderOptions(gate=["app"]))[1]
    assert f"http://{NAME}:9000" in " ".join(notes)
    assert "links" not in container(merged(EC2_APP), "app")
    assert not {"SIDECAR_API_BIND", "SIDECAR_API_HOSTS"} & variables(merged(EC2_APP)).keys()


def test_the_alias_of_a_link_is_a_name_the_sidecar_answers_to() -> None:
    aliased = copy.deepcopy(BRIDGE_APP)
    aliased["containerDefinitions"][0]["links"] = ["cache", f"{NAME}:gate", f"{NAME}:gate"]
    assert variables(merged(aliased))["SIDECAR_API_HOSTS"] == f"{NAME},gate"


def test_the_default_network_mode_is_bridge_on_ec2_and_awsvpc_on_fargate() -> None:
    given = {key: value for key, value in FARGATE_APP.items() if key not in ("networkMode", "requiresCompatibilities")}
    assert container(merged(given), "app")["links"] == [NAME]
    on_fargate = merged(given, launch_type=FARGATE)
    assert (on_fargate["networkMode"], on_fargate["requiresCompatibilities"]) == ("awsvpc", [FARGATE])


def test_on_managed_instances_the_network_mode_is_set() -> None:
    """Links do not exist there, and AWS wants the mode to be named."""
    given = {key: value for key, value in EC2_APP.items() if key != "networkMode"}
    made = merged(given | {"requiresCompatibilities": ["MANAGED_INSTANCES"]})
    assert made["networkMode"] == "awsvpc"
    assert "links" not in container(made, "app")
    on_host = merged(given | {"requiresCompatibilities": ["MANAGED_INSTANCES"], "networkMode": "host"})
    assert on_host["networkMode"] == "host"


def test_memory_is_reserved_on_ec2_where_the_task_may_have_none() -> None:
    assert container(merged(EC2_APP))["memoryReservation"] == 64
    assert "memoryReservation" not in container(merged(FARGATE_APP))


def test_a_missing_task_role_is_noted() -> None:
    given = {key: value for key, value in FARGATE_APP.items() if key != "taskRoleArn"}
    assert "taskRoleArn" in " ".join(render(given, RenderOptions(gate=["app"], image=IMAGE))[1])


# -- what cannot be merged


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({**FARGATE_APP, "networkMode": "bridge"}, "'bridge'; FARGATE knows 'awsvpc' alone"),
        ({**EC2_APP, "networkMode": "none"}, "AWS could not be asked"),
        ({**EC2_APP, "requiresCompatibilities": ["EXTERNAL"]}, "EXTERNAL"),
        ({**FARGATE_APP, "cpu": ""}, "cpu: is missing"),
        ({**FARGATE_APP, "runtimePlatform": {"operatingSystemFamily": "WINDOWS_SERVER_2022_CORE"}}, "WINDOWS"),
        ({**EC2_APP, "requiresCompatibilities": ["MANAGED_INSTANCES"], "networkMode": "bridge"}, "'awsvpc' and 'host'"),
    ],
)  # fmt: skip
def test_a_platform_that_cannot_run_the_sidecar_is_refused(given: dict[str, Any], words: str) -> None:
    assert words in refused(given)


def test_an_unknown_container_is_refused_with_the_known_ones() -> None:
    assert "'web'" in refused(FARGATE_APP, ("web",))
    assert "There are 'app'" in refused(FARGATE_APP, ("web",))
    assert "Name the containers to hold back, of 'app'" in refused(FARGATE_APP, ())
    assert NAME in refused(merged(FARGATE_APP), (NAME,))


def test_all_problems_are_reported_at_once() -> None:
    told = refused({**FARGATE_APP, "networkMode": "host"}, ("web",), image=None, launch_type=EC2)
    assert all(word in told for word in ("--launch-type", "--image", "--gate"))


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a document."""
    if path:
        yield path
    for key, one in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from places(one, (*path, key))


@pytest.mark.parametrize("junk", [None, 0, True, "", "x", [], {}, [None], [{}], {"name": None}], ids=repr)
def test_junk_in_any_field_is_refused_or_merged_without_a_crash(junk: object) -> None:
    for base in (FARGATE_APP, BRIDGE_APP, merged(FARGATE_APP), merged(BRIDGE_APP)):
        for path in places(base):
            given = inner = copy.deepcopy(base)
            for key in path[:-1]:
                inner = inner[key]
            inner[path[-1]] = copy.deepcopy(junk)
            try:
                made = merged(given)
            except CannotRender:
                continue
            assert merged(made, image=None) == made, path
