"""What is drawn from a license is drawn once, to the unit; when in doubt it waits for a person."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from sidecar.billing.job import SubmitJob
from sidecar.billing.messages import Submission, SubmissionResult, read_results
from sidecar.emulator import Emulator
from sidecar.marketplace.client import LICENSES, Marketplace
from sidecar.marketplace.drawdown import draw_down
from sidecar.marketplace.meter_usage import Metered
from sidecar.metering.drawdown import Drawdown
from sidecar.metering.outcomes import Outcome, Refused, Settled, Unknown
from sidecar.metering.sealed_request import SealedRequest
from sidecar.metering.states import State
from sidecar.quick_dataclasses import replace
from tests.integration.billing.support import Story
from tests.integration.gate.support import KEYS, REGION, Rig, dead_url

from .license_server import Asked, LicenseServer, Reply, granted
from .support import sealed

SKU = "prod-4kq7example2x"
POOL = Drawdown(sku=SKU, name="pages", unit="Count")
PAGES = sealed(dimension="pages", quantity="7", client_token="a" * 32, drawdown=POOL)


@pytest.fixture
def aws(rig: Rig) -> Emulator:
    """An account with 100 pages, and a product that is metered besides."""
    aws = rig.aws()
    aws.define_license(id="l-1", sku=SKU, entitlements=[{"name": "pages", "max_count": 100}])
    return aws


def drawn(rig: Rig, url: str, request: SealedRequest = PAGES) -> Metered:
    with rig.seen_by_sdk(url, KEYS) as seen:
        return draw_down(
            Marketplace(region=REGION, endpoint_url=url, env=seen, service=LICENSES), request, pause=lambda _: None
        )


def test_a_quantity_leaves_the_pool_for_good_and_aws_says_by_which_request(aws: Emulator, rig: Rig) -> None:
    found = drawn(rig, aws.url)
    assert isinstance(found.outcome, Settled)
    assert found.outcome.record_id == found.request_id
    assert aws.drawn("l-1", "pages") == 7
    (checkout,) = aws.checkouts()
    assert checkout.token not in (found.outcome.record_id, found.request_id), "the consumption token is not kept"
    assert not aws.usage_records(), "nothing is metered"


@pytest.mark.parametrize("fault", ["drop_after", "drop_before", "ServerInternalException", "html_503"])
def test_a_lost_answer_is_asked_for_again_with_the_same_token(fault: str, aws: Emulator, rig: Rig) -> None:
    aws.fault("CheckoutLicense", fault, times=2)
    assert isinstance(drawn(rig, aws.url).outcome, Settled)
    assert [call.operation for call in aws.calls()] == ["CheckoutLicense"] * 3
    assert aws.drawn("l-1", "pages") == 7


def test_an_answer_that_stays_lost_is_unknown_though_it_was_drawn(aws: Emulator, rig: Rig) -> None:
    aws.fault("CheckoutLicense", "drop_after", times=None)
    assert drawn(rig, aws.url).outcome == Unknown(code="ConnectionClosedError")
    assert len(aws.calls()) == 3
    assert aws.drawn("l-1", "pages") == 7


def test_a_refusal_after_a_lost_answer_proves_nothing(aws: Emulator, rig: Rig) -> None:
    """The first attempt may have drawn what the second finds missing."""
    aws.fault("CheckoutLicense", "drop_after")
    aws.fault("CheckoutLicense", "NoEntitlementsAllowedException")
    assert drawn(rig, aws.url).outcome == Unknown(code="ConnectionClosedError")


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (replace(PAGES, quantity="101"), "NoEntitlementsAllowedException"),
        (replace(PAGES, drawdown=replace(POOL, name="Pages")), "NoEntitlementsAllowedException"),
    ],
)
def test_what_the_pool_cannot_give_is_definitely_refused(
    request_: SealedRequest, code: str, aws: Emulator, rig: Rig
) -> None:
    assert drawn(rig, aws.url, request_).outcome == Refused(code=code)
    assert len(aws.calls()) == 1, "no repeat changes it"
    assert aws.drawn("l-1", "pages") == 0


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("RateLimitExceededException", "RateLimitExceededException"),
        ("ThrottlingException", "ThrottlingException"),
        ("AccessDeniedException", "AccessDeniedException:license"),
        ("ValidationException", "ValidationException:license"),
    ],
)
def test_a_refusal_has_the_meaning_it_has_for_a_license(code: str, said: str, aws: Emulator, rig: Rig) -> None:
    aws.fault("CheckoutLicense", code)
    assert drawn(rig, aws.url).outcome == Refused(code=said)


def test_out_of_reach_nothing_was_drawn(rig: Rig) -> None:
    assert drawn(rig, dead_url()).outcome == Refused(code="EndpointConnectionError", sent=False)


@pytest.mark.parametrize("fault", ["AccessDenied", "drop_after", "drop_before", "ValidationError"])
def test_credentials_that_are_not_given_draw_nothing(fault: str, aws: Emulator, rig: Rig) -> None:
    aws.fault("AssumeRoleWithWebIdentity", fault, times=None)
    with rig.seen_by_sdk(aws.url, rig.irsa) as seen:
        marketplace = Marketplace(region=REGION, endpoint_url=aws.url, env=seen, service=LICENSES)
        outcome = draw_down(marketplace, PAGES, pause=lambda _: None).outcome
    assert isinstance(outcome, Refused)
    assert not outcome.sent
    assert aws.drawn("l-1", "pages") == 0


@pytest.mark.parametrize("quantity", ["0", "1.5", "-1"])
def test_what_is_no_whole_amount_is_not_sent(quantity: str, aws: Emulator, rig: Rig) -> None:
    outcome = drawn(rig, aws.url, replace(PAGES, quantity=quantity)).outcome
    assert outcome == Refused(code="ParamValidationError", sent=False)
    assert not aws.calls()


@contextmanager
def playing(play: Callable[[Asked], Reply]) -> Iterator[LicenseServer]:
    with LicenseServer(play) as server:
        yield server


def test_another_amount_than_asked_is_no_success(rig: Rig) -> None:
    less = [{"Name": "pages", "Unit": "Count", "Value": "3"}]
    with playing(lambda asked: granted(asked, EntitlementsAllowed=less)) as server:
        assert drawn(rig, server.url).outcome == Unknown(code="entitlement_not_in_answer")


def test_a_drawdown_is_perpetual_and_of_the_sealed_amount_and_token(rig: Rig) -> None:
    with playing(granted) as server:
        assert isinstance(drawn(rig, server.url).outcome, Settled)
        (asked,) = server.asked
    assert asked.body["CheckoutType"] == "PERPETUAL"
    assert asked.body["ClientToken"] == "a" * 32
    assert asked.body["Entitlements"] == [{"Name": "pages", "Unit": "Count", "Value": "7"}]
    assert asked.body["ProductSKU"] == SKU


# -- in a batch, and in a real child -----------------------------------------------------------------


def batch(url: str, *requests: SealedRequest) -> Submission:
    return Submission(requests=requests, region=REGION, endpoint_url=url)


def another(name: str, **changed: object) -> SealedRequest:
    return replace(PAGES, client_token=name * 32, **changed)  # type: ignore[arg-type]


def submitted(rig: Rig, submission: Submission) -> list[Outcome]:
    with rig.seen_by_sdk(submission.endpoint_url) as seen:
        return [one.outcome for one in SubmitJob(submission=submission, env=seen).results()]


def test_what_stops_one_service_does_not_stop_the_other(aws: Emulator, rig: Rig) -> None:
    aws.fault("CheckoutLicense", "AccessDeniedException", times=None)
    found = submitted(rig, batch(aws.url, another("b"), sealed(), another("c")))
    refused = Refused(code="AccessDeniedException:license")
    assert (found[0], found[2]) == (refused, replace(refused, sent=False))
    assert isinstance(found[1], Settled)
    aws.clear_faults()
    aws.fault("MeterUsage", "AccessDeniedException", times=None)
    assert [type(one) for one in submitted(rig, batch(aws.url, sealed(), another("d")))] == [Refused, Settled]


def test_an_empty_pool_stops_no_smaller_amount(aws: Emulator, rig: Rig) -> None:
    found = submitted(rig, batch(aws.url, another("b", quantity="101"), another("c", quantity="100")))
    assert [type(one) for one in found] == [Refused, Settled]
    assert aws.drawn("l-1", "pages") == 100


def test_a_real_child_draws_and_meters(aws: Emulator, rig: Rig) -> None:
    submission = batch(aws.url, PAGES, sealed())
    child = rig.spawned(submission)
    found: list[SubmissionResult] = read_results(child, submission, time.monotonic() + 30)
    assert [type(one.outcome) for one in found] == [Settled, Settled]
    assert aws.drawn("l-1", "pages") == 7
    assert [record.quantity for record in aws.usage_records()] == [7]


@pytest.mark.slow  # it starts real children
def test_a_child_killed_while_it_draws_leaves_one_in_doubt_and_draws_no_other(aws: Emulator, rig: Rig) -> None:
    aws.fault("CheckoutLicense", "hang", times=None)
    submission = batch(aws.url, another("b"), another("c"))
    child = rig.spawned(submission)
    until = time.monotonic() + 20
    while not aws.calls():
        assert time.monotonic() < until
        os.sched_yield()
    os.kill(child.pid, signal.SIGKILL)
    found = [one.outcome for one in read_results(child, submission, time.monotonic() + 30)]
    assert found == [Unknown(code="child_failed"), Refused(code="child_failed", sent=False)]
    assert len(aws.calls()) == 1


# -- from the ledger to the pool, through real children ------------------------------------------------

LICENSES_OF = '[{"name": "pro", "take": "check"}, {"name": "pages", "take": "drawdown", "dimension": "requests"}]'


@pytest.fixture
def story(aws: Emulator, rig: Rig, tmp_path: Path) -> Iterator[Story]:
    """A workload of the contract; its children are real, and ask the emulator."""

    class Contract(Story):
        def begin(self) -> None:
            super().begin()
            self.loop._opened.submitter._start_child = rig.spawned  # type: ignore[union-attr]

    told = Contract(
        tmp_path,
        entitlement_check="checkout_license",
        product_sku=SKU,
        licenses=LICENSES_OF,
        endpoint_url=aws.url,
    )
    yield told
    told.crash()


@pytest.mark.slow  # it starts real children
def test_from_push_to_pool_every_whole_unit_is_drawn_once(story: Story, aws: Emulator) -> None:
    story.use("7.5")
    story.at("11:00:30").at("11:10").use("0.5")
    story.restart().at("12:00:30").at("12:10")
    assert aws.drawn("l-1", "pages") == 8
    assert [story.record(one).state for one in ("10:00", "11:00")] == [State.SETTLED] * 2
    story.balanced()


@pytest.mark.slow  # it starts real children
def test_what_was_drawn_without_an_answer_is_not_drawn_again(story: Story, aws: Emulator) -> None:
    aws.fault("CheckoutLicense", "drop_after", times=None)
    aws.behave(license_client_token_seconds=600)
    story.use("7")
    story.at("11:00:30").at("11:10")
    aws.clear_faults()
    aws.set_clock(now=aws.clock.now() + timedelta(hours=1))  # AWS has forgotten the token
    story.restart().at("11:40").at("13:00")
    assert story.record("10:00").state is State.REJECTED
    assert aws.drawn("l-1", "pages") == 7
    story.balanced()


@pytest.mark.slow  # it starts real children
def test_a_child_killed_between_its_request_and_the_answer_draws_nothing_twice(story: Story, aws: Emulator) -> None:
    aws.fault("CheckoutLicense", "hang", times=None)
    story.use("7")
    story.at("11:00:30")
    sending = threading.Thread(target=lambda: story.at("11:10"))
    sending.start()
    until = time.monotonic() + 20
    while not aws.calls():
        assert time.monotonic() < until
        os.sched_yield()
    submitter = story.loop._opened.submitter  # type: ignore[union-attr]
    submitter._current.kill()  # type: ignore[union-attr]
    sending.join(20)
    aws.clear_faults()
    story.restart().at("12:00")
    assert (story.record("10:00").state, story.record("10:00").last_error) == (State.REJECTED, "outcome_unknown")
    assert len(aws.calls()) == 1
    story.balanced()
