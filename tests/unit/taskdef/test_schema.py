"""A definition is reduced to what can be registered, and wrong types are refused."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from sidecar.taskdef.container import NAME
from sidecar.taskdef.render import RenderOptions, difference, render
from sidecar.taskdef.schema import registrable
from tests.unit.taskdef.support import FARGATE_APP, IMAGE, container, merged, refused, with_containers, with_sidecar


def test_a_described_definition_may_be_given_too() -> None:
    answer = {
        "taskDefinition": {**FARGATE_APP, "taskDefinitionArn": "arn", "revision": 7, "status": "ACTIVE"},
        "tags": [],
    }
    assert merged(answer) == merged(FARGATE_APP)
    tags = [{"key": "team", "value": "shop"}]
    assert merged({**answer, "tags": tags}) == {**merged(FARGATE_APP), "tags": tags}


STACK = {"key": "aws:cloudformation:stack-name", "value": "shop"}
TEAM = {"key": "team", "value": "aws:shop"}


@pytest.mark.parametrize("described", [False, True], ids=["registered", "described"])
@pytest.mark.parametrize(
    ("tags", "kept", "noted"),
    [
        ([STACK, TEAM], [TEAM], ["aws:cloudformation:stack-name"]),
        ([STACK, {"key": "AWS:x"}], None, ["aws:cloudformation:stack-name", "AWS:x"]),
        ([TEAM, {"key": "awss:aws:"}], [TEAM, {"key": "awss:aws:"}], []),
    ],
)
def test_tags_of_aws_are_left_out_and_named(
    described: bool, tags: list[dict[str, str]], kept: list[dict[str, str]] | None, noted: list[str]
) -> None:
    """AWS takes no key that begins with `aws:`; a definition that CloudFormation made has three of them."""
    given = {"taskDefinition": FARGATE_APP, "tags": tags} if described else {**FARGATE_APP, "tags": tags}
    made, notes = render(given, RenderOptions(gate=["app"], image=IMAGE))
    assert made.get("tags") == kept
    assert [
        key for key in ("aws:cloudformation:stack-name", "AWS:x", "team") if f"tag {key}" in " ".join(notes)
    ] == noted
    assert difference(registrable(given), made, "x").count("aws:cloudformation") == 0


@pytest.mark.parametrize("tags", ["aws:x", {"key": "aws:x"}, [None], ["aws:x"]])
def test_tags_of_another_type_are_refused(tags: object) -> None:
    assert "tags: is" in refused({**FARGATE_APP, "tags": tags})


def test_a_field_that_is_null_counts_as_absent() -> None:
    given = copy.deepcopy(FARGATE_APP)
    given["volumes"] = None
    given["containerDefinitions"][0] |= {"dependsOn": None, "links": None}
    assert container(merged(given), "app")["dependsOn"]
    for name in ("essential", "stopTimeout", "user", "command", "healthCheck", "privileged"):
        given = with_sidecar()
        container(given)[name] = None
        assert merged(given) == merged(FARGATE_APP), name


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "containerDefinitions"),
        ({"containerDefinitions": []}, "register-task-definition"),
        ({"containerDefinitions": [{"image": "x"}]}, "names"),
        ({"containerDefinitions": "app"}, "containerDefinitions"),
        ({**FARGATE_APP, "volumes": {}}, "has to be a list of objects"),
        ({**FARGATE_APP, "runtimePlatform": []}, "has to be an object"),
        (with_sidecar(command="run"), "command: is 'run', and has to be a list of strings"),
        (with_sidecar(user=0), "user: is 0, and has to be a string"),
        (with_sidecar(stopTimeout="60"), "stopTimeout: is '60', and has to be a whole number"),
        (with_containers({"name": "app", "image": "x"}), "has 2 containers named 'app'"),
        (with_containers({"name": NAME, "image": "x"}, {"name": NAME, "image": "y"}), f"2 containers named '{NAME}'"),
    ],
)  # fmt: skip
def test_a_definition_of_another_shape_is_refused(given: dict[str, Any], words: str) -> None:
    assert words in refused(given)


@pytest.mark.parametrize(
    "environment",
    [
        {"DB_PASSWORD": "hunter2"},
        "DB_PASSWORD=hunter2",
        ["DB_PASSWORD=hunter2"],
        [{"name": "A", "value": {"b": "hunter2"}}],
        [{"name": ["hunter2"]}],
    ],
)
def test_a_refused_environment_is_not_repeated(environment: object) -> None:
    text = refused(with_sidecar(environment=environment))
    assert "environment" in text
    assert "hunter2" not in text
