"""Show a product sold by contract: a tier and a seat, pages drawn from the contract, the last seat, and the end.

1. The contract has the tier gold, one seat and 1000 pages: the first pod holds the seat, and its product starts.
2. The product reports pages; an hour goes by in seconds on the emulator's clock; they are drawn from the contract once.
3. A second pod wants the seat too: refused, with the hint that says why. The first pod ends and gives the seat back;
   the second one gets it, and its product starts.
4. The contract ends: a third pod is denied, and its product never starts.
"""

from __future__ import annotations

import json
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

SKU: Final = "prod-demo"
LICENSE: Final = "l-demo"
SEAT: Final = "seats"
PAGES: Final = "pages"
USAGE: Final = ("12", "5")
REPORTED: Final = 17
HEADINGS: Final = (
    "Act 1 of 4: the customer has a contract with one seat; a pod takes it",
    "Act 2 of 4: the product reports pages; an hour passes in three seconds; they are drawn once",
    "Act 3 of 4: a second pod wants the last seat, and gets it when the first one ends",
    "Act 4 of 4: the contract ends; another pod of the same product starts",
)
CONTRACT: Final[Mapping[str, object]] = {
    "id": LICENSE,
    "sku": SKU,
    "entitlements": [{"name": "gold", "unit": "None"}, {"name": SEAT}, {"name": PAGES, "max_count": 1000}],
    "ttl_minutes": 1440,
}
"""A checkout lasts a day, for the hour that passes in seconds."""
SETTINGS: Final[Mapping[str, str]] = {
    "SIDECAR_ENTITLEMENT_CHECK": "checkout_license",
    "SIDECAR_PRODUCT_SKU": SKU,
    "SIDECAR_LICENSES": json.dumps(
        [
            {"name": "platinum", "unit": "None", "take": "check", "any_of": "tier"},
            {"name": "gold", "unit": "None", "take": "check", "any_of": "tier"},
            {"name": SEAT, "value": 1, "take": "seat"},
            {"name": PAGES, "take": "drawdown"},
        ]
    ),
    "SIDECAR_DIMENSIONS": PAGES,
    "SIDECAR_REASK_SECONDS": "2",
}


def run(demo: DemoEnvironment) -> None:
    """Run the four acts. Raises DemoFailed."""
    demo.print_step("starting an emulator of AWS License Manager")
    url = demo.start_emulator("--license", json.dumps(CONTRACT))["url"]
    demo.print_step(f"the emulator listens on {url}; the license has the tier gold, one seat and 1000 pages")
    env = _first_pod(demo, url)
    _drawdown(demo, url, env)
    _last_seat(demo, url)
    _contract_over(demo, url)
    demo.print_heading(CLOSING)


def _first_pod(demo: DemoEnvironment, url: str) -> dict[str, str]:
    demo.print_heading(HEADINGS[0])
    demo.print_step("starting the sidecar, and the product with it: entitlement-sidecar exec -- product")
    env = demo.start_sidecar("first-pod", {"url": url}, SETTINGS)
    _product_starts(demo, env, "first")
    _seats_become(demo, url, 1)
    return env


def _drawdown(demo: DemoEnvironment, url: str, env: Mapping[str, str]) -> None:
    demo.print_heading(HEADINGS[1])
    for quantity in USAGE:
        printed = demo.run_command(env, "report", PAGES, quantity).strip()
        demo.print_step(f"entitlement-sidecar report {PAGES} {quantity} → {printed}")
    demo.print_step("the emulator's clock runs 1,200 times as fast until the hour has ended and is drawn")
    control(url, "clock", {"speed": 1200})
    waiting = "waiting for the hour to end, and for the sidecar to draw its pages"
    drawn = wait_for(demo, waiting, lambda: _entitlement(url, PAGES)["drawn"], "no page was drawn")
    control(url, "clock", {"speed": 1})
    expect(drawn == REPORTED, f"{drawn} pages were drawn, not {REPORTED}")
    demo.print_step(f"License Manager has drawn {drawn} of 1000 pages")
    table = wait_for(demo, waiting, lambda: _settled(demo, env), "the hour was not settled")
    demo.print_step("entitlement-sidecar usage → the sidecar's own ledger has the same hour:")
    for line in aligned(table):
        demo.print_step(line)


def _last_seat(demo: DemoEnvironment, url: str) -> None:
    demo.print_heading(HEADINGS[2])
    demo.print_step("starting a second sidecar with the same licenses: a tier, platinum or gold, and a seat")
    env = demo.start_sidecar("second-pod", {"url": url}, SETTINGS)
    watch(demo, env, until="denied")
    demo.print_step("the first pod ends: SIGTERM, and its sidecar checks the seat in")
    demo.end_sidecar("first-pod")
    expect(_entitlement(url, PAGES)["drawn"] == REPORTED, "the first pod drew again when it ended")
    demo.print_step("the second sidecar asks again by itself")
    watch(demo, env, until="entitled")
    _product_starts(demo, env, "second")
    _seats_become(demo, url, 1)


def _contract_over(demo: DemoEnvironment, url: str) -> None:
    demo.print_heading(HEADINGS[3])
    control(url, "licenses", {"id": LICENSE, "status": "EXPIRED"})
    demo.print_step("starting a third sidecar, and a third product with it")
    env = demo.start_sidecar("third-pod", {"url": url}, SETTINGS)
    product = demo.start_product(env, "third-product.log")
    watch(demo, env, until="denied")
    expect(product.wait(TIMEOUT_SECONDS) == Exit.DENIED, f"exec ended with {product.returncode}, not 77")
    expect(STARTED not in demo.read_log("third-product.log"), "the product started without a contract")
    demo.print_step("exec ended with exit code 77; the product was never started")


def _product_starts(demo: DemoEnvironment, env: Mapping[str, str], name: str) -> None:
    product = demo.start_product(env, f"{name}-product.log")
    watch(demo, env, until="entitled")
    expect(product.wait(TIMEOUT_SECONDS) == 0, f"the product ended with {product.returncode}")
    printed = demo.read_log(f"{name}-product.log")
    expect(STARTED in printed, "the product did not start")
    demo.print_step("the gate is open, so exec starts the product: " + printed.splitlines()[-1])


def _seats_become(demo: DemoEnvironment, url: str, count: int) -> None:
    """Wait until so many seats are out, and say so. Raises DemoFailed."""
    wait_for(demo, "waiting for the seat", lambda: _entitlement(url, SEAT)["held"] == count, f"not {count} seats held")
    demo.print_step(f"License Manager has {count} of 1 seats out, and no check keeps one")


def _settled(demo: DemoEnvironment, env: Mapping[str, str]) -> str:
    """Return what `usage` prints once the hour is settled; empty before."""
    table = demo.run_command(env, "usage")
    return table if "settled" in table else ""


def _entitlement(url: str, name: str) -> dict[str, Any]:
    """Return what is held and drawn of an entitlement."""
    entitlements: list[dict[str, Any]] = ask(url, "/_emulator/licenses")["licenses"][0]["entitlements"]
    return next(each for each in entitlements if each["name"] == name)
