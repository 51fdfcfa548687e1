"""Show a SaaS product, metered from the seller's account: a buyer who registers, an hour's bill, and a cancellation.

1. A buyer comes from AWS Marketplace with a registration token; the service resolves it and keeps the customer.
2. The product pushes usage, one event twice; an hour goes by in seconds on the emulator's clock. AWS's answer is lost
   on the way: the service sends the same record again, and AWS bills the hour once.
3. The buyer cancels. AWS says so through a queue: the service sends the last hours, the running one included, while
   AWS still takes them, and refuses usage after that.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from sidecar.cli.demo.environment import (
    CLOSING,
    SERVICE,
    DemoEnvironment,
    DemoFailed,
    ask,
    control,
    exchange,
    expect,
    wait_for,
)

CUSTOMER: Final = "acme"
ACCOUNT: Final = "444455556666"
DIMENSION: Final = "requests"
FIRST_HOUR: Final = Decimal(17)
LAST_HOUR: Final = Decimal(4)
SPEED: Final = 1200
LATER_SECONDS: Final = 46 * 60
"""After an end that was announced, when the service has sealed the last hours and AWS still takes them."""
HEADINGS: Final = (
    "Act 1 of 3: a buyer registers; the service resolves the token that AWS Marketplace sent along",
    "Act 2 of 3: the product pushes usage; an hour passes in seconds; AWS's answer is lost; it bills once",
    "Act 3 of 3: the buyer cancels; the last hour is sent in time; then nothing more is taken",
)


def run(demo: DemoEnvironment) -> None:
    """Run the three acts. Raises DemoFailed."""
    from sidecar.app.saas import missing

    if fault := missing():
        raise DemoFailed(fault)
    demo.print_step("starting an emulator of AWS Marketplace")
    aws = demo.start_emulator("--dimension", DIMENSION, "--customer", json.dumps({"id": CUSTOMER, "account": ACCOUNT}))[
        "url"
    ]
    demo.print_step(f"the emulator listens on {aws}; it has a customer, and a queue for AWS's notices")
    demo.print_step("starting the service, with its state in SQLite: entitlement-sidecar saas")
    env = demo.start_service(
        aws, {"SIDECAR_DIMENSIONS": DIMENSION, "SIDECAR_SAAS_QUEUE_URL": f"{aws}/123456789012/marketplace"}
    )
    service = f"http://{env['SIDECAR_API_BIND']}"
    wait_for(
        demo, "waiting for the service to lead", lambda: _leads(demo, service), "the service did not begin to lead"
    )
    customer = _register(demo, aws, service)
    _meter(demo, aws, service, customer)
    _cancel(demo, aws, service, customer)
    demo.print_heading(CLOSING)


def _leads(demo: DemoEnvironment, service: str) -> bool:
    """Return whether the service takes usage and sends it. Raises DemoFailed where it has ended."""
    demo.expect_running(SERVICE)
    try:
        return bool(ask(service, "/v1/status").get("leads"))
    except (OSError, ValueError):
        return False


def _register(demo: DemoEnvironment, aws: str, service: str) -> dict[str, str]:
    """Resolve a token, and return how pushes name the customer."""
    demo.print_heading(HEADINGS[0])
    token = control(aws, "registration-token", {"customer": CUSTOMER})["token"]
    demo.print_step("the buyer's browser brings x-amzn-marketplace-token to the product's page")
    status, found = exchange("POST", service, "/v1/customers/resolve", {"token": token})
    expect(status == 200, f"the token was answered with {status} {found}")
    expect(found["customer_aws_account_id"] == ACCOUNT, f"the token was resolved to {found}")
    demo.print_step(f"POST /v1/customers/resolve → {status} account {ACCOUNT}, license {found['license_arn']}")
    demo.print_step("the service keeps the customer; the token is in no log")
    expect(token not in demo.read_log(f"{SERVICE}.log"), "the token is in the service's log")
    return {"license_arn": str(found["license_arn"])}


def _meter(demo: DemoEnvironment, aws: str, service: str, customer: Mapping[str, str]) -> None:
    demo.print_heading(HEADINGS[1])
    control(aws, "faults", {"operation": "BatchMeterUsage", "kind": "drop_after", "times": 1})
    for quantity, id_, counted in ((12, "order-1", True), (5, "order-2", True), (5, "order-2", False)):
        _push(demo, service, customer, quantity, id_, counted=counted)
    demo.print_step(f"the emulator's clock runs {SPEED:,} times as fast until the hour has ended and is settled")
    control(aws, "clock", {"speed": SPEED})
    record = _settled(demo, service, FIRST_HOUR)
    control(aws, "clock", {"speed": 1})
    calls = exchange("GET", aws, "/_emulator/calls")[1]
    answers = [each["answer"] for each in calls if each["operation"] == "BatchMeterUsage"]
    expect("drop_after" in answers and answers[-1] == "ok", f"AWS was called, and answered {answers}")
    demo.print_step(f"BatchMeterUsage was sent {len(answers)} times: the first answer was lost")
    _compare(demo, aws, record, [FIRST_HOUR])


def _cancel(demo: DemoEnvironment, aws: str, service: str, customer: Mapping[str, str]) -> None:
    demo.print_heading(HEADINGS[2])
    _push(demo, service, customer, int(LAST_HOUR), "order-3", counted=True)
    told = control(aws, "subscription", {"customer": CUSTOMER, "state": "ending"})["notices"]
    demo.print_step(f"AWS puts an event into the queue: {json.loads(told[0])['detail-type']}")
    wait_for(
        demo,
        "waiting for the service to read it",
        lambda: _customer(service)["state"] == "ending",
        "the notice was not read",
    )
    demo.print_step("the service has read it: an hour is left, and usage is still taken")
    demo.print_step(f"the emulator's clock is set {LATER_SECONDS // 60} minutes ahead")
    control(aws, "clock", {"now": ask(aws, "/_emulator/clock")["now"] + LATER_SECONDS})
    record = _settled(demo, service, LAST_HOUR)
    _compare(demo, aws, record, [FIRST_HOUR, LAST_HOUR])
    wait_for(
        demo, "waiting for the customer to be closed", lambda: _customer(service)["closed_at"], "it was not closed"
    )
    _push_refused(demo, service, customer)
    control(aws, "subscription", {"customer": CUSTOMER, "state": "ended"})
    wait_for(demo, "waiting for the end", lambda: _customer(service)["state"] == "ended", "the end was not read")
    demo.print_step("AWS says that the license is deprovisioned; nothing waits, nothing was lost")
    expect(_bill(aws) == [FIRST_HOUR, LAST_HOUR], f"AWS's bill ended as {_bill(aws)}")


def _push(
    demo: DemoEnvironment, service: str, customer: Mapping[str, str], quantity: int, id_: str, *, counted: bool
) -> None:
    """Push one event, and expect that it counts, or that it is a repetition."""
    status, answer = exchange("POST", service, "/v1/usage", _event(customer, quantity, id_))
    demo.print_step(f"POST /v1/usage {quantity} {DIMENSION}, id {id_} → {status} {json.dumps(answer)}")
    expected = {"accepted": int(counted), "duplicates": int(not counted)}
    expect((status, answer) == (200, expected), f"the push was answered with {status} {answer}, not {expected}")


def _push_refused(demo: DemoEnvironment, service: str, customer: Mapping[str, str]) -> None:
    status, answer = exchange("POST", service, "/v1/usage", _event(customer, 1, "order-4"))
    reason = answer.get("reason")
    demo.print_step(f"POST /v1/usage 1 {DIMENSION}, id order-4 → {status} {reason}")
    expect((status, reason) == (422, "customer_closed"), f"usage after the end was answered with {status} {answer}")


def _event(customer: Mapping[str, str], quantity: int, id_: str) -> dict[str, object]:
    return {"customer": customer, "dimension": DIMENSION, "quantity": quantity, "id": id_}


def _settled(demo: DemoEnvironment, service: str, quantity: Decimal) -> dict[str, Any]:
    """Return the service's newest record once it is settled with this quantity. Raises DemoFailed."""

    def found() -> dict[str, Any]:
        records: list[dict[str, Any]] = ask(service, "/v1/usage")["records"]
        settled = (each for each in records if each["state"] == "settled")
        return next((each for each in settled if Decimal(each["quantity"]) == quantity), {})

    return wait_for(demo, "waiting for the service to send the hour", found, f"{quantity} {DIMENSION} were not settled")


def _customer(service: str) -> dict[str, Any]:
    """Return the customer, as the service knows it."""
    return dict(ask(service, "/v1/customers")["customers"][0])


def _bill(aws: str) -> list[Decimal]:
    """Return the quantity of each hour on AWS's bill, oldest first."""
    lines: list[dict[str, Any]] = ask(aws, "/_emulator/saas-bill")["lines"]
    return [Decimal(hour["quantity"]) for line in lines for hour in line["hours"]]


def _compare(demo: DemoEnvironment, aws: str, record: Mapping[str, Any], expected: list[Decimal]) -> None:
    """Compare AWS's bill with what was pushed, and its newest id with the service's record. Raises DemoFailed."""
    (line,) = ask(aws, "/_emulator/saas-bill")["lines"]
    hour = line["hours"][-1]
    demo.print_step(f"AWS's bill: {hour['quantity']} {DIMENSION} for {hour['hour']}, id {hour['record_id']}")
    expect(_bill(aws) == expected, f"AWS billed {_bill(aws)}, not {expected}")
    expect(record["metering_record_id"] == hour["record_id"], "the service has another metering record id")
    demo.print_step(f"GET /v1/usage → {record['state']} {record['quantity']}, id {record['metering_record_id']}")
