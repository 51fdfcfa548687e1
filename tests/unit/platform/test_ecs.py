"""Which task are we? What the task metadata endpoint says, and what is not believed of it."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from sidecar.errors import PlatformError
from sidecar.platform import ecs
from tests.fakes.peer import Peer, http_answer
from tests.ports import free_port

ARN = "arn:aws:ecs:eu-central-1:123456789012:task/shop/0123456789abcdef0123456789abcdef"
TASK: dict[str, Any] = {
    "Cluster": "arn:aws:ecs:eu-central-1:123456789012:cluster/shop",
    "TaskARN": ARN,
    "Family": "shop",
    "Revision": "7",
    "DesiredStatus": "RUNNING",
    "KnownStatus": "RUNNING",
    "LaunchType": "FARGATE",
    "AvailabilityZone": "eu-central-1a",
    "Containers": [],
}


def env(peer: Peer, path: str = "/v4/abc") -> dict[str, str]:
    return {ecs.VARIABLE: peer.url + path}


def test_the_task_is_read_from_the_endpoint_the_agent_names() -> None:
    with Peer([http_answer(200, TASK)]) as peer:
        found = ecs.read_task(env(peer))
    assert found == ecs.Task(
        arn=ARN,
        region="eu-central-1",
        partition="aws",
        account="123456789012",
        cluster=TASK["Cluster"],
        launch_type="FARGATE",
    )
    assert [(one.method, one.target) for one in peer.requests] == [("GET", "/v4/abc/task")]


def test_a_slash_at_the_end_of_the_variable_does_not_double() -> None:
    with Peer([http_answer(200, TASK)]) as peer:
        ecs.read_task(env(peer, "/v4/abc/"))
    assert peer.requests[0].target == "/v4/abc/task"


@pytest.mark.parametrize(
    ("arn", "region", "partition"),
    [
        ("arn:aws-us-gov:ecs:us-gov-west-1:1:task/c/1", "us-gov-west-1", "aws-us-gov"),
        ("arn:aws-cn:ecs:cn-north-1:1:task/c/1", "cn-north-1", "aws-cn"),
        ("arn:aws:ecs:us-east-1:1:task/1", "us-east-1", "aws"),
    ],
)
def test_region_and_partition_come_from_the_arn(arn: str, region: str, partition: str) -> None:
    found = ecs.parse_task(json.dumps({"TaskARN": arn}).encode())
    assert (found.region, found.partition) == (region, partition)
    assert (found.cluster, found.launch_type) == ("", "")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b"[]",
        b'"text"',
        b"null",
        b"{}",
        b'{"TaskARN": null}',
        b'{"TaskARN": ""}',
        b'{"TaskARN": "task/c/1"}',
        b'{"TaskARN": "arn:aws:ecs:us-east-1:1"}',
        b'{"TaskARN": "arn:aws:ecs::1:task/c/1"}',
        b'{"TaskARN": "arn:aws:ec2:us-east-1:1:instance/i-1"}',
        b'{"TaskARN": "urn:aws:ecs:us-east-1:1:task/c/1"}',
        b"\xff\xfe",
        json.dumps({"DockerId": "x", "Labels": {"com.amazonaws.ecs.task-arn": ARN}}).encode(),
    ],
)
def test_an_answer_without_a_task_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError):
        ecs.parse_task(body)


@pytest.mark.parametrize("resource", ["", "cluster/shop", "task/", "container/c/1"])
def test_an_arn_of_something_else_is_no_task(resource: str) -> None:
    with pytest.raises(ValueError):
        ecs.parse_task(json.dumps({"TaskARN": f"arn:aws:ecs:us-east-1:1:{resource}"}).encode())


def test_an_agent_that_is_busy_at_first_is_asked_again() -> None:
    answers = [http_answer(500, b""), http_answer(200, b"half"), http_answer(200, TASK)]
    with Peer(answers) as peer:
        assert ecs.read_task(env(peer)).arn == ARN
    assert len(peer.requests) == ecs.TRIES


@pytest.mark.parametrize("answer", [http_answer(404, b""), http_answer(200, b"<html>"), b"SSH-2.0\r\n", b""])
def test_an_agent_that_never_gives_a_task_is_a_platform_error(answer: bytes) -> None:
    with Peer([answer]) as peer, pytest.raises(PlatformError) as caught:
        ecs.read_task(env(peer))
    assert caught.value.reason == "task_metadata_unreadable"
    assert ecs.VARIABLE in caught.value.hint
    assert len(peer.requests) == ecs.TRIES


@pytest.mark.parametrize("url", ["https://169.254.170.2/v4/x", "nonsense", "http://127.0.0.1:port/v4"])
def test_a_variable_that_names_no_plain_endpoint_is_a_platform_error(url: str) -> None:
    with pytest.raises(PlatformError):
        ecs.read_task({ecs.VARIABLE: url})


def test_an_agent_that_is_not_there_is_a_platform_error() -> None:
    with pytest.raises(PlatformError):
        ecs.read_task({ecs.VARIABLE: f"http://127.0.0.1:{free_port()}/v4/x"})


def test_we_are_on_ecs_where_the_agent_says_so() -> None:
    assert ecs.on_ecs({ecs.VARIABLE: "http://169.254.170.2/v4/x"})
    assert not ecs.on_ecs({ecs.VARIABLE: ""})
    assert not ecs.on_ecs({"AWS_EXECUTION_ENV": "AWS_ECS_FARGATE"})


@pytest.mark.parametrize(("desired", "expected"), [("RUNNING", True), ("STOPPED", False), ("", False), (None, False)])
def test_the_task_goes_on_only_where_ecs_wants_it_to_run(desired: str | None, expected: bool) -> None:
    with Peer([http_answer(200, TASK | {"DesiredStatus": desired})]) as peer:
        assert ecs.task_keeps_running(env(peer)) is expected


@pytest.mark.parametrize(
    "answer", [http_answer(404, b""), http_answer(200, b"[]"), http_answer(200, b"half"), b"", None]
)
def test_in_doubt_the_task_ends_and_that_is_known_within_its_flush(answer: bytes | None) -> None:
    began = time.monotonic()
    with Peer([answer]) as peer:
        assert ecs.task_keeps_running(env(peer)) is False
    assert time.monotonic() - began < 5
    assert not ecs.task_keeps_running({})
    assert not ecs.task_keeps_running({ecs.VARIABLE: f"http://127.0.0.1:{free_port()}/v4/x"})
    assert not ecs.task_keeps_running({ecs.VARIABLE: "nonsense"})


def test_an_agent_that_says_nothing_holds_up_nobody_for_long() -> None:
    began = time.monotonic()
    with Peer([None]) as peer, pytest.raises(PlatformError):
        ecs.read_task(env(peer))
    assert time.monotonic() - began < 3 * ecs.TRIES
