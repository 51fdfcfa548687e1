"""`ecs render`: what a seller's definition looks like with the sidecar in it, and what is refused."""

from __future__ import annotations

import copy
import io
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sidecar.__main__ import main
from sidecar.taskdef.container import EC2, FARGATE, NAME, STATE_DIR, VOLUME
from sidecar.taskdef.render import CannotRender, Wish, difference, render
from tests.ecs.templates import product

IMAGE = "gate:1"


def merged(given: dict[str, Any], gate: tuple[str, ...] = ("app",), **wish: Any) -> dict[str, Any]:
    return render(given, Wish(gate=gate, **({"image": IMAGE} | wish)))[0]


def refused(given: dict[str, Any], gate: tuple[str, ...] = ("app",), **wish: Any) -> str:
    with pytest.raises(CannotRender) as caught:
        merged(given, gate, **wish)
    return "\n".join(str(problem) for problem in caught.value.problems)


def container(definition: dict[str, Any], name: str = NAME) -> dict[str, Any]:
    found: dict[str, Any] = next(one for one in definition["containerDefinitions"] if one["name"] == name)
    return found


def variables(definition: dict[str, Any]) -> dict[str, str]:
    return {one["name"]: one["value"] for one in container(definition)["environment"]}


FARGATE_APP = product(FARGATE, "awsvpc")
EC2_APP = product(EC2, "awsvpc")
BRIDGE_APP = product(EC2, "bridge")


def with_sidecar(given: dict[str, Any] = FARGATE_APP, **changed: Any) -> dict[str, Any]:
    """A merged definition whose sidecar the seller has changed; None removes a field."""
    found = merged(given)
    one = container(found)
    for key, value in changed.items():
        if value is None:
            del one[key]
        else:
            one[key] = value
    return found


def with_health_check(**changed: int) -> dict[str, Any]:
    return with_sidecar(healthCheck=container(merged(FARGATE_APP))["healthCheck"] | changed)


def with_state_on(volume: dict[str, Any], **changed: Any) -> dict[str, Any]:
    """The seller mounts the state directory from a volume of their own."""
    mount = {"sourceVolume": volume["name"], "containerPath": f"{STATE_DIR}/", "readOnly": False} | changed
    return {**with_sidecar(mountPoints=[mount]), "volumes": [volume]}


def with_containers(*others: dict[str, Any]) -> dict[str, Any]:
    return {**FARGATE_APP, "containerDefinitions": [*FARGATE_APP["containerDefinitions"], *others]}


def bound(address: str) -> dict[str, Any]:
    return with_sidecar(BRIDGE_APP, environment=[{"name": "SIDECAR_API_BIND", "value": address}])


# -- what it makes


@pytest.mark.parametrize("given", [FARGATE_APP, EC2_APP, BRIDGE_APP], ids=["fargate", "ec2", "bridge"])
def test_rendering_twice_changes_nothing(given: dict[str, Any]) -> None:
    once = merged(given)
    assert once != given
    assert merged(once, image=None) == once


def test_what_was_given_is_not_touched() -> None:
    given = copy.deepcopy(FARGATE_APP)
    merged(given)
    assert given == FARGATE_APP


def test_only_the_named_containers_wait() -> None:
    given = copy.deepcopy(FARGATE_APP)
    given["containerDefinitions"] += [{"name": "worker", "image": "w"}, {"name": "proxy", "image": "p"}]
    made = merged(given, ("app", "worker"))
    waits = [{"containerName": NAME, "condition": "HEALTHY"}]
    assert [container(made, name).get("dependsOn") for name in ("app", "worker", "proxy")] == [waits, waits, None]
    assert [one["name"] for one in made["containerDefinitions"]] == [NAME, "app", "worker", "proxy"]


def test_other_dependencies_stay_and_a_weaker_one_on_the_gate_does_not() -> None:
    given = copy.deepcopy(FARGATE_APP)
    other = {"containerName": "proxy", "condition": "START"}
    given["containerDefinitions"][0]["dependsOn"] = [{"containerName": NAME, "condition": "START"}, other]
    made = merged(given)
    assert container(made, "app")["dependsOn"] == [{"containerName": NAME, "condition": "HEALTHY"}, other]


def test_the_gate_waits_without_a_limit_and_is_noticed_soon() -> None:
    found = container(merged(FARGATE_APP))
    assert "startTimeout" not in found
    assert found["healthCheck"]["command"] == ["CMD", "entitlement-sidecar", "healthcheck"]
    assert found["healthCheck"]["interval"] == 10


