"""Who is asked, from where, as whom; and what a result may say of it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import botocore.session
import pytest
from botocore.awsrequest import AWSResponse
from botocore.config import Config
from botocore.exceptions import BotoCoreError

from sidecar.emulator import Behaviour
from sidecar.emulator.behaviour import Platform
from sidecar.marketplace.client import NarrowLoader
from sidecar.quick_dataclasses import asdict

from .support import HTML, KEYS, PRODUCT, ROLE, SECRET_KEY, WEB_IDENTITY, Rig, read
from .support import Answer as Said

SERVICES: Final = {
    "license-manager": "check_in_license",
    "meteringmarketplace": "register_usage",
    "sts": "assume_role_with_web_identity",
}
QUESTIONS: Final[dict[str, dict[str, Any]]] = {
    "meteringmarketplace": {"ProductCode": PRODUCT, "PublicKeyVersion": 1, "Nonce": "n"},
    "license-manager": {"LicenseConsumptionToken": "x"},
    "sts": {"RoleArn": ROLE, "RoleSessionName": "session", "WebIdentityToken": "text"},
}


# -- a yes -------------------------------------------------------------------------------------------


def test_a_yes_says_which_workload_was_confirmed_where_and_as_whom(rig: Rig) -> None:
    aws = rig.aws()
    asked = rig.ask(aws.url, {**rig.irsa, "POD_NAME": "web-0", "POD_NAMESPACE": "shop"})
    result, identity = asked.result, asked.identity
    assert (result.answer, result.reason, result.code) == ("accepted", "registered", "")
    assert (identity.workload, identity.workload_kind) == ("pod-1", "pod")
    assert identity.labels == {"pod": "web-0", "namespace": "shop"}
    assert (identity.region, identity.region_source, identity.region_disagreement) == ("us-east-1", "AWS_REGION", None)
    assert (result.host, result.partition) == (urlsplit(aws.url).netloc, "aws")
    assert (result.credential_source, result.role) == ("IRSA (web identity)", ROLE)
    assert result.public_key_version == 1
    assert result.request_id
    assert not result.from_kept_answer


def test_a_key_version_that_aws_has_superseded_is_reported_with_its_instant(rig: Rig) -> None:
    aws = rig.aws(behaviour=Behaviour(superseded=(1,)))
    rotation_at = rig.ask(aws.url).result.rotation_at
    assert rotation_at is not None
    assert rotation_at.endswith("Z")
    assert abs(datetime.fromisoformat(rotation_at) - aws.started_at) < timedelta(seconds=1)


def test_a_key_version_that_is_current_has_no_such_instant(rig: Rig) -> None:
    assert rig.ask(rig.aws().url).result.rotation_at is None


def test_a_key_as_short_as_awss_sample_is_accepted_and_reported(rig: Rig) -> None:
    from sidecar.settings import PublicKey

    aws = rig.aws(key_bits=1024)
    result = rig.ask(aws.url, public_keys=(PublicKey(version=1, pem=aws.public_key()),)).result
    assert (result.answer, result.weak_key_bits) == ("accepted", 1024)


def test_a_key_of_2048_bits_is_not_called_weak(rig: Rig) -> None:
    assert rig.ask(rig.aws().url).result.weak_key_bits is None


@pytest.mark.parametrize("knobs", [{"claims": "pascal"}, {"claims": "both"}, {"iat": False}, {"version_as_text": True}])
def test_every_spelling_of_a_true_token_is_accepted(knobs: dict[str, object], rig: Rig) -> None:
    aws = rig.aws()
    aws.behave(**knobs)
    assert rig.ask(aws.url).result.answer == "accepted"


# -- who and where -----------------------------------------------------------------------------------


def test_a_pod_that_is_said_to_be_another_is_a_settings_error(rig: Rig) -> None:
    aws = rig.aws()
    result = rig.ask(aws.url, workload_id="somebody-else").result
    assert "somebody-else" in result.settings_fault
    assert "pod-1" in result.settings_fault
    assert aws.calls() == []


def test_a_pod_that_is_said_to_be_itself_is_asked_for(rig: Rig) -> None:
    assert rig.ask(rig.aws().url, workload_id="pod-1").result.answer == "accepted"


def test_regions_that_disagree_are_said_and_the_first_is_asked(rig: Rig) -> None:
    asked = rig.ask(rig.aws().url, {**KEYS, "AWS_DEFAULT_REGION": "eu-west-1"})
    assert asked.result.answer == "accepted"
    assert "eu-west-1" in (asked.identity.region_disagreement or "")


# -- ambient endpoints ----------------------------------------------------------------


AMBIENT: Final = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_MARKETPLACE_METERING", "AWS_ENDPOINT_URL_STS")


@pytest.mark.parametrize("variable", AMBIENT)
def test_an_ambient_endpoint_sees_no_request_while_another_is_set(variable: str, rig: Rig) -> None:
    fake = rig.web(Said(body=HTML))
    result = rig.ask(rig.aws().url, {**rig.irsa, variable: fake.url}).result
    assert result.answer == "accepted"
    assert fake.requests == []


@pytest.mark.parametrize("env", [KEYS, "irsa"])
def test_without_an_override_no_ambient_endpoint_is_followed_to_a_fake(env: Any, rig: Rig) -> None:
    """A proxy that lets nothing through stands in for the internet, so that AWS itself is not asked."""
    fake, internet = rig.web(Said(body=HTML)), rig.web(Said(status=403))
    config = rig.tmp / "config"
    config.write_text(f"[default]\nendpoint_url = {fake.url}\n")
    ambient = dict.fromkeys(AMBIENT, fake.url) | {
        "AWS_CONFIG_FILE": str(config),
        "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "false",
        "HTTPS_PROXY": internet.url,
    }
    result = rig.ask(None, {**(rig.irsa if env == "irsa" else env), **ambient}).result
    assert result.reason == "proxy_failed"
    assert fake.requests == []
    host = "sts.us-east-1.amazonaws.com" if env == "irsa" else "metering.marketplace.us-east-1.amazonaws.com"
    assert set(internet.requests) == {f"CONNECT {host}:443"}


def test_the_host_that_did_not_answer_is_the_one_in_the_hint(rig: Rig) -> None:
    internet = rig.web(Said(status=403))
    result = rig.ask(None, {**rig.irsa, "HTTPS_PROXY": internet.url}).result
    assert internet.requests == ["CONNECT sts.us-east-1.amazonaws.com:443"]
    assert "sts.us-east-1.amazonaws.com" in result.hint


def test_a_real_child_follows_no_ambient_endpoint_either(rig: Rig) -> None:
    fake, internet = rig.web(Said(body=HTML)), rig.web(Said(status=403))
    ambient = dict.fromkeys(AMBIENT, fake.url) | {"HTTPS_PROXY": internet.url}
    asked = rig.spawn(None, {**KEYS, **ambient})
    try:
        assert read(asked).reason == "proxy_failed"
    finally:
        asked.close()
    assert fake.requests == []
    assert internet.requests


# -- hosts by region ---------------------------------------------------------------------------------


HOSTS: Final = [
    ("us-east-1", {}, "aws", "metering.marketplace.us-east-1.amazonaws.com"),
    ("us-gov-west-1", {}, "aws-us-gov", "metering.marketplace.us-gov-west-1.amazonaws.com"),
    ("cn-north-1", {}, "aws-cn", "metering.marketplace.cn-north-1.amazonaws.com.cn"),
    ("us-east-1", {"AWS_USE_FIPS_ENDPOINT": "true"}, "aws", "metering.marketplace-fips.us-east-1.amazonaws.com"),
    ("us-east-1", {"AWS_USE_DUALSTACK_ENDPOINT": "true"}, "aws", "metering-marketplace.us-east-1.api.aws"),
]


@pytest.mark.parametrize(("region", "env", "partition", "host"), HOSTS)
def test_the_host_of_a_region_is_named_as_it_is_called(
    region: str, env: dict[str, str], partition: str, host: str, rig: Rig
) -> None:
    internet = rig.web(Said(status=403))
    result = rig.ask(None, {**KEYS, **env, "AWS_REGION": region, "HTTPS_PROXY": internet.url}).result
    assert (result.host, result.partition, result.reason) == (host, partition, "proxy_failed")
    assert host in result.hint
    assert internet.requests == [f"CONNECT {host}:443"]


UNCALLED: Final = [pytest.param(region, env, host, id=f"{region}-{'-'.join(env)}") for region, env, _, host in HOSTS]


@pytest.mark.parametrize(("region", "env", "host"), UNCALLED)
def test_the_host_of_a_region_is_named_right_before_anybody_called_it(
    region: str, env: dict[str, str], host: str, rig: Rig
) -> None:
    """Where STS cannot be reached, the operator has to let both hosts through."""
    internet = rig.web(Said(status=403))
    result = rig.ask(None, {**rig.irsa, **env, "AWS_REGION": region, "HTTPS_PROXY": internet.url}).result
    assert result.reason == "proxy_failed"
    assert result.host == host


STS_HOSTS: Final = [
    pytest.param("us-east-1", {}, "sts.us-east-1.amazonaws.com", id="us-east-1"),
    pytest.param("cn-north-1", {}, "sts.cn-north-1.amazonaws.com.cn", id="cn-north-1"),
    *(
        pytest.param(
            region,
            env,
            host,
            id=name,
        )
        for name, region, env, host in (
            ("fips", "us-east-1", {"AWS_USE_FIPS_ENDPOINT": "true"}, "sts-fips.us-east-1.amazonaws.com"),
            ("dualstack", "us-east-1", {"AWS_USE_DUALSTACK_ENDPOINT": "true"}, "sts.us-east-1.api.aws"),
            ("sovereign", "eusc-de-east-1", {}, "sts.eusc-de-east-1.amazonaws.eu"),
        )
    ),
]


@pytest.mark.parametrize(("region", "env", "host"), STS_HOSTS)
def test_the_sts_host_of_a_region_is_named_right_before_anybody_called_it(
    region: str, env: dict[str, str], host: str, rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sidecar.marketplace.client import Marketplace

    for name, value in {**rig.env(**KEYS), **env}.items():
        monkeypatch.setenv(name, value)
    marketplace = Marketplace(region=region, endpoint_url=None, env=env)
    marketplace.metering()
    assert marketplace.sts_host() == host


def endpoints(session: Any, region: str, *, fips: bool, dualstack: bool) -> Iterator[tuple[str, str]]:
    """Service → what a call of it would go to, or why it cannot; nothing is sent."""
    config = Config(use_fips_endpoint=fips, use_dualstack_endpoint=dualstack)
    for service, operation in SERVICES.items():
        called: list[str] = []

        def refuse(request: Any, called: list[str] = called, **_: Any) -> AWSResponse:
            called.append(request.url)
            return AWSResponse(request.url, 400, {}, None)

        try:
            client = session.create_client(
                service,
                region_name=region,
                aws_access_key_id="AKID",
                aws_secret_access_key="unused",
                config=config.merge(Config(retries={"total_max_attempts": 1})),
            )
            client.meta.events.register("before-send", refuse)
            resolved = client._ruleset_resolver.construct_endpoint(
                operation_model=client.meta.service_model.operation_model(client.meta.method_to_api_mapping[operation]),
                call_args=QUESTIONS[service],
                request_context={"client_config": client.meta.config},
            )
            yield service, f"{resolved.url} {resolved.properties}"
        except BotoCoreError as exc:
            yield service, type(exc).__name__


@pytest.mark.slow
def test_the_narrow_loader_finds_the_endpoints_of_the_full_one_in_every_region() -> None:
    full, narrow = botocore.session.Session(), botocore.session.Session()
    narrow.register_component("data_loader", NarrowLoader())
    partitions = full.get_component("data_loader").load_data("partitions")["partitions"]
    regions = [region for partition in partitions for region in partition["regions"] if "global" not in region]
    assert len(regions) > 35
    differ = []
    for region in regions:
        assert narrow.get_partition_for_region(region) == full.get_partition_for_region(region)
        for fips in (False, True):
            for dualstack in (False, True):
                found = [dict(endpoints(each, region, fips=fips, dualstack=dualstack)) for each in (narrow, full)]
                assert set(found[1]) == set(SERVICES)
                differ += [
                    (region, fips, dualstack, service, found[0][service], theirs)
                    for service, theirs in found[1].items()
                    if found[0][service] != theirs
                ]
    # Isolated partitions: the full loader's older table has no dual-stack names there, the rule sets have.
    assert [each for each in differ if not (each[2] and each[-1] == "EndpointVariantError")] == []
    assert {region.partition("-iso")[1] for region, *_ in differ} <= {"-iso"}


# -- cautions ----------------------------------------------------------------------------------------


def test_keys_in_the_environment_are_warned_of_beside_whatever_aws_says(rig: Rig) -> None:
    result = rig.ask(rig.aws(behaviour=Behaviour(platform=Platform.NONE)).url, {**rig.irsa, **KEYS}).result
    assert result.reason == "platform_not_supported"
    assert result.credential_source == "access keys in the environment"
    assert result.hint.endswith(result.credential_caution)
    assert "AWS_ACCESS_KEY_ID" in result.credential_caution


def container(rig: Rig) -> dict[str, str]:
    """Container credentials, as ECS and EKS Pod Identity serve them."""
    answer = {
        "AccessKeyId": "ASIAOFTHEPOD",
        "SecretAccessKey": SECRET_KEY,
        "Token": "session-token-of-the-pod",
        "Expiration": "2099-01-01T00:00:00Z",
    }
    server = rig.web(Said(body=json.dumps(answer).encode(), content_type="application/json"))
    token = rig.tmp / "pods.eks.amazonaws.com"
    token.write_text("authorization")
    return {
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": server.url + "/v1/credentials",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(token),
    }


def test_pod_identity_is_warned_of_by_name(rig: Rig) -> None:
    aws = rig.aws()
    aws.fault("RegisterUsage", "AccessDeniedException")
    result = rig.ask(aws.url, container(rig)).result
    assert result.credential_source == "EKS Pod Identity"
    assert "Pod Identity" in result.hint


def test_the_ecs_task_role_and_irsa_are_not_warned_of(rig: Rig) -> None:
    aws = rig.aws()
    aws.fault("RegisterUsage", "AccessDeniedException", times=2)
    task = {**container(rig), "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": ""}
    for env, name in ((task, "the ECS task role"), (rig.irsa, "IRSA (web identity)")):
        result = rig.ask(aws.url, env).result
        assert (result.credential_source, result.credential_caution) == (name, "")


def test_the_role_that_aws_names_in_a_refusal_stands_in_the_hint(rig: Rig) -> None:
    caller = "arn:aws:sts::123456789012:assumed-role/node-role/i-0123456789"
    aws = rig.aws()
    message = f"User: {caller} is not authorized to perform: aws-marketplace:RegisterUsage"
    aws.fault("RegisterUsage", "AccessDeniedException", message=message)
    result = rig.ask(aws.url).result
    assert result.role == caller
    assert caller in result.hint


# -- nothing secret ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "trouble",
    ["none", "AccessDeniedException", "ExpiredTokenException", "wrong_nonce", "wrong_key", "alg_none", "truncated"],
)
@pytest.mark.parametrize("through", ["keys", "irsa", "container"])
def test_a_report_holds_no_token_key_or_credential(trouble: str, through: str, rig: Rig) -> None:
    aws = rig.aws()
    signed: list[str] = []
    if trouble != "none":
        aws.fault("RegisterUsage", trouble, times=None)
    env = {"keys": KEYS, "irsa": rig.irsa, "container": container(rig)}[through]
    asked = rig.ask(aws.url, env)
    text = repr(asked.result) + json.dumps(asdict(asked.result))
    if asked.keep:
        assert asked.keep().kept
        kept = json.loads(next(rig.state_dir.glob("answer-*.json")).read_text())
        signed = [kept["token"], *kept["token"].split("."), kept["nonce"]]
    issued = [key.session_token for key in aws.callers._issued.values()]
    pem = rig.keys.public_pem(1).splitlines()[1]
    secrets = [SECRET_KEY, WEB_IDENTITY, "session-token-of-the-pod", pem, *issued, *signed]
    assert (trouble == "none") is bool(signed)
    assert (through == "irsa") is bool(issued)
    assert not [secret for secret in secrets if secret in text]


def test_a_child_says_its_report_before_it_writes_anything(rig: Rig) -> None:
    """A stuck disk must not hold up the gate."""
    asked = rig.ask(rig.aws().url)
    assert asked.keep is not None
    assert list(Path(rig.state_dir).iterdir()) == []
    assert asked.keep().kept
    assert len(list(Path(rig.state_dir).iterdir())) == 1


def test_asking_in_the_child_takes_a_fraction_of_its_budget(rig: Rig) -> None:

    began = time.monotonic()
    rig.ask(rig.aws().url, rig.irsa)
    assert time.monotonic() - began < rig.request(None).budget_seconds / 5
