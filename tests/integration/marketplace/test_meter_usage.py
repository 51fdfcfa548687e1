"""What is sealed is what AWS gets, once, however often it is sent; and a child that sends it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

import pytest
from botocore.model import ShapeResolver

from sidecar.billing.job import SubmitJob
from sidecar.billing.messages import Submission, SubmissionResult, read_results
from sidecar.emulator import Behaviour, Emulator
from sidecar.marketplace.client import Marketplace
from sidecar.marketplace.meter_usage import Caller, caller, has_decimals, meter_usage
from sidecar.metering.outcomes import Refused, Settled, Unknown
from sidecar.metering.rollup import Allocation
from sidecar.metering.sealed_request import QuantityKind
from sidecar.quick_dataclasses import replace
from tests.integration.gate.support import (
    KEYS,
    PRODUCT,
    REGION,
    ROLE,
    SECRET_KEY,
    WEB_IDENTITY,
    Answer,
    Rig,
    dead_url,
)

from .support import LAST_HOUR, REQUEST, metered, sealed

TASK: Final = "arn:aws:ecs:us-east-1:210987654321:task/prod/0123456789abcdef"
SPLIT: Final = (
    Allocation(tags=(("team", "red"), ("tenant", "a")), quantity=Decimal("4")),
    Allocation(tags=(), quantity=Decimal("3")),
)


def recorded(aws: Emulator) -> dict[str, Decimal]:
    return dict(aws.recorded(datetime.fromtimestamp(LAST_HOUR, UTC)))


# -- one request -------------------------------------------------------------------------------------


def test_a_record_is_settled_with_aws_own_id(rig: Rig) -> None:
    aws = rig.aws()
    found = metered(rig, aws.url)
    (record,) = aws.usage_records()
    assert found.outcome == Settled(record_id=record.record_id)
    assert found.request_id
    assert recorded(aws) == {"requests": 7}


def test_shares_go_with_their_tags_and_the_rest_without(rig: Rig) -> None:
    aws = rig.aws()
    assert isinstance(metered(rig, aws.url, request=sealed(allocations=SPLIT)).outcome, Settled)
    (record,) = aws.usage_records()
    found = {tuple(sorted(dict(one.tags).items())): one.quantity.value for one in record.allocations}
    assert found == {(("team", "red"), ("tenant", "a")): 4, (): 3}


def test_decimals_are_exact_on_the_wire_shares_included(rig: Rig) -> None:
    aws = rig.aws()
    shares = tuple(replace(one, quantity=one.quantity + Decimal("0.000001")) for one in SPLIT)
    request = sealed(quantity="7.000002", decimals=6, allocations=shares)
    assert isinstance(metered(rig, aws.url, request=request).outcome, Settled)
    assert recorded(aws) == {"requests": Decimal("7.000002")}


class Older(Marketplace):
    """An SDK from before the decimal fields."""

    def metering(self) -> Any:
        client = super().metering()
        shapes = client.meta.service_model._shape_resolver._shape_map
        shapes["MeterUsageRequest"]["members"].pop("UsageQuantityAsDecimal", None)
        assert isinstance(client.meta.service_model._shape_resolver, ShapeResolver)
        return client


@pytest.mark.parametrize(("kind", "sent"), [(QuantityKind.DECIMAL, False), (QuantityKind.INTEGER, True)])
def test_an_sdk_without_decimals_sends_integers_only(kind: QuantityKind, sent: bool, rig: Rig) -> None:
    aws = rig.aws()
    with rig.seen_by_sdk(aws.url) as seen:
        older = Older(region=REGION, endpoint_url=aws.url, env=seen)
        assert not has_decimals(older.metering())
        outcome = meter_usage(older, sealed(sealed_kind=kind)).outcome
    assert isinstance(outcome, Settled) is sent
    assert sent or outcome == Refused(code="DecimalsUnsupported", sent=False)
    assert bool(aws.usage_records()) is sent


@pytest.mark.parametrize("kind", QuantityKind)
def test_a_quantity_reaches_aws_in_the_field_it_was_sealed_for(kind: QuantityKind, rig: Rig) -> None:
    aws = rig.aws()
    assert isinstance(metered(rig, aws.url, request=sealed(sealed_kind=kind, allocations=SPLIT)).outcome, Settled)
    (record,) = aws.usage_records()
    assert record.is_decimal is (kind is QuantityKind.DECIMAL)
    assert {one.quantity.is_decimal for one in record.allocations} == {record.is_decimal}


@pytest.mark.parametrize(
    ("kind", "knob"),
    [(QuantityKind.DECIMAL, "refuse_decimal_quantity"), (QuantityKind.INTEGER, "refuse_integer_quantity")],
)
def test_a_refused_field_is_a_definite_refusal_and_the_other_field_is_taken(
    kind: QuantityKind, knob: str, rig: Rig
) -> None:
    aws = rig.aws(behaviour=Behaviour(**{knob: True}))  # type: ignore[arg-type]
    refused = metered(rig, aws.url, request=sealed(sealed_kind=kind))
    assert refused.outcome == Refused(code="ValidationException")
    assert recorded(aws) == {}
    (other,) = set(QuantityKind) - {kind}
    assert isinstance(metered(rig, aws.url, request=sealed(sealed_kind=other)).outcome, Settled)


def test_a_repeat_in_the_other_field_is_the_same_record(rig: Rig) -> None:
    aws = rig.aws()
    first = metered(rig, aws.url, request=sealed(sealed_kind=QuantityKind.DECIMAL))
    again = metered(rig, aws.url, request=sealed(sealed_kind=QuantityKind.INTEGER, client_token="another"))
    assert first.outcome == again.outcome


def test_this_sdk_has_decimals(rig: Rig) -> None:
    with rig.seen_by_sdk(None) as seen:
        assert has_decimals(Marketplace(region=REGION, endpoint_url=None, env=seen).metering())


def test_the_same_request_after_a_lost_answer_gets_the_same_record(rig: Rig) -> None:
    aws = rig.aws()
    aws.fault("MeterUsage", "drop_after")
    assert metered(rig, aws.url).outcome == Unknown(code="ConnectionClosedError")
    (record,) = aws.usage_records()
    assert metered(rig, aws.url).outcome == Settled(record_id=record.record_id)
    assert recorded(aws) == {"requests": 7}


def test_another_quantity_for_that_hour_is_refused(rig: Rig) -> None:
    aws = rig.aws()
    metered(rig, aws.url)
    assert metered(rig, aws.url, request=sealed(quantity="8", client_token="other")).outcome == Refused(
        code="DuplicateRequestException"
    )


@pytest.mark.parametrize("fault", ["missing_record_id", "html_200", "empty_200"])
def test_a_yes_without_a_record_id_is_unknown(fault: str, rig: Rig) -> None:
    aws = rig.aws()
    aws.fault("MeterUsage", fault)
    assert metered(rig, aws.url).outcome == Unknown(code="record_id_missing")
    assert isinstance(metered(rig, aws.url).outcome, Settled)


def test_the_pause_aws_asks_for_is_handed_on_in_seconds(rig: Rig) -> None:
    aws = rig.aws()
    aws.fault("MeterUsage", "ThrottlingException", retry_after=2500)
    assert metered(rig, aws.url).outcome == Refused(code="ThrottlingException", retry_after_seconds=2.5)


def test_credentials_are_not_fetched_for_every_record(rig: Rig) -> None:
    aws = rig.aws()
    with rig.seen_by_sdk(aws.url, rig.irsa) as seen:
        marketplace = Marketplace(region=REGION, endpoint_url=aws.url, env=seen)
        for _ in range(3):
            assert isinstance(meter_usage(marketplace, REQUEST).outcome, Settled)
    assert [call.operation for call in aws.calls()].count("AssumeRoleWithWebIdentity") == 1


# -- who was billed ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("env", "workload", "known"),
    [
        ("irsa", "pod-1", Caller(account="123456789012", role=ROLE)),
        ("irsa", TASK, Caller(account="123456789012", role=ROLE)),
        ("keys", TASK, Caller(account="210987654321", role="")),
        ("keys", "pod-1", Caller(account="", role="")),
    ],
)
def test_account_and_role_are_said_where_they_are_known(env: str, workload: str, known: Caller, rig: Rig) -> None:
    aws = rig.aws()
    with rig.seen_by_sdk(aws.url, rig.irsa if env == "irsa" else KEYS) as seen:
        marketplace = Marketplace(region=REGION, endpoint_url=aws.url, env=seen)
        meter_usage(marketplace, REQUEST)
        called = len(aws.calls())
        assert caller(marketplace, workload) == known
    assert len(aws.calls()) == called, "AWS is not asked for it"


# -- several -----------------------------------------------------------------------------------------


def several(url: str, *dimensions: str) -> Submission:
    requests = tuple(sealed(dimension=name, client_token=f"t-{name}") for name in dimensions)
    return Submission(requests=requests, region=REGION, endpoint_url=url)


def submitted(rig: Rig, submission: Submission) -> list[SubmissionResult]:
    with rig.seen_by_sdk(submission.endpoint_url) as seen:
        return list(SubmitJob(submission=submission, env=seen).results())


@pytest.fixture
def three(rig: Rig) -> Emulator:
    return rig.aws(dimensions=("a", "b", "c"))


def test_a_record_of_its_own_trouble_does_not_hold_the_others(three: Emulator, rig: Rig) -> None:
    said = [one.outcome for one in submitted(rig, several(three.url, "a", "nowhere", "c"))]
    assert said[1] == Refused(code="InvalidUsageDimensionException")
    assert isinstance(said[0], Settled)
    assert isinstance(said[2], Settled)


@pytest.mark.parametrize("code", ["ThrottlingException", "AccessDeniedException"])
def test_what_would_hold_every_record_ends_the_sending(code: str, three: Emulator, rig: Rig) -> None:
    three.fault("MeterUsage", code)
    said = [one.outcome for one in submitted(rig, several(three.url, "a", "b", "c"))]
    assert said == [Refused(code=code), *[Refused(code=code, sent=False)] * 2]
    assert len(three.calls()) == 1
    assert not three.usage_records()


def test_a_lost_answer_leaves_only_its_own_record_in_doubt(three: Emulator, rig: Rig) -> None:
    three.fault("MeterUsage", "drop_after")
    said = [one.outcome for one in submitted(rig, several(three.url, "a", "b"))]
    code = "ConnectionClosedError"
    assert said == [Unknown(code=code), Refused(code=code, sent=False)]
    assert recorded(three) == {"a": 7}


def test_aws_failing_one_record_is_asked_about_the_next(three: Emulator, rig: Rig) -> None:
    three.fault("MeterUsage", "InternalServiceErrorException")
    said = [one.outcome for one in submitted(rig, several(three.url, "a", "b"))]
    assert said[0] == Refused(code="InternalServiceErrorException")
    assert isinstance(said[1], Settled)


# -- in a real child ---------------------------------------------------------------------------------


def in_child(
    rig: Rig, submission: Submission, seconds: float = 30, env: dict[str, str] | None = None
) -> list[SubmissionResult]:
    return read_results(rig.spawned(submission, env or KEYS), submission, time.monotonic() + seconds)


def test_a_real_child_submits_and_says_who_was_billed(three: Emulator, rig: Rig) -> None:
    found = in_child(rig, several(three.url, "a", "b", "c"), env=rig.irsa)
    assert {one.outcome.record_id for one in found if isinstance(one.outcome, Settled)} == {
        record.record_id for record in three.usage_records()
    }
    assert recorded(three) == {"a": 7, "b": 7, "c": 7}
    assert {(one.account, one.role) for one in found} == {("123456789012", ROLE)}
    assert all(one.request_id for one in found)


def hanging(aws: Emulator) -> None:
    """The second call of a submission is done and its answer never comes."""
    aws.fault("MeterUsage", "slow", times=1, seconds=0)
    aws.fault("MeterUsage", "hang", times=None)


def wait_for(true: Callable[[], bool]) -> None:
    until = time.monotonic() + 20
    while not true():
        assert time.monotonic() < until
        os.sched_yield()


def test_a_killed_child_leaves_one_record_in_doubt_and_sends_no_other(three: Emulator, rig: Rig) -> None:
    hanging(three)
    submission = several(three.url, "a", "b", "c")
    started = rig.spawned(submission)
    wait_for(lambda: len(three.calls()) == 2)
    os.kill(started.pid, signal.SIGKILL)
    found = [one.outcome for one in read_results(started, submission, time.monotonic() + 30)]
    assert isinstance(found[0], Settled)
    assert found[1:] == [Unknown(code="child_failed"), Refused(code="child_failed", sent=False)]
    assert recorded(three) == {"a": 7}


def test_a_child_whose_time_is_up_is_gone_when_its_answers_are_there(three: Emulator, rig: Rig) -> None:
    hanging(three)
    submission = several(three.url, "a", "b", "c")
    started = rig.spawned(submission)
    wait_for(lambda: len(three.calls()) == 2)
    found = [one.outcome for one in read_results(started, submission, time.monotonic() + 1)]
    assert isinstance(found[0], Settled)
    assert found[1:] == [Unknown(code="child_timed_out"), Refused(code="child_timed_out", sent=False)]
    with pytest.raises(ProcessLookupError):
        os.kill(started.pid, 0)


def test_a_child_that_cannot_reach_aws_says_so_for_each(rig: Rig) -> None:
    found = [one.outcome for one in in_child(rig, several(dead_url(), "a", "b"))]
    assert found == [Refused(code="EndpointConnectionError", sent=False)] * 2


def test_an_ambient_endpoint_bills_nobody(three: Emulator, rig: Rig) -> None:
    fake = rig.web(Answer(body=b'{"MeteringRecordId": "forged"}'))
    env = {**KEYS, "AWS_ENDPOINT_URL": fake.url, "AWS_ENDPOINT_URL_MARKETPLACE_METERING": fake.url}
    (found,) = in_child(rig, several(three.url, "a"), env=env)
    assert isinstance(found.outcome, Settled)
    assert found.outcome.record_id != "forged"
    assert fake.requests == []


@pytest.mark.parametrize("through", ["keys", "irsa"])
@pytest.mark.parametrize("fault", [None, "AccessDeniedException", "ExpiredTokenException"])
def test_no_answer_holds_a_key_token_or_credential(fault: str | None, through: str, three: Emulator, rig: Rig) -> None:
    if fault:
        three.fault("*", fault, message=f"{SECRET_KEY} {WEB_IDENTITY} expired")
    env = rig.irsa if through == "irsa" else KEYS
    started = rig.spawned(several(three.url, "a"), env)
    line = started.read_line(time.monotonic() + 30)
    started.close()
    assert line
    for secret in (SECRET_KEY, WEB_IDENTITY, "Signature"):
        assert secret.encode() not in line


def test_who_is_not_subscribed_is_refused(rig: Rig) -> None:
    aws = rig.aws(subscribed=False, behaviour=Behaviour())
    assert metered(rig, aws.url).outcome == Refused(code="CustomerNotEntitledException")
    assert PRODUCT in aws.product_codes