def test_the_flush_ends_before_ecs_kills() -> None:
    assert variables(merged(FARGATE_APP))["SIDECAR_FLUSH_SECONDS"] == "50"
    shorter = with_sidecar(stopTimeout=30, environment=None)
    assert variables(merged(shorter))["SIDECAR_FLUSH_SECONDS"] == "20"


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
    assert variables(made) == {"SIDECAR_ON_DENIED": "hold", "SIDECAR_FLUSH_SECONDS": "90"}
    assert [container(made)[key] for key in ("user", "stopTimeout", "cpu", "image")] == ["1000:1000", 100, 32, "gate:2"]


def test_a_product_code_is_set_only_where_it_is_given() -> None:
    assert "SIDECAR_PRODUCT_CODE" not in variables(merged(FARGATE_APP))
    made = merged(FARGATE_APP, product_code="abc")
    assert variables(made)["SIDECAR_PRODUCT_CODE"] == "abc"
    assert variables(merged(made, product_code="def"))["SIDECAR_PRODUCT_CODE"] == "def"


def test_the_state_lies_on_an_empty_volume_of_the_task() -> None:
    made = merged(FARGATE_APP)
    assert made["volumes"] == [{"name": VOLUME, "host": {}}]
    assert container(made)["mountPoints"][0]["containerPath"] == "/var/lib/entitlement-sidecar"


def test_a_state_volume_of_the_sellers_own_is_used_and_no_other_is_added() -> None:
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
    made, notes = render(bare, Wish(gate=["app"], image=IMAGE))
    assert "logConfiguration" not in container(made)
    assert "logConfiguration" in " ".join(notes)


def test_bridge_has_no_shared_localhost_so_there_is_a_link() -> None:
    made, notes = render(BRIDGE_APP, Wish(gate=["app"], image=IMAGE))
    assert container(made, "app")["links"] == [NAME]
    assert variables(made)["SIDECAR_API_BIND"] == ":8485"
    assert f"http://{NAME}:8485" in " ".join(notes)
    notes = render(bound("0.0.0.0:9000"), Wish(gate=["app"]))[1]
    assert f"http://{NAME}:9000" in " ".join(notes)
    assert "links" not in container(merged(EC2_APP), "app")
    assert "SIDECAR_API_BIND" not in variables(merged(EC2_APP))


def test_a_definition_that_says_no_network_mode_is_bridge_on_ec2_and_awsvpc_on_fargate() -> None:
    given = {key: value for key, value in FARGATE_APP.items() if key not in ("networkMode", "requiresCompatibilities")}
    assert container(merged(given), "app")["links"] == [NAME]
    on_fargate = merged(given, launch_type=FARGATE)
    assert (on_fargate["networkMode"], on_fargate["requiresCompatibilities"]) == ("awsvpc", [FARGATE])


def test_managed_instances_know_no_bridge_so_the_network_mode_is_said() -> None:
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


def test_a_described_definition_may_be_given_too() -> None:
    answer = {
        "taskDefinition": {**FARGATE_APP, "taskDefinitionArn": "arn", "revision": 7, "status": "ACTIVE"},
        "tags": [],
    }
    assert merged(answer) == merged(FARGATE_APP)
    tags = [{"key": "team", "value": "shop"}]
    assert merged({**answer, "tags": tags}) == {**merged(FARGATE_APP), "tags": tags}


def test_a_field_that_is_null_counts_as_absent() -> None:
    given = copy.deepcopy(FARGATE_APP)
    given["volumes"] = None
    given["containerDefinitions"][0] |= {"dependsOn": None, "links": None}
    assert container(merged(given), "app")["dependsOn"]
    for name in ("essential", "stopTimeout", "user", "command", "healthCheck", "privileged"):
        given = with_sidecar()
        container(given)[name] = None
        assert merged(given) == merged(FARGATE_APP), name


def test_a_missing_task_role_is_said() -> None:
    given = {key: value for key, value in FARGATE_APP.items() if key != "taskRoleArn"}
    assert "taskRoleArn" in " ".join(render(given, Wish(gate=["app"], image=IMAGE))[1])


