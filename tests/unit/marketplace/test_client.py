"""A session without the handlers of other services sends what the SDK's own sends."""

from __future__ import annotations

import json
from io import BytesIO
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse
from botocore.config import Config
from botocore.exceptions import BotoCoreError
from botocore.session import Session

from sidecar.marketplace.client import DRY_CALLS, SERVICE, NarrowSession, _is_ours

EACH_TIME = {"Authorization", "X-Amz-Date", "amz-sdk-invocation-id"}
"""Headers that differ from one call to the next."""
KEYS = {"aws_access_key_id": "AKID", "aws_secret_access_key": "unused"}
METER: dict[str, Any] = {"ProductCode": "x", "UsageDimension": "y", "Timestamp": 1_700_000_000, "UsageQuantity": 1}
OF_STS = b"<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult/></AssumeRoleWithWebIdentityResponse>"


class Raw(BytesIO):
    """A body as the SDK reads it."""

    def stream(self) -> Any:
        yield self.read()


def text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def sent(session: Session, service: str, config: Config) -> list[tuple[str, str, dict[str, str], str]]:
    """What a session sends for its calls of a service, in the parts that do not differ each time."""
    seen = []

    def stop(request: Any, **_: Any) -> AWSResponse:
        headers = {name: text(value) for name, value in request.headers.items()}
        signed = headers.get("Authorization", "").partition("Signature=")[0]
        same = {name: value for name, value in headers.items() if name not in EACH_TIME}
        seen.append((request.method, request.url, {**same, "signed": signed}, text(request.body)))
        return AWSResponse(request.url, 200, {}, Raw(OF_STS if service == "sts" else b"{}"))

    client = session.create_client(service, region_name="us-east-1", config=config, **KEYS)
    client.meta.events.register("before-send", stop)
    DRY_CALLS[service](client)
    if service == SERVICE:
        client.meter_usage(**METER, ClientToken="z")
    return seen


@pytest.mark.parametrize("service", DRY_CALLS)
@pytest.mark.parametrize("fips", [False, True])
def test_the_narrow_session_sends_what_the_full_one_sends(
    service: str, fips: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"AWS_LAMBDA_FUNCTION_NAME": "f", "_X_AMZN_TRACE_ID": "Root=1"}.items():
        monkeypatch.setenv(name, value)  # has a handler of every service write a header
    config = Config(use_fips_endpoint=fips, user_agent="test")
    full, narrow = (sent(each, service, config) for each in (Session(), NarrowSession()))
    assert full == narrow
    assert {headers["X-Amzn-Trace-Id"] for _, _, headers, _ in full} == {"Root=1"}
    assert all(("Credential=AKID" in headers["signed"]) == (service != "sts") for _, _, headers, _ in full)


def test_the_sdks_own_handlers_of_these_services_stay() -> None:
    tokens: list[str] = []
    client = NarrowSession().create_client(SERVICE, region_name="us-east-1", **KEYS)

    def stop(request: Any, **_: Any) -> AWSResponse:
        tokens.append(json.loads(request.body)["ClientToken"])
        return AWSResponse(request.url, 200, {}, Raw(b"{}"))

    client.meta.events.register("before-send", stop)
    client.meter_usage(**METER)
    client.meter_usage(**METER)
    assert len(set(tokens)) == 2, "one of them makes a token where the caller gives none"


def test_a_mistake_in_a_call_is_still_found_before_it_is_sent() -> None:
    client = NarrowSession().create_client(SERVICE, region_name="us-east-1", **KEYS)
    with pytest.raises(BotoCoreError, match="PublicKeyVersion"):
        client.register_usage(ProductCode="x")


@pytest.mark.parametrize(
    ("event", "ours"),
    [
        ("before-call", True),
        ("choose-signer.sts.AssumeRoleWithWebIdentity", True),
        ("before-parameter-build.marketplace-metering", True),
        ("before-parameter-build.license-manager.CheckoutLicense", True),
        ("creating-client-class.*", True),
        ("before-call.s3", False),
        ("choose-signer.sts-like.AssumeRole", False),
        ("docs.*.sts.AssumeRole.complete-section", False),
    ],
)
def test_handlers_of_other_services_and_of_documentation_are_left_out(event: str, ours: bool) -> None:
    assert _is_ours(event) is ours
    called = []
    session = NarrowSession(include_builtin_handlers=False)
    session.register(event, lambda **_: called.append(event))
    session.get_component("event_emitter").emit(event.replace("*", "any"))
    assert called == [event] * ours
