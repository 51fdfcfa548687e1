"""Subscriptions that change are told in a queue, as SNS and EventBridge write them, and received by a long poll."""

from __future__ import annotations

import hashlib
import json
import threading
import time
import urllib.error
import urllib.request
from functools import partial
from typing import Any

import boto3
import pytest

from sidecar.emulator import Emulator
from sidecar.emulator.customers import Subscription
from sidecar.emulator.notices import Notice
from tests.integration.emulator.conftest import ONE_TRY, PRODUCT, Aws, code

ACME = "444455556666"


@pytest.fixture
def selling(emulator: Aws) -> Emulator:
    aws = emulator()
    arn = "arn:aws:license-manager::294406891311:license:l-1"
    aws.saas.define_customer(id="acme", account=ACME, license=arn, agreement="agmt-1")
    aws.saas.define_customer(id="old", account="777788889999", identifier="ident-1")
    return aws


def command(aws: Emulator, verb: str, **body: Any) -> Any:
    request = urllib.request.Request(f"{aws.url}/_emulator/{verb}", json.dumps(body).encode(), method="POST")
    with urllib.request.urlopen(request) as response:
        return json.load(response)


def queue(aws: Emulator, name: str = "marketplace") -> str:
    return f"{aws.url}/123456789012/{name}"


def sqs(aws: Emulator) -> Any:
    keys = {"aws_access_key_id": "seller", "aws_secret_access_key": "unchecked"}
    return boto3.client("sqs", endpoint_url=aws.url, region_name="us-east-1", config=ONE_TRY, **keys)


def received(aws: Emulator, *, name: str = "marketplace", **asked: Any) -> list[Any]:
    found = sqs(aws).receive_message(QueueUrl=queue(aws, name), MaxNumberOfMessages=10, **asked)
    return list(found.get("Messages", []))


@pytest.mark.parametrize(
    ("state", "action"),
    [("ending", "unsubscribe-pending"), ("ended", "unsubscribe-success"), ("active", "subscribe-success")],
)
def test_an_older_customers_change_comes_in_the_envelope_of_sns(selling: Emulator, state: str, action: str) -> None:
    command(selling, "subscription", customer="old", state=state)
    (message,) = received(selling)
    envelope = json.loads(message["Body"])
    assert envelope["Type"] == "Notification"
    assert envelope["TopicArn"].endswith(f":aws-mp-subscription-notification-{PRODUCT}")
    told = json.loads(envelope["Message"])
    assert (told["action"], told["customer-identifier"], told["product-code"]) == (action, "ident-1", PRODUCT)
    assert told["isFreeTrialTermPresent"] == "false"
    assert message["MD5OfBody"] == hashlib.md5(message["Body"].encode()).hexdigest()


@pytest.mark.parametrize(
    ("state", "kind"),
    [("ending", "Purchase Agreement Ended"), ("ended", "License Deprovisioned"), ("active", "License Updated")],
)
def test_a_newer_customers_change_is_an_event(selling: Emulator, state: str, kind: str) -> None:
    answer = command(selling, "subscription", customer="acme", state=state)
    (message,) = received(selling)
    assert answer["notices"] == [message["Body"]]
    event = json.loads(message["Body"])
    assert (event["detail-type"], event["source"]) == (f"{kind} - Manufacturer", "aws.agreement-marketplace")
    assert event["detail"]["agreement"]["id"] == "agmt-1"
    assert event["detail"]["acceptor"] == {"accountId": ACME}
    assert ("license" in event["detail"]) is kind.startswith("License")


def test_a_silent_change_tells_nothing(selling: Emulator) -> None:
    command(selling, "subscription", customer="old", state="ending", notify=False)
    assert selling.queues.waiting() == []
    assert selling.saas.customer("old").state is Subscription.ENDING


def test_a_notice_may_be_repeated_and_changes_no_subscription(selling: Emulator) -> None:
    told = command(selling, "notices", customer="old", notice="unsubscribe-success", times=2)
    assert selling.queues.waiting() == [told["text"]] * 2
    assert selling.saas.customer("old").state is Subscription.ACTIVE


def test_a_notice_may_be_only_written(selling: Emulator) -> None:
    told = command(selling, "notices", customer="acme", notice="License Updated", role="Proposer", times=0)
    assert json.loads(told["text"])["detail-type"] == "License Updated - Proposer"
    assert selling.queues.waiting() == []


def test_raw_delivery_has_no_envelope(selling: Emulator) -> None:
    told = command(selling, "notices", customer="old", notice="entitlement-updated", raw=True)
    assert json.loads(told["text"]) == {
        "action": "entitlement-updated",
        "customer-identifier": "ident-1",
        "product-code": PRODUCT,
    }


