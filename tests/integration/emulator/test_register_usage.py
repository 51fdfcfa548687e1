"""RegisterUsage through boto3: each rule, with what it forbids beside what it allows."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any

import jwt
import pytest
from botocore.exceptions import ClientError
from botocore.session import Session

from sidecar.emulator import Behaviour, Emulator
from sidecar.emulator.behaviour import Platform, Reask

from .conftest import PRODUCT, Aws, client, code, register


def test_a_subscribed_workload_gets_a_token_that_verifies(aws: Emulator) -> None:
    answer = register(aws.url, Nonce="a question")
    claims = jwt.decode(answer["Signature"], aws.public_key(version=1), algorithms=["PS256"])
    assert claims.pop("iat") > 0
    assert claims == {"productCode": PRODUCT, "nonce": "a question", "publicKeyVersion": 1}


def test_an_account_without_subscription_is_not_entitled(aws: Emulator) -> None:
    aws.unsubscribe()
    with pytest.raises(ClientError) as refused:
        register(aws.url)
    assert refused.value.response["Error"]["Code"] == "CustomerNotEntitledException"
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400


def test_after_unsubscribing_only_a_new_workload_is_denied(aws: Emulator) -> None:
    register(aws.url, workload="pod-a")
    aws.unsubscribe()
    assert code(lambda: register(aws.url, workload="pod-a")) == "ok"
    assert code(lambda: register(aws.url, workload="pod-b")) == "CustomerNotEntitledException"


def test_a_registration_counts_for_its_product_alone(aws: Emulator) -> None:
    register(aws.url, workload="pod-a")
    aws.unsubscribe()
    again = register(aws.url, workload="pod-a")
    assert again["Signature"]
    other = code(lambda: register(aws.url, workload="pod-a", ProductCode="prod2"))
    assert other == "CustomerNotEntitledException"


def test_unsubscribing_one_product_leaves_the_other(aws: Emulator) -> None:
    aws.unsubscribe(product="prod2")
    assert code(lambda: register(aws.url)) == "ok"
    assert code(lambda: register(aws.url, ProductCode="prod2")) == "CustomerNotEntitledException"


def test_a_subscription_belongs_to_an_account(aws: Emulator) -> None:
    aws.define_caller(access_key="pod-b", account="999999999999")
    assert code(lambda: register(aws.url, workload="pod-b")) == "CustomerNotEntitledException"
    aws.subscribe(account="999999999999")
    assert code(lambda: register(aws.url, workload="pod-b")) == "ok"


def test_asking_again_after_subscribing_succeeds_by_default(emulator: Aws) -> None:
    aws = emulator(subscribed=False)
    assert code(lambda: register(aws.url)) == "CustomerNotEntitledException"
    aws.subscribe()
    assert code(lambda: register(aws.url)) == "ok"


def test_a_sticky_denial_outlives_the_subscription_for_that_workload_alone(emulator: Aws) -> None:
    aws = emulator(subscribed=False, behaviour=Behaviour(reask=Reask.STICKY))
    assert code(lambda: register(aws.url, workload="pod-a")) == "CustomerNotEntitledException"
    aws.subscribe()
    assert code(lambda: register(aws.url, workload="pod-a")) == "CustomerNotEntitledException"
    assert code(lambda: register(aws.url, workload="pod-b")) == "ok"


def test_outside_ecs_and_eks_the_platform_is_not_supported(emulator: Aws) -> None:
    aws = emulator(behaviour=Behaviour(platform=Platform.NONE))
    assert code(lambda: register(aws.url)) == "PlatformNotSupportedException"


@pytest.mark.parametrize("platform", ["eks", "ecs"])
def test_both_container_platforms_are_supported(aws: Emulator, platform: str) -> None:
    aws.behave(platform=platform)
    assert code(lambda: register(aws.url)) == "ok"


def test_a_registered_workload_is_not_refused_for_its_platform(aws: Emulator) -> None:
    register(aws.url, workload="pod-a")
    aws.behave(platform="none")
    assert code(lambda: register(aws.url, workload="pod-a")) == "ok"
    assert code(lambda: register(aws.url, workload="pod-b")) == "PlatformNotSupportedException"


def test_a_role_without_the_permission_is_denied_in_the_words_of_iam(aws: Emulator) -> None:
    aws.define_caller(access_key="pod-a", allowed=False, role="app")
    with pytest.raises(ClientError) as refused:
        register(aws.url)
    assert refused.value.response["Error"] == {
        "Code": "AccessDeniedException",
        "Message": "User: arn:aws:sts::123456789012:assumed-role/app/pod-a is not authorized to perform: "
        "aws-marketplace:RegisterUsage on resource: * because no identity-based policy allows the "
        "aws-marketplace:RegisterUsage action",
    }
    assert code(lambda: register(aws.url, workload="pod-b")) == "ok"


def test_another_regions_endpoint_is_refused(aws: Emulator) -> None:
    assert code(lambda: register(aws.url, region="eu-west-1")) == "InvalidRegionException"


def test_a_workload_of_another_region_is_refused(aws: Emulator) -> None:
    aws.define_caller(access_key="pod-a", region="eu-west-1")
    assert code(lambda: register(aws.url, region="us-east-1")) == "InvalidRegionException"
    assert code(lambda: register(aws.url, region="eu-west-1")) == "InvalidRegionException"
    aws.behave(region="eu-west-1")
    assert code(lambda: register(aws.url, region="eu-west-1")) == "ok"


def test_a_disabled_api_says_so(emulator: Aws) -> None:
    aws = emulator(behaviour=Behaviour(disabled=True))
    assert code(lambda: register(aws.url)) == "DisabledApiException"


def test_an_unknown_product_code_is_refused(aws: Emulator) -> None:
    assert code(lambda: register(aws.url, ProductCode="prod9")) == "InvalidProductCodeException"


def test_an_unknown_key_version_is_refused(aws: Emulator) -> None:
    assert code(lambda: register(aws.url, PublicKeyVersion=2)) == "InvalidPublicKeyVersionException"


def test_the_longest_nonce_is_answered_and_a_longer_one_is_not(aws: Emulator) -> None:
    assert code(lambda: register(aws.url, Nonce="n" * 255)) == "ok"
    assert code(lambda: register(aws.url, Nonce="n" * 256)) == "ValidationException"


def test_no_nonce_asked_is_no_nonce_answered(aws: Emulator) -> None:
    answer = register(aws.url, Nonce=None)
    claims = jwt.decode(answer["Signature"], aws.public_key(), algorithms=["PS256"])
    assert "nonce" not in claims


def test_rotation_supersedes_the_old_version_which_goes_on_answering(emulator: Aws) -> None:
    aws = emulator(key_versions=(1,))
    assert register(aws.url).get("PublicKeyRotationTimestamp") is None
    assert aws.rotate() == 2
    old, new = register(aws.url), register(aws.url, PublicKeyVersion=2)
    assert old["PublicKeyRotationTimestamp"].timestamp() == int(aws.started_at.timestamp())
    assert new.get("PublicKeyRotationTimestamp") is None
    jwt.decode(old["Signature"], aws.public_key(version=1), algorithms=["PS256"])
    jwt.decode(new["Signature"], aws.public_key(), algorithms=["PS256"])
    with pytest.raises(jwt.InvalidSignatureError):
        jwt.decode(new["Signature"], aws.public_key(version=1), algorithms=["PS256"])


def test_every_error_the_model_names_for_registerusage_can_be_had_here(aws: Emulator) -> None:
    model = Session().get_service_model("meteringmarketplace").operation_model("RegisterUsage")
    for shape in model.error_shapes:
        aws.fault("RegisterUsage", shape.name)
        assert code(lambda: register(aws.url)) == shape.name


def _raw(url: str, target: str | None, body: bytes, **headers: str) -> tuple[int, dict[str, str], Any]:
    sent = {"Content-Type": "application/x-amz-json-1.1", **headers}
    if target is not None:
        sent["X-Amz-Target"] = target
    request = urllib.request.Request(url, data=body, headers=sent, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.status, dict(answer.headers), json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, dict(error.headers), json.loads(error.read())


@pytest.mark.parametrize("target", [None, "AWSMPMeteringService.Other", "RegisterUsage", "Other.X"])
def test_an_operation_that_is_not_built_is_unknown(aws: Emulator, target: str | None) -> None:
    status, headers, body = _raw(aws.url, target, b"{}")
    assert (status, body["__type"]) == (400, "UnknownOperationException")
    assert headers["Content-Type"] == "application/x-amz-json-1.1"
    assert headers["x-amzn-RequestId"]
    assert aws.calls() == []


def test_an_unsigned_request_is_told_so(aws: Emulator) -> None:
    status, _, body = _raw(aws.url, "AWSMPMeteringService.RegisterUsage", b"{}")
    assert (status, body["__type"]) == (400, "MissingAuthenticationTokenException")
    assert [(call.workload, call.answer) for call in aws.calls()] == [(None, "MissingAuthenticationTokenException")]


def test_a_malformed_signature_is_told_so(aws: Emulator) -> None:
    status, _, body = _raw(aws.url, "AWSMPMeteringService.RegisterUsage", b"{}", Authorization="Basic eDp5")
    assert (status, body["__type"]) == (400, "IncompleteSignatureException")


def test_the_list_of_calls_never_holds_a_token(aws: Emulator) -> None:
    token = register(aws.url)["Signature"]
    seen = urllib.request.urlopen(f"{aws.url}/_emulator/calls").read().decode()
    state = urllib.request.urlopen(f"{aws.url}/_emulator/state").read().decode()
    assert [(c["operation"], c["workload"], c["answer"]) for c in json.loads(seen)] == [
        ("RegisterUsage", "pod-a", "ok")
    ]
    assert token.split(".")[2] not in seen + state


def test_boto3_sees_a_request_id(aws: Emulator) -> None:
    assert len(register(aws.url)["ResponseMetadata"]["RequestId"]) == 36


def test_registrations_are_listed_once_per_workload(aws: Emulator) -> None:
    for workload in ("pod-a", "pod-a", "pod-b"):
        register(aws.url, workload=workload)
    assert [(each.workload, each.product_code) for each in aws.registrations()] == [
        ("pod-a", PRODUCT),
        ("pod-b", PRODUCT),
    ]


def test_two_clients_of_one_workload_share_its_registration(aws: Emulator) -> None:
    aws.define_caller(access_key="key-1", workload="pod-a")
    aws.define_caller(access_key="key-2", workload="pod-a")
    register(aws.url, workload="key-1")
    aws.unsubscribe()
    assert client(aws.url, workload="key-2").register_usage(ProductCode=PRODUCT, PublicKeyVersion=1)
