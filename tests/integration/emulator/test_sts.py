"""The walk of an EKS pod: a projected token, the STS exchange, RegisterUsage. All by endpoint override."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import boto3
import jwt
import pytest
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError

from sidecar.emulator import Emulator

from .conftest import ONE_TRY, PRODUCT, code

ROLE = "arn:aws:iam::123456789012:role/team/app"
UNSIGNED_CONFIG = Config(signature_version=UNSIGNED)


def pod_token(uid: str) -> str:
    return jwt.encode({"kubernetes.io": {"pod": {"uid": uid}}}, "0123456789abcdef0123456789abcdef")


@pytest.fixture
def irsa(aws: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A metering client as boto3 builds it in a pod with IRSA; each call to it is a fresh process's."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    token_file = tmp_path / "token"
    token_file.write_text(pod_token("pod-uid-1"))
    for name, value in {
        "AWS_CONFIG_FILE": str(tmp_path / "absent"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "absent"),
        "AWS_ROLE_ARN": ROLE,
        "AWS_WEB_IDENTITY_TOKEN_FILE": str(token_file),
        "AWS_ENDPOINT_URL_STS": aws.url,
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)

    def fresh() -> Any:
        return boto3.Session().client("meteringmarketplace", endpoint_url=aws.url, config=ONE_TRY)

    return fresh


def ask(client: Any) -> Any:
    return client.register_usage(ProductCode=PRODUCT, PublicKeyVersion=1)


def test_the_pod_in_the_token_is_who_registers(aws: Emulator, irsa: Any) -> None:
    assert ask(irsa())["Signature"]
    assert [each.workload for each in aws.registrations()] == ["pod-uid-1"]
    assert [(call.operation, call.workload, call.answer) for call in aws.calls()] == [
        ("AssumeRoleWithWebIdentity", "pod-uid-1", "ok"),
        ("RegisterUsage", "pod-uid-1", "ok"),
    ]


def test_a_restarted_container_is_the_same_workload(aws: Emulator, irsa: Any) -> None:
    ask(irsa())
    aws.unsubscribe()
    assert code(lambda: ask(irsa())) == "ok"
    assert len({each["access_key"] for each in aws.state()["callers"]}) == 2  # type: ignore[attr-defined]


def test_another_pod_of_the_same_role_is_another_workload(aws: Emulator, irsa: Any, tmp_path: Path) -> None:
    ask(irsa())
    aws.unsubscribe()
    (tmp_path / "token").write_text(pod_token("pod-uid-2"))
    assert code(lambda: ask(irsa())) == "CustomerNotEntitledException"


def test_a_token_of_any_text_will_do(aws: Emulator, irsa: Any, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("not a token at all")
    assert code(lambda: ask(irsa())) == "ok"
    assert aws.registrations()[0].workload.startswith("token-")


def test_account_and_role_come_from_the_role_arn(aws: Emulator, irsa: Any, monkeypatch: Any) -> None:
    monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::999999999999:role/app")
    assert code(lambda: ask(irsa())) == "CustomerNotEntitledException"
    aws.behave(allowed=False)
    with pytest.raises(ClientError, match="arn:aws:sts::999999999999:assumed-role/app/pod-uid-1 is not"):
        ask(irsa())


def test_a_malformed_role_arn_is_refused_by_sts(irsa: Any, monkeypatch: Any) -> None:
    monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::12:role/app-of-mine")
    with pytest.raises(ClientError) as refused:
        ask(irsa())
    assert refused.value.response["Error"]["Code"] == "ValidationError"
    assert refused.value.operation_name == "AssumeRoleWithWebIdentity"


def test_issued_keys_can_count_as_expired(aws: Emulator, irsa: Any) -> None:
    aws.behave(issued_keys_expired=True)
    assert code(lambda: ask(irsa())) == "ExpiredTokenException"
    aws.behave(issued_keys_expired=False)
    assert code(lambda: ask(irsa())) == "ok"


def test_expiring_keys_ends_those_issued_and_not_the_next(aws: Emulator, irsa: Any) -> None:
    old = irsa()
    ask(old)
    assert aws.expire_keys() == 1
    assert code(lambda: ask(old)) == "ExpiredTokenException"
    assert code(lambda: ask(irsa())) == "ok"


def test_an_issued_key_without_its_session_token_is_not_recognised(aws: Emulator, irsa: Any) -> None:
    client = irsa()
    ask(client)
    key = aws.state()["callers"][0]["access_key"]  # type: ignore[index]
    thief = boto3.client(
        "meteringmarketplace",
        endpoint_url=aws.url,
        region_name="us-east-1",
        aws_access_key_id=key,
        aws_secret_access_key="guess",
        config=ONE_TRY,
    )
    assert code(lambda: ask(thief)) == "UnrecognizedClientException"


@pytest.mark.parametrize(
    ("kind", "status"),
    [("AccessDenied", 400), ("InvalidIdentityToken", 400), ("IDPRejectedClaim", 403)],
)
def test_sts_refuses_on_order_in_its_own_form(aws: Emulator, irsa: Any, kind: str, status: int) -> None:
    aws.fault("AssumeRoleWithWebIdentity", kind, times=None)
    with pytest.raises(ClientError) as refused:
        ask(irsa())
    assert refused.value.response["Error"]["Code"] == kind
    assert refused.value.response["Error"]["Type"] == "Sender"
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == status
    assert aws.registrations() == []


def sts_client(aws: Emulator, **credentials: str) -> Any:
    keys = credentials or {"aws_access_key_id": "pod-b", "aws_secret_access_key": "x"}
    return boto3.client("sts", endpoint_url=aws.url, region_name="us-east-1", config=ONE_TRY, **keys)


def test_another_action_of_sts_is_unknown(aws: Emulator, irsa: Any) -> None:
    assert code(sts_client(aws).get_session_token) == "InvalidAction"


def test_sts_says_who_is_asking(aws: Emulator) -> None:
    aws.define_caller(access_key="pod-b", account="999999999999", role="app", workload="pod-b")
    answer = sts_client(aws).get_caller_identity()
    assert answer["Account"] == "999999999999"
    assert answer["Arn"] == "arn:aws:sts::999999999999:assumed-role/app/pod-b"
    assert [(call.operation, call.workload, call.answer) for call in aws.calls()] == [
        ("GetCallerIdentity", "pod-b", "ok")
    ]


def test_who_may_nothing_may_still_ask_who_it_is(aws: Emulator) -> None:
    aws.behave(allowed=False)
    assert code(sts_client(aws).get_caller_identity) == "ok"


def test_sts_refuses_a_stolen_and_an_expired_key_by_its_own_codes(aws: Emulator, irsa: Any) -> None:
    ask(irsa())
    key = aws.state()["callers"][0]["access_key"]  # type: ignore[index]
    stolen = sts_client(aws, aws_access_key_id=key, aws_secret_access_key="guess")
    assert code(stolen.get_caller_identity) == "InvalidClientTokenId"
    aws.behave(issued_keys_expired=True)
    pod = boto3.Session().client("sts", endpoint_url=aws.url, config=ONE_TRY)
    assert code(pod.get_caller_identity) == "ExpiredToken"


def test_an_unsigned_request_has_no_identity(aws: Emulator) -> None:
    unsigned = boto3.client("sts", endpoint_url=aws.url, region_name="us-east-1", config=ONE_TRY.merge(UNSIGNED_CONFIG))
    assert code(unsigned.get_caller_identity) == "MissingAuthenticationToken"


@pytest.mark.parametrize("seconds", [900, 43200])
def test_the_duration_asked_for_is_the_duration_given(aws: Emulator, irsa: Any, seconds: int) -> None:
    answer = _assume(aws, DurationSeconds=seconds)
    lasts = answer["Credentials"]["Expiration"] - aws.started_at
    assert seconds <= lasts.total_seconds() < seconds + 60
    assert answer["AssumedRoleUser"]["Arn"] == "arn:aws:sts::123456789012:assumed-role/app/s-1"
    assert answer["Credentials"]["AccessKeyId"].startswith("ASIA")


def test_a_duration_out_of_range_is_refused(aws: Emulator, irsa: Any) -> None:
    assert code(lambda: _assume(aws, DurationSeconds=43201)) == "ValidationError"


def _assume(aws: Emulator, **more: Any) -> Any:
    sts = boto3.client("sts", endpoint_url=aws.url, region_name="us-east-1", config=ONE_TRY)
    return sts.assume_role_with_web_identity(
        RoleArn=ROLE, RoleSessionName="s-1", WebIdentityToken=pod_token("pod-uid-1"), **more
    )