# -- what is refused: value, rule and fix


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "containerDefinitions"),
        ({"containerDefinitions": []}, "register-task-definition"),
        ({"containerDefinitions": [{"image": "x"}]}, "names"),
        ({"containerDefinitions": "app"}, "containerDefinitions"),
        ({**FARGATE_APP, "volumes": {}}, "has to be a list of objects"),
        ({**FARGATE_APP, "runtimePlatform": []}, "has to be an object"),
        ({**FARGATE_APP, "networkMode": "bridge"}, "'bridge'; FARGATE knows 'awsvpc' alone"),
        ({**EC2_APP, "networkMode": "none"}, "AWS could not be asked"),
        ({**EC2_APP, "requiresCompatibilities": ["EXTERNAL"]}, "EXTERNAL"),
        ({**FARGATE_APP, "cpu": ""}, "cpu: is missing"),
        ({**FARGATE_APP, "runtimePlatform": {"operatingSystemFamily": "WINDOWS_SERVER_2022_CORE"}}, "WINDOWS"),
        (with_sidecar(essential=False), "without its gate"),
        (with_sidecar(portMappings=[{"containerPort": 8484}]), "portMappings"),
        (with_sidecar(healthCheck={"command": ["CMD-SHELL", "true"]}), "healthcheck"),
        (with_sidecar(environment=[{"name": "AWS_REGION", "value": "x"}]), "'AWS_REGION'"),
        (with_sidecar(secrets=[{"name": "AWS_ACCESS_KEY_ID", "valueFrom": "x"}]), "task role alone"),
        (with_sidecar(restartPolicy={"enabled": True}), "Add 77"),
        (with_sidecar(dependsOn=[{"containerName": "app", "condition": "START"}]), "circle"),
        (with_sidecar(stopTimeout=300), "stopTimeout: is 300; Fargate takes 2 to 120"),
        (with_sidecar(startTimeout=1800), "startTimeout: is 1800; Fargate takes 2 to 120"),
        (with_sidecar(stopTimeout=30), "SIDECAR_FLUSH_SECONDS '50', and stopTimeout is 30"),
        ({**FARGATE_APP, "volumes": [{"name": VOLUME, "efsVolumeConfiguration": {}}]}, "network file system"),
        (with_state_on({"name": "shared", "efsVolumeConfiguration": {}}), "volumes.shared: has efsVolumeConfiguration"),
        (with_state_on({"name": "own", "host": {}}, readOnly=True), "readOnly true: the ledger is written there"),
        (with_state_on({"name": "own", "host": {}}, sourceVolume="gone"), "on 'gone', and volumes does not name it"),
        (with_sidecar(command=["wait"]), "command: is ['wait']; the gate is kept by `run` alone"),
        (with_sidecar(command="run"), "command: is 'run', and has to be a list of strings"),
        (with_sidecar(EC2_APP, privileged=True), "privileged: is true"),
        (with_sidecar(user="0"), "user: is '0'"),
        (with_sidecar(user="root:root"), "user: is 'root:root'"),
        (with_sidecar(user="00:1000"), "does not run as root"),
        (with_sidecar(user=0), "user: is 0, and has to be a string"),
        (with_sidecar(stopTimeout="60"), "stopTimeout: is '60', and has to be a whole number"),
        (with_sidecar(healthCheck={"command": ["CMD", "true", "healthcheck"]}), "is ['CMD', 'true'"),
        (with_sidecar(healthCheck={}), "healthCheck.command: is []"),
        (with_health_check(interval=4), "interval: is 4; ECS takes 5 to 300"),
        (with_health_check(interval=301), "interval: is 301; ECS takes 5 to 300"),
        (with_health_check(timeout=61), "timeout: is 61; ECS takes 2 to 60"),
        (with_health_check(retries=0), "retries: is 0; ECS takes 1 to 10"),
        (with_health_check(startPeriod=301), "startPeriod: is 301; ECS takes 0 to 300"),
        (with_sidecar(restartPolicy={"enabled": False, "restartAttemptPeriod": 59}), "is 59; ECS takes 60 to 1800"),
        (with_containers({"name": "app", "image": "x"}), "has 2 containers named 'app'"),
        (with_containers({"name": NAME, "image": "x"}, {"name": NAME, "image": "y"}), f"2 containers named '{NAME}'"),
        (bound("127.0.0.1:8485"), "SIDECAR_API_BIND '127.0.0.1:8485', and networkMode is 'bridge'"),
        (bound("localhost:1,[::1]:1"), "networkMode is 'bridge'"),
        (bound("8485"), "SIDECAR_API_BIND '8485': '8485' is not HOST:PORT"),
        ({**EC2_APP, "requiresCompatibilities": ["MANAGED_INSTANCES"], "networkMode": "bridge"}, "'awsvpc' and 'host'"),
    ],
)  # fmt: skip
def test_what_would_break_gate_or_metering_is_refused(given: dict[str, Any], words: str) -> None:
    assert words in refused(given)


