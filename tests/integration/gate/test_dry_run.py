"""Where the listing prices dimensions, the gate asks by dry runs; a pass of before re-opens it."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from sidecar.emulator import Behaviour, Emulator
from sidecar.emulator.behaviour import DryRunStatus, Platform
from sidecar.entitlement import kept_pass
from sidecar.entitlement.registration import ProductCode, WorkloadId
from sidecar.gate.messages import CheckResult, KeptStatus, WorkloadIdentity, parse_message, read_result
from sidecar.ledger import kept_file as answer_file
from sidecar.marketplace.client import Marketplace
from sidecar.marketplace.meter_usage import Passed, dry_run
from sidecar.remote_clock import clock_for
from sidecar.settings import Dimension

from .support import BY_DRY_RUN, HTML, KEYS, PRODUCT, Rig, dead_url, read
from .support import Answer as Said

TWO: Final = (Dimension(name="requests"), Dimension(name="gb_hours", decimals=3))
LONG_AGO: Final = datetime(2026, 1, 31, 23, 59, tzinfo=UTC)
AWS_SAYS: Final = {"x-amzn-RequestId": "q-1"}


def asked(rig: Rig, url: str | None, env: dict[str, str] | None = None, **changed: Any) -> CheckResult:
    return rig.ask(url, {**KEYS, **(env or {})}, **{**BY_DRY_RUN, **changed}).result


def both(rig: Rig, **settings: Any) -> Emulator:
    return rig.aws(dimensions=("requests", "gb_hours"), **settings)


# -- a pass ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", DryRunStatus)
def test_a_dry_run_that_passed_opens_the_gate_under_either_status(status: DryRunStatus, rig: Rig) -> None:
    aws = both(rig, behaviour=Behaviour(dry_run_status=status))
    result = asked(rig, aws.url, dimensions=TWO)
    assert (result.answer, result.reason, result.asked, result.code) == ("accepted", "dry_run_passed", "MeterUsage", "")
    assert result.request_id
    assert result.public_key_version is None
    assert [call.operation for call in aws.calls()] == ["MeterUsage"] * 2
    assert list(aws.usage_records()) == [], "nothing is recorded"


@pytest.mark.parametrize(
    ("decimal", "quantity"), [(False, {"UsageQuantity": 0}), (True, {"UsageQuantityAsDecimal": "0"})]
)
def test_nothing_is_asked_about_in_the_field_that_usage_will_have(
    decimal: bool, quantity: dict[str, object], rig: Rig
) -> None:
    aws, sent = rig.aws(), []
    with rig.seen_by_sdk(aws.url) as seen:
        marketplace = Marketplace(region="us-east-1", endpoint_url=aws.url, env=seen)
        marketplace.metering().meta.events.register(
            "provide-client-params", lambda params, **_: sent.append({**params})
        )
        now = datetime.now(UTC)
        assert isinstance(dry_run(marketplace, PRODUCT, TWO[0], now, decimal=decimal), Passed)
    (asked,) = sent
    told = {"ProductCode": PRODUCT, "UsageDimension": "requests", "Timestamp": int(now.timestamp()), "DryRun": True}
    assert asked == told | quantity


WHOLE, FRACTION = TWO


@pytest.mark.parametrize(
    ("field", "dimension", "refused", "answer", "calls"),
    [
        ("auto", WHOLE, "refuse_decimal_quantity", "accepted", 2),
        ("auto", WHOLE, "refuse_integer_quantity", "accepted", 1),
        ("integer", WHOLE, "refuse_decimal_quantity", "accepted", 1),
        ("auto", FRACTION, "refuse_decimal_quantity", "deny", 1),
        ("decimal", WHOLE, "refuse_decimal_quantity", "deny", 1),
        ("integer", WHOLE, "refuse_integer_quantity", "deny", 1),
    ],
    ids=["auto", "auto_again", "integer", "fraction", "decimal", "integer_refused"],
)
def test_the_dry_run_follows_the_field_for_quantities(
    field: str, dimension: Dimension, refused: str, answer: str, calls: int, rig: Rig
) -> None:
    aws = both(rig, behaviour=Behaviour(**{refused: True}))  # type: ignore[arg-type]
    result = asked(rig, aws.url, dimensions=(dimension,), quantity_field=field)
    assert result.answer == answer
    names_it = f"give {dimension.name} decimals 0, and set SIDECAR_QUANTITY_FIELD to auto" in result.hint
    assert names_it is (answer == "deny" and field != "integer")
    assert [call.operation for call in aws.calls()] == ["MeterUsage"] * calls


@pytest.mark.parametrize("kind", ["application/x-amz-json-1.1", "application/x-amz-json-1.0", "application/json"])
def test_a_200_of_awss_protocol_is_a_pass(kind: str, rig: Rig) -> None:
    web = rig.web(Said(body=b"{}", content_type=kind, headers=AWS_SAYS))
    assert asked(rig, web.url).reason == "dry_run_passed"


@pytest.mark.parametrize(
    "said",
    [
        Said(body=HTML, content_type="text/html"),
        Said(body=HTML, content_type="text/html", headers=AWS_SAYS),
        Said(body=b"", content_type="text/html"),
        Said(body=b"{}"),
        Said(body=b"{}", content_type="application/jsonish", headers=AWS_SAYS),
    ],
)
def test_any_other_200_opens_nothing(said: Said, rig: Rig) -> None:
    result = asked(rig, rig.web(said).url)
    assert (result.answer, result.reason, result.code) == ("config", "answer_not_from_aws", "200")


def test_the_pass_of_one_word_on_a_web_page_opens_nothing(rig: Rig) -> None:
    page = Said(status=400, body=b"<html>DryRunOperation</html>", content_type="text/html")
    assert asked(rig, rig.web(page).url).reason == "answer_not_from_aws"


def test_that_word_from_sts_opens_nothing(rig: Rig) -> None:
    aws = rig.aws()
    aws.fault("AssumeRoleWithWebIdentity", "DryRunOperation")
    result = rig.ask(aws.url, rig.irsa, **BY_DRY_RUN).result
    assert (result.answer, result.reason) == ("config", "unknown_error")


# -- a no --------------------------------------------------------------------------------------------


def test_the_first_dimension_that_does_not_pass_is_the_answer(rig: Rig) -> None:
    aws = both(rig)
    result = asked(rig, aws.url, dimensions=(TWO[0], Dimension(name="nowhere"), TWO[1]))
    assert (result.answer, result.reason) == ("deny", "invalid_usage_dimension")
    assert "nowhere" in result.hint
    assert len(aws.calls()) == 2, "the third is not asked about"


def test_who_may_not_meter_is_told_what_to_allow(rig: Rig) -> None:
    aws = rig.aws(behaviour=Behaviour(allowed=False))
    result = asked(rig, aws.url)
    assert (result.answer, result.reason, result.code) == ("config", "access_denied", "UnauthorizedException")
    assert "aws-marketplace:MeterUsage" in result.hint


def test_who_is_not_subscribed_is_denied_where_aws_checks_it(rig: Rig) -> None:
    aws = rig.aws(subscribed=False, behaviour=Behaviour(dry_run_checks_subscription=True))
    assert asked(rig, aws.url).reason == "customer_not_entitled"


def test_outside_a_platform_the_gate_stays_shut(rig: Rig) -> None:
    result = asked(rig, rig.aws(behaviour=Behaviour(platform=Platform.NONE)).url)
    assert result.answer != "accepted"


def test_another_product_code_is_denied(rig: Rig) -> None:
    assert asked(rig, rig.aws().url, product_code="unknown").reason == "invalid_product_code"


# -- the clock ---------------------------------------------------------------------------------------


def test_the_instant_asked_about_is_the_followed_clocks(rig: Rig) -> None:
    aws = rig.aws(clock_start=LONG_AGO, clock_speed=0)
    assert rig.ask(aws.url, clock=clock_for(aws.url), **BY_DRY_RUN).result.reason == "dry_run_passed"
    refused = asked(rig, aws.url)
    assert (refused.reason, refused.code) == ("clock_skew", "TimestampOutOfBoundsException")


def test_a_real_child_verifies_a_token_by_the_followed_clock(rig: Rig) -> None:
    aws = rig.aws(clock_start=LONG_AGO, clock_speed=0)
    for clock_url, reason in ((aws.url, "registered"), (None, "token_iat")):
        child = rig.spawn(aws.url, clock_url=clock_url)
        try:
            assert read(child).reason == reason
        finally:
            child.close()


# -- the place ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("question", [{}, BY_DRY_RUN], ids=["registration", "dry_run"])
def test_a_real_child_says_where_it_is_before_aws_answers(question: dict[str, Any], rig: Rig) -> None:
    aws = rig.aws()
    aws.fault("*", "hang", times=None)
    child = rig.spawn(aws.url, **question)
    try:
        line = child.read_line(time.monotonic() + 20)
        assert line is not None
        identity = parse_message(line)
        assert child.read_line(time.monotonic()) is None, "AWS has not answered"
    finally:
        child.close()
    assert isinstance(identity, WorkloadIdentity)
    assert (identity.workload, identity.workload_kind, identity.region) == ("pod-1", "pod", "us-east-1")


def test_where_no_region_is_found_the_workload_is_known_all_the_same(rig: Rig) -> None:
    child = rig.spawn(dead_url(), {**KEYS, "AWS_REGION": "", "AWS_EC2_METADATA_DISABLED": "true"})
    try:
        found: list[WorkloadIdentity] = []
        result, _ = read_result(child, time.monotonic() + 20, found.append)
        assert result is not None
        assert result.reason == "no_region"
        assert [(one.workload, one.region) for one in found] == [("pod-1", "")]
    finally:
        child.close()


# -- the kept pass -----------------------------------------------------------------------------------


def pass_file(rig: Rig, workload: str = "pod-1") -> Path:
    return answer_file.pass_path(rig.state_dir, workload)


@pytest.fixture
def kept(rig: Rig) -> Rig:
    """A workload whose dry runs passed before."""
    passed = rig.ask(both(rig).url, **{**BY_DRY_RUN, "dimensions": TWO})
    assert passed.keep is not None
    assert passed.keep() == KeptStatus(kept=True)
    return rig


def restarted(rig: Rig, env: dict[str, str] | None = None, **changed: Any) -> CheckResult:
    """The same state directory, with AWS unreachable."""
    return asked(rig, dead_url(), env, **{"dimensions": TWO, **changed})


def test_a_kept_pass_opens_the_gate_of_the_same_workload(kept: Rig) -> None:
    result = restarted(kept)
    assert (result.answer, result.reason, result.from_kept_answer) == ("accepted", "kept_pass", True)
    assert result.code == "EndpointConnectionError"
    assert "aws_unreachable" in result.hint
    assert result.kept_refused == ""


def test_without_one_the_gate_stays_shut(rig: Rig) -> None:
    result = restarted(rig)
    assert (result.answer, result.kept_refused) == ("retry", "")


def test_a_dimension_that_is_set_no_more_is_no_obstacle(kept: Rig) -> None:
    assert restarted(kept, dimensions=TWO[:1]).from_kept_answer


def test_a_dimension_that_is_new_is(kept: Rig) -> None:
    result = restarted(kept, dimensions=(*TWO, Dimension(name="seats")))
    assert (result.answer, result.kept_refused) == ("retry", "kept_other_dimensions")


def test_another_product_is_not_let_in(kept: Rig) -> None:
    result = restarted(kept, product_code="prod2")
    assert (result.answer, result.kept_refused) == ("retry", "kept_other_product")


def test_another_workload_does_not_find_it_and_a_copy_opens_nothing(kept: Rig) -> None:
    result = restarted(kept, {"POD_UID": "pod-2"})
    assert (result.answer, result.kept_refused) == ("retry", "")
    pass_file(kept, "pod-2").write_text(pass_file(kept).read_text())
    result = restarted(kept, {"POD_UID": "pod-2"})
    assert (result.answer, result.kept_refused) == ("retry", "kept_other_workload")


@pytest.mark.parametrize("text", ["", "[]", "garbage"])
def test_a_broken_one_opens_nothing_and_says_why(text: str, kept: Rig) -> None:
    pass_file(kept).write_text(text)
    result = restarted(kept)
    assert (result.answer, result.kept_refused) == ("retry", "kept_unreadable")


def test_one_that_cannot_be_read_opens_nothing(kept: Rig) -> None:
    pass_file(kept).unlink()
    pass_file(kept).mkdir()
    assert restarted(kept).kept_refused == "kept_unreadable"


@pytest.mark.parametrize(
    "code",
    ["CustomerNotEntitledException", "UnauthorizedException", "InvalidUsageDimensionException", "ValidationException"],
)
def test_it_is_not_looked_at_where_aws_answered(code: str, kept: Rig) -> None:
    aws = both(kept)
    aws.fault("MeterUsage", code, times=2)
    result = asked(kept, aws.url, dimensions=TWO)
    assert (result.answer, result.from_kept_answer) == (result.answer, False)
    assert result.answer in ("deny", "config")
    assert result.kept_refused == ""


@pytest.mark.parametrize("code", ["ThrottlingException", "InternalServiceErrorException", "DuplicateRequestException"])
def test_it_opens_where_aws_could_not_say_yes_or_no(code: str, kept: Rig) -> None:
    aws = both(kept)
    aws.fault("MeterUsage", code)
    assert asked(kept, aws.url, dimensions=TWO).from_kept_answer


def test_neither_kind_of_kept_answer_stands_in_for_the_other(kept: Rig) -> None:
    assert kept.ask(dead_url()).result.answer == "retry"
    registered = kept.ask(kept.aws().url)
    assert registered.keep is not None
    registered.keep()
    assert restarted(kept).reason == "kept_pass"
    answer = answer_file.answer_path(kept.state_dir, "pod-1")
    pass_file(kept).write_text(answer.read_text())
    assert restarted(kept).kept_refused == "kept_unreadable"


def test_a_settled_record_of_this_workload_opens_it_too(rig: Rig) -> None:
    names = [one.name for one in TWO]
    text = kept_pass.settled(None, WorkloadId("pod-1"), ProductCode(PRODUCT), names)
    assert text is not None
    answer_file.replace(pass_file(rig), text)
    assert restarted(rig).reason == "kept_pass"


def test_a_workload_without_a_name_keeps_nothing(rig: Rig) -> None:
    found = rig.ask(rig.aws().url, {**KEYS, "POD_UID": ""}, **BY_DRY_RUN)
    assert found.result.answer == "accepted"
    assert found.keep is None


def test_real_children_keep_a_pass_and_reopen(rig: Rig) -> None:
    first = rig.spawn(rig.aws().url, **BY_DRY_RUN)
    try:
        assert read(first).reason == "dry_run_passed"
        line = first.read_line(time.monotonic() + 10)
        assert line is not None
        assert KeptStatus.from_json(line).kept
    finally:
        first.close()
    assert json.loads(pass_file(rig).read_text())["kind"] == "dry_run"
    second = rig.spawn(dead_url(), **BY_DRY_RUN)
    try:
        assert read(second).reason == "kept_pass"
    finally:
        second.close()


def test_a_skewed_host_is_told_so_by_its_own_clock_not_by_the_followed_one(rig: Rig) -> None:
    aws = rig.aws(clock_start=LONG_AGO, clock_speed=0)
    aws.fault("MeterUsage", "RequestTimeTooSkewed", times=None)
    child = rig.spawn(aws.url, clock_url=aws.url, **BY_DRY_RUN)
    try:
        result = read(child)
    finally:
        child.close()
    assert result.reason == "clock_skew"
    assert "This host is" not in result.hint
    assert abs(datetime.now(UTC) - LONG_AGO) > timedelta(days=1)
