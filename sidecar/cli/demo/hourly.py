"""Show a product sold by the hour and by custom dimensions: the gate, an hour's bill, and a denial.

1. A customer who subscribed: AWS is slow at first, the gate is pending, then open, and only then does
   the product start.
2. The product reports what it used; an hour goes by in seconds on the emulator's clock; AWS bills it once, and
   the ledger shows the same hour with AWS's metering record id.
3. The same customer, unsubscribed, starts another pod: denied, and the product never starts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sidecar.cli.demo.environment import (
    CLOSING,
    STARTED,
    TIMEOUT_SECONDS,
    DemoEnvironment,
    aligned,
    ask,
    control,
    expect,
    wait_for,
    watch,
)
from sidecar.errors import Exit

DIMENSION: Final = "requests"
HEADINGS: Final = (
    "Act 1 of 3: the customer has subscribed; AWS throttles the first three calls",
    "Act 2 of 3: the product reports usage; an hour passes in three seconds; AWS bills it once",
    "Act 3 of 3: the customer unsubscribes; another pod of the same product starts",
)


def run(demo: DemoEnvironment) -> None:
    """Run the three acts. Raises DemoFailed."""
    demo.print_step("starting an emulator of AWS Marketplace")
    aws = demo.start_emulator("--dimension", DIMENSION)
    demo.print_step(f"the emulator listens on {aws['url']} and signs its answers with its own RSA key")
    control(aws["url"], "faults", {"operation": "RegisterUsage", "kind": "ThrottlingException", "times": 3})
    demo.print_heading(HEADINGS[0])
    demo.print_step("starting the sidecar, and the product with it: entitlement-sidecar exec -- product")
    env = demo.start_sidecar("first-pod", aws, _settings(aws))
    product = demo.start_product(env, "first-product.log")
    shown = watch(demo, env, until="entitled")
    expect(shown[0] == "pending" and shown[-1] == "entitled", f"the gate showed {shown}")
    expect(product.wait(TIMEOUT_SECONDS) == 0, f"the product ended with {product.returncode}")
    expect(STARTED in demo.read_log("first-product.log"), "the product did not start")
    demo.print_step(
        "the gate is open, so exec starts the product: " + demo.read_log("first-product.log").splitlines()[-1]
    )
    demo.print_heading(HEADINGS[1])
    _meter(demo, aws["url"], env)
    demo.print_heading(HEADINGS[2])
    control(aws["url"], "unsubscribe", {})
    demo.print_step("starting a second sidecar, and a second product with it")
    env = demo.start_sidecar("second-pod", aws, _settings(aws))
    product = demo.start_product(env, "second-product.log")
    shown = watch(demo, env, until="denied")
    expect(shown[-1] == "denied", f"the gate showed {shown}")
    expect(product.wait(TIMEOUT_SECONDS) == Exit.DENIED, f"exec ended with {product.returncode}, not 77")
    expect(STARTED not in demo.read_log("second-product.log"), "the product started without an entitlement")
    demo.print_step("exec ended with exit code 77; the product was never started")
    demo.print_heading(CLOSING)


def _settings(aws: Mapping[str, Any]) -> dict[str, str]:
    return {
        "SIDECAR_PUBLIC_KEY": aws["public_keys"][0]["key"],
        "SIDECAR_PUBLIC_KEY_VERSION": str(aws["public_keys"][0]["version"]),
        "SIDECAR_DIMENSIONS": DIMENSION,
    }


def _meter(demo: DemoEnvironment, url: str, env: Mapping[str, str]) -> None:
    """Report usage, let an hour pass, and compare AWS's bill with the ledger."""
    for quantity in ("12", "5"):
        printed = demo.run_command(env, "report", DIMENSION, quantity).strip()
        demo.print_step(f"entitlement-sidecar report {DIMENSION} {quantity} → {printed}")
    demo.print_step("the emulator's clock runs 1,200 times as fast until the hour has ended and is billed")
    control(url, "clock", {"speed": 1200})
    lines = _billed(demo, url)
    control(url, "clock", {"speed": 1})
    (hour,) = lines[0]["hours"]
    demo.print_step(f"AWS's bill: {hour['quantity']} {DIMENSION}, metering record id {hour['record_id']}")
    expect(hour["quantity"] == "17", f"AWS billed {hour['quantity']}, not 17")
    table = demo.run_command(env, "usage")
    demo.print_step("entitlement-sidecar usage → the sidecar's own ledger has the same hour and id:")
    for line in aligned(table):
        demo.print_step(line)
    expect(hour["record_id"] in table, "the ledger does not show AWS's metering record id")


def _billed(demo: DemoEnvironment, url: str) -> list[dict[str, Any]]:
    """Wait for the emulator's bill and return its lines."""
    return wait_for(
        demo,
        "waiting for the hour to end, and for the sidecar to send it to AWS",
        lambda: list(ask(url, "/_emulator/bill")["lines"]),
        "AWS received no record of the hour",
    )
