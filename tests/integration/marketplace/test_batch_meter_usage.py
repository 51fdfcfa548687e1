"""BatchMeterUsage and ResolveCustomer through the real SDK, against servers that answer as AWS may."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest

from sidecar.marketplace.batch_meter_usage import Batched, batch_meter_usage
from sidecar.marketplace.client import Marketplace
from sidecar.marketplace.resolve_customer import NotResolved, Resolved, resolve_customer
from sidecar.metering.batch_call import Answered, BatchRequest, RecordAnswer, RecordKey
from sidecar.metering.outcomes import Refused, Unknown
from tests.integration.gate.support import KEYS, REGION, Answer, Rig, dead_url

AT: Final = 1_764_363_599
TOKEN: Final = "reg+token/of=the:buyer.1_2-3"
ACCOUNT: Final = "123456789012"
ARN: Final = "arn:aws:license-manager::294406891311:license:l-1"
RECORD: Final = {
    "CustomerAWSAccountId": ACCOUNT,
    "LicenseArn": ARN,
    "Dimension": "requests",
    "Timestamp": AT,
    "QuantityAsDecimal": "7",
}
KEY: Final = RecordKey(account=ACCOUNT, identifier="", license_arn=ARN, dimension="requests", hour=AT // 3600)


def body(**members: Any) -> Answer:
    return Answer(body=json.dumps(members).encode())


def error(code: str, message: str = "no", status: int = 400) -> Answer:
    return Answer(status=status, body=json.dumps({"__type": code, "message": message}).encode())


def batched(rig: Rig, url: str) -> Batched:
    with rig.seen_by_sdk(url, KEYS) as seen:
        marketplace = Marketplace(region=REGION, endpoint_url=url, env=seen)
        return batch_meter_usage(marketplace, BatchRequest(product_code=None, records=(RECORD,)))


def resolved(rig: Rig, url: str) -> Resolved | NotResolved:
    with rig.seen_by_sdk(url, KEYS) as seen:
        return resolve_customer(Marketplace(region=REGION, endpoint_url=url, env=seen), TOKEN)


def test_an_answer_is_read_by_the_record_that_it_echoes(rig: Rig) -> None:
    result = {"UsageRecord": RECORD, "MeteringRecordId": "id-1", "Status": "Success"}
    found = batched(rig, rig.web(body(Results=[result], UnprocessedRecords=[RECORD])).url)
    answer = RecordAnswer(key=KEY, status="Success", record_id="id-1")
    assert found.outcome == Answered(results=(answer,), unprocessed=(KEY,))


@pytest.mark.parametrize("members", [{}, {"Results": None, "UnprocessedRecords": None}], ids=["missing", "null"])
def test_missing_lists_are_empty(rig: Rig, members: dict[str, Any]) -> None:
    assert batched(rig, rig.web(body(**members)).url).outcome == Answered(results=(), unprocessed=())


def test_a_result_that_echoes_no_record_answers_none(rig: Rig) -> None:
    found = batched(rig, rig.web(body(Results=[{"MeteringRecordId": "id-1", "Status": "Success"}])).url)
    assert found.outcome == Answered(results=(), unprocessed=())


def test_a_refused_batch_was_certainly_not_billed(rig: Rig) -> None:
    found = batched(rig, rig.web(error("InvalidLicenseException")).url)
    assert found.outcome == Refused(code="InvalidLicenseException")


def test_a_route_that_is_dead_sent_nothing(rig: Rig) -> None:
    assert batched(rig, dead_url()).outcome == Refused(code="EndpointConnectionError", sent=False)


def test_half_an_answer_leaves_the_batch_unknown(rig: Rig) -> None:
    half = Answer(body=b'{"Results": [', missing=100)
    assert isinstance(batched(rig, rig.web(half).url).outcome, Unknown)


def test_a_customer_is_resolved_with_everything_that_aws_says(rig: Rig) -> None:
    members = {"CustomerAWSAccountId": ACCOUNT, "ProductCode": "prod1", "LicenseArn": ARN, "CustomerIdentifier": ""}
    found = resolved(rig, rig.web(body(**members, Metadata={"AgreementId": "agmt-1"})).url)
    assert isinstance(found, Resolved)
    assert (found.product_code, found.account, found.license_arn, found.identifier, found.agreement_id) == (
        "prod1",
        ACCOUNT,
        ARN,
        "",
        "agmt-1",
    )


def test_an_answer_without_a_product_code_resolves_nobody(rig: Rig) -> None:
    found = resolved(rig, rig.web(body(CustomerAWSAccountId=ACCOUNT)).url)
    assert isinstance(found, NotResolved)
    assert found.reason == "answer_incomplete"


@pytest.mark.parametrize(
    ("code", "status", "reason"),
    [
        ("ExpiredTokenException", 422, "token_expired"),
        ("InvalidTokenException", 422, "token_invalid"),
        ("AccessDeniedException", 503, "access_denied"),
        ("ThrottlingException", 503, "throttled"),
        ("SomethingNew", 503, "unknown_error"),
    ],
)
def test_a_refused_token_is_named_and_never_shown(rig: Rig, code: str, status: int, reason: str) -> None:
    found = resolved(rig, rig.web(error(code, f"about {TOKEN}")).url)
    assert isinstance(found, NotResolved)
    assert (found.status, found.reason) == (status, reason)
    assert TOKEN not in repr(found)


def test_expired_credentials_are_fetched_again_before_a_token_counts_as_expired(rig: Rig) -> None:
    members = {"CustomerAWSAccountId": ACCOUNT, "ProductCode": "prod1"}
    web = rig.web(error("ExpiredTokenException"), body(**members))
    assert isinstance(resolved(rig, web.url), Resolved)
    assert len(web.requests) == 2