def test_a_circle_over_other_containers_is_refused_and_a_chain_is_not() -> None:
    envoy = {"name": "envoy", "image": "e", "dependsOn": [{"containerName": "app", "condition": "START"}]}
    given = with_containers(envoy, container(merged(FARGATE_APP)))
    waits = {"dependsOn": [{"containerName": "envoy", "condition": "HEALTHY"}]}
    container(given).update(waits)
    assert f"'app' → '{NAME}' → 'envoy' → 'app'" in refused(given)
    chain = with_containers({"name": "envoy", "image": "e"}, container(merged(FARGATE_APP)) | waits)
    assert container(merged(chain))["dependsOn"] == waits["dependsOn"]


def test_a_link_waits_as_a_dependency_does() -> None:
    assert "goes in a circle" in refused(with_sidecar(BRIDGE_APP, links=["app"]))


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a document."""
    if path:
        yield path
    for key, one in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from places(one, (*path, key))


@pytest.mark.parametrize("junk", [None, 0, True, "", "x", [], {}, [None], [{}], {"name": None}], ids=repr)
def test_nonsense_anywhere_is_refused_or_merged_and_never_breaks(junk: object) -> None:
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


def test_what_would_break_it_on_fargate_may_be_right_on_ec2() -> None:
    made = merged(with_sidecar(EC2_APP, stopTimeout=300, environment=None))
    assert variables(made)["SIDECAR_FLUSH_SECONDS"] == "290"


def test_a_gate_that_is_no_container_is_refused_with_those_there_are() -> None:
    assert "'web'" in refused(FARGATE_APP, ("web",))
    assert "There are 'app'" in refused(FARGATE_APP, ("web",))
    assert "Name the containers to hold back, of 'app'" in refused(FARGATE_APP, ())
    assert NAME in refused(merged(FARGATE_APP), (NAME,))


def test_everything_wrong_is_said_at_once() -> None:
    told = refused({**FARGATE_APP, "networkMode": "host"}, ("web",), image=None, launch_type=EC2)
    assert all(word in told for word in ("--launch-type", "--image", "--gate"))


# -- the command

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


def test_an_output_file_may_be_the_one_that_was_given(capsys: pytest.CaptureFixture[str], file: Path) -> None:
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


def test_a_definition_may_come_from_stdin(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps(FARGATE_APP)))
    assert run("-", "--gate", "app", "--image", IMAGE) == 0
    assert json.loads(capsys.readouterr().out) == merged(FARGATE_APP)


@pytest.mark.parametrize("text", ["", "{", "[]", '"x"', "{}", "[" * 200_000, DEEP])
def test_what_is_no_definition_is_78_and_nothing_is_written(
    capsys: pytest.CaptureFixture[str], file: Path, text: str
) -> None:
    file.write_text(text)
    assert run(str(file), "--gate", "app", "--image", IMAGE, "--output", str(file)) == 78
    out, err = capsys.readouterr()
    assert (out, file.read_text()) == ("", text)
    assert "nothing was written" in err
    assert "Traceback" not in err


def test_half_a_surrogate_pair_is_refused_as_it_could_not_be_written(
    capsys: pytest.CaptureFixture[str], file: Path
) -> None:
    file.write_text(json.dumps(FARGATE_APP | {"family": "\ud800"}))
    assert run(str(file), "--gate", "app", "--image", IMAGE) == 78
    assert "surrogates not allowed" in capsys.readouterr().err


def test_files_that_cannot_be_read_or_written_are_78(capsys: pytest.CaptureFixture[str], file: Path) -> None:
    assert run(str(file.parent / "none.json"), "--gate", "app", "--image", IMAGE) == 78
    assert "none.json" in capsys.readouterr().err
    assert run(str(file), "--gate", "app", "--image", IMAGE, "--output", str(file.parent)) == 78
    assert "--output" in capsys.readouterr().err


def test_a_launch_type_nobody_knows_is_a_wrong_call(capsys: pytest.CaptureFixture[str], file: Path) -> None:
    assert run(str(file), "--gate", "app", "--launch-type", "LAMBDA") == 2
    assert "FARGATE" in capsys.readouterr().err


def test_rendering_needs_neither_emulator_nor_sdk() -> None:
    code = (
        "import sys; sys.modules |= dict.fromkeys(('sidecar.emulator', 'botocore', 'flask', 'gunicorn', 'jwt'));"
        "import sidecar.cli.ecs_render, sidecar.taskdef.render"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