def test_an_event_may_print_the_license_as_awss_examples_do(selling: Emulator) -> None:
    selling.behave(saas_notice_license="bare")
    told = command(selling, "notices", customer="acme", notice="License Updated")
    arn = json.loads(told["text"])["detail"]["license"]["arn"]
    assert arn == "aws:license-manager:us-east-1:294406891311:l-1"


@pytest.mark.parametrize("notice", list(Notice))
def test_every_notice_is_json_in_either_form(selling: Emulator, notice: Notice) -> None:
    for customer in ("acme", "old"):
        told = command(selling, "notices", customer=customer, notice=notice.value, times=0)
        assert ("detail-type" in json.loads(told["text"])) is notice.is_event


def test_a_long_poll_ends_with_the_first_message(selling: Emulator) -> None:
    later = threading.Timer(0.2, selling.queues.send, ["hello"])
    later.start()
    began = time.monotonic()
    assert [each["Body"] for each in received(selling, WaitTimeSeconds=20)] == ["hello"]
    assert time.monotonic() - began < 15
    later.join()


def test_stopping_ends_every_long_poll(selling: Emulator) -> None:
    receive = partial(selling.queues.receive, "marketplace", most=1, wait_seconds=60, invisible_seconds=30)
    poll = threading.Thread(target=receive, daemon=True)
    poll.start()
    selling.stop()
    poll.join(timeout=15)
    assert not poll.is_alive()


def test_a_message_comes_again_until_it_is_deleted(selling: Emulator) -> None:
    selling.queues.send("hello")
    (first,) = received(selling, VisibilityTimeout=0, AttributeNames=["All"])
    (second,) = received(selling, AttributeNames=["All"])
    assert [each["Attributes"]["ApproximateReceiveCount"] for each in (first, second)] == ["1", "2"]
    assert received(selling) == []
    sqs(selling).delete_message(QueueUrl=queue(selling), ReceiptHandle=second["ReceiptHandle"])
    assert selling.queues.waiting() == []


def test_a_queue_is_there_from_its_first_message_on(selling: Emulator) -> None:
    missing = "AWS.SimpleQueueService.NonExistentQueue"
    assert code(lambda: received(selling, name="other")) == missing
    command(selling, "notices", text="no JSON", queue="other")
    assert [each["Body"] for each in received(selling, name="other")] == ["no JSON"]


def test_an_unknown_receipt_and_a_wait_too_long_are_refused(selling: Emulator) -> None:
    forget = lambda: sqs(selling).delete_message(QueueUrl=queue(selling), ReceiptHandle="nothing")  # noqa: E731
    assert code(forget) == "ReceiptHandleIsInvalid"
    assert code(lambda: received(selling, WaitTimeSeconds=21)) == "InvalidParameterValue"


def test_iam_and_faults_hold_for_queues_too(selling: Emulator) -> None:
    selling.fault("ReceiveMessage", "OverLimit")
    assert code(lambda: received(selling)) == "OverLimit"
    selling.define_caller(access_key="seller", allowed=False)
    assert code(lambda: received(selling)) == "AccessDeniedException"


@pytest.mark.parametrize(
    ("verb", "body", "complaint"),
    [
        ("notices", {"customer": "old"}, "notice: "),
        ("notices", {"notice": "unsubscribe-pending"}, "customer: "),
        ("notices", {"customer": "nobody", "notice": "unsubscribe-pending"}, "customer: "),
        ("subscription", {"customer": "old"}, "state: "),
        ("customers", {"account": "acme"}, "account: "),
        ("customers", {"account": "1", "license": "l-1"}, "license: "),
        ("customers", {"account": "1", "license": "arn:aws:license-manager::294406891311:license:l-1"}, "license: "),
        ("customers", {"account": "1", "identifier": "ident-1"}, "identifier: "),
        ("customers", {"account": "1", "product": "other"}, "product: "),
        ("customers", {"account": "1", "colour": "red"}, "colour: "),
        ("registration-token", {"customer": "nobody"}, "customer: "),
    ],
)
def test_a_bad_command_names_its_field_and_changes_nothing(
    selling: Emulator, verb: str, body: dict[str, Any], complaint: str
) -> None:
    before = selling.saas.customers()
    with pytest.raises(urllib.error.HTTPError) as caught:
        command(selling, verb, **body)
    assert json.load(caught.value)["error"].startswith(complaint)
    assert selling.saas.customers() == before
    assert selling.queues.waiting() == []
