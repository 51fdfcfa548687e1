"""Who is metered, and where: what is found wins, what contradicts it is an error that names both."""

from __future__ import annotations

import pytest

from sidecar.errors import SettingsError
from sidecar.platform import identity
from sidecar.platform.ecs import Task
from sidecar.platform.eks import Pod

POD = Pod(uid="6f1c", name="shop-1", namespace="default", service_account="", node="n1")
TASK = Task(
    arn="arn:aws:ecs:eu-central-1:1:task/c/1",
    region="eu-central-1",
    partition="aws",
    account="1",
    cluster="c",
    launch_type="",
)


def never() -> str:
    raise AssertionError("nobody should have been asked")


def nowhere() -> None:
    return None


# -- who


def test_a_pod_is_its_uid() -> None:
    found = identity.identify_workload(POD, None, None, never)
    assert (found.id, found.kind, found.keeps_answers) == ("6f1c", "pod", True)
    assert found.labels == {"pod": "shop-1", "namespace": "default", "node": "n1"}


def test_a_task_is_its_arn() -> None:
    found = identity.identify_workload(None, TASK, None, never)
    assert (found.id, found.kind, found.keeps_answers) == (TASK.arn, "task", True)
    assert found.labels == {"cluster": "c", "account": "1"}


def test_where_neither_is_found_the_operators_name_counts() -> None:
    found = identity.identify_workload(None, None, "vm-1", never)
    assert (found.id, found.kind, found.keeps_answers) == ("vm-1", "named", True)


def test_without_any_name_a_workload_is_nameless_and_nothing_is_kept_for_it() -> None:
    found = identity.identify_workload(None, None, None, lambda: "a-uuid")
    assert (found.id, found.kind, found.keeps_answers) == ("a-uuid", "nameless", False)


@pytest.mark.parametrize(("pod", "task", "true"), [(POD, None, POD.uid), (None, TASK, TASK.arn)])
def test_a_name_that_says_the_same_is_fine(pod: Pod | None, task: Task | None, true: str) -> None:
    assert identity.identify_workload(pod, task, true, never).id == true


@pytest.mark.parametrize(("pod", "task", "true"), [(POD, None, POD.uid), (None, TASK, TASK.arn)])
def test_a_name_that_contradicts_what_is_found_is_refused_with_both(
    pod: Pod | None, task: Task | None, true: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        identity.identify_workload(pod, task, "vm-1", never)
    (found,) = caught.value.problems
    assert found.setting == "SIDECAR_WORKLOAD_ID"
    assert "'vm-1'" in found.fault
    assert repr(true) in found.fault


def test_a_pod_and_a_task_at_once_are_refused_with_both() -> None:
    with pytest.raises(SettingsError) as caught:
        identity.identify_workload(POD, TASK, None, never)
    (found,) = caught.value.problems
    assert found.setting == "POD_UID"
    assert repr(POD.uid) in found.fault
    assert repr(TASK.arn) in found.fault


# -- where

BOTH = {"AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "us-east-2"}


@pytest.mark.parametrize(
    ("env", "task", "name", "source", "said"),
    [
        ({}, TASK, "eu-central-1", "the task ARN", ()),
        ({"AWS_REGION": "us-east-1"}, None, "us-east-1", "AWS_REGION", ()),
        ({"AWS_DEFAULT_REGION": "us-east-2"}, None, "us-east-2", "AWS_DEFAULT_REGION", ()),
        ({"AWS_REGION": " us-east-1 ", "AWS_DEFAULT_REGION": "us-east-1"}, None, "us-east-1", "AWS_REGION", ()),
        ({"AWS_REGION": "", "AWS_DEFAULT_REGION": "us-east-2"}, None, "us-east-2", "AWS_DEFAULT_REGION", ()),
        ({"AWS_REGION": "eu-central-1"}, TASK, "eu-central-1", "the task ARN", ()),
        (BOTH, None, "us-east-1", "AWS_REGION", ("AWS_DEFAULT_REGION says us-east-2",)),
        ({"AWS_REGION": "us-east-1"}, TASK, "eu-central-1", "the task ARN", ("AWS_REGION says us-east-1",)),
        (
            BOTH,
            TASK,
            "eu-central-1",
            "the task ARN",
            ("AWS_REGION says us-east-1", "AWS_DEFAULT_REGION says us-east-2"),
        ),
    ],
)
def test_the_arn_wins_then_the_variables_and_a_disagreement_is_said(
    env: dict[str, str], task: Task | None, name: str, source: str, said: tuple[str, ...]
) -> None:
    found = identity.find_region(env, task, never)
    assert found is not None
    assert (found.name, found.source) == (name, source)
    if not said:
        assert found.disagreement is None
    else:
        assert found.disagreement is not None
        assert all(words in found.disagreement for words in said)
        assert found.disagreement.endswith(f"{name} is used")


@pytest.mark.parametrize("env", [{}, {"AWS_REGION": " "}])
def test_the_instance_is_the_last_resort(env: dict[str, str]) -> None:
    found = identity.find_region(env, None, lambda: "ap-south-1")
    assert found == identity.Region(name="ap-south-1", source="instance metadata", disagreement=None)


def test_where_nothing_says_it_there_is_no_region() -> None:
    assert identity.find_region({}, None, nowhere) is None
