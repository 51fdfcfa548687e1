"""The verdict on an identity, from its ARN alone."""

from __future__ import annotations

import pytest

from sidecar.doctor.checks.identity import judged
from sidecar.doctor.finding import Status
from sidecar.platform.ecs import Task

ACCOUNT = "123456789012"
ROLE = {"AWS_ROLE_ARN": f"arn:aws:iam::{ACCOUNT}:role/team/app"}
STS = f"arn:aws:sts::{ACCOUNT}:assumed-role"

IDENTITIES = [
    (f"{STS}/app/botocore-session-1", ROLE, "pass"),
    (f"{STS}/app/botocore-session-1", {}, "pass"),
    (f"{STS}/other/botocore-session-1", ROLE, "fail"),
    (f"{STS}/node/i-0123456789abcdef0", {}, "fail"),
    (f"arn:aws:iam::{ACCOUNT}:user/jane", {}, "fail"),
    (f"arn:aws:iam::{ACCOUNT}:root", {}, "fail"),
    (f"arn:aws:sts::{ACCOUNT}:federated-user/jane", {}, "fail"),
    (f"arn:aws-cn:sts::{ACCOUNT}:assumed-role/app/s", {}, "pass"),
]


@pytest.mark.parametrize(("arn", "env", "status"), IDENTITIES, ids=[arn[12:] for arn, _, _ in IDENTITIES])
def test_only_the_workloads_own_role_passes(arn: str, env: dict[str, str], status: str) -> None:
    found = judged(arn, ACCOUNT, env, None)
    assert found.status is Status(status)
    assert ACCOUNT not in found.seen


def test_a_role_of_another_account_than_the_tasks_is_a_warning() -> None:
    task = Task(arn="x", region="us-east-1", partition="aws", account="999999999999", cluster="", launch_type="")
    assert judged(f"{STS}/app/s", ACCOUNT, {}, task).status is Status.WARN
    assert judged(f"{STS}/app/s", "999999999999", {}, task).status is Status.PASS
