"""Record what real sidecars say on `/metrics` while AWS accepts, denies, throttles, disputes and refuses.

    python -m tests.chart.record

writes tests/chart/recorded/scrapes.txt. Run it again when a metric is added, renamed or removed: a test says so.
"""

from __future__ import annotations

import http.client
import json
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from sidecar.emulator import Emulator
from sidecar.emulator.keys import SigningKeys
from sidecar.quick_dataclasses import dataclass, replace
from tests.acceptance.billing.metered import Metered, Product, ask, at, marketplace
from tests.acceptance.seats import SKU, Contracted, away
from tests.acceptance.support import eventually

RECORDED = Path(__file__).parent / "recorded" / "scrapes.txt"
HEAD = "#: "
"""Begins the line before each scrape: pod, and what was going on. The last of each pod has HELP and TYPE."""


@dataclass(frozen=True, kw_only=True)
class Scrape:
    """One page of metrics as it was served."""

    pod: str
    scene: str
    page: str


def scrapes() -> Iterator[Scrape]:
    """Yield the recorded scrapes, in their order."""
    for block in RECORDED.read_text().split(HEAD)[1:]:
        head, _, page = block.partition("\n")
        pod, _, scene = head.partition(" ")
        yield Scrape(pod=pod, scene=scene, page=page)


def record() -> Iterator[Scrape]:
    """Yield scrapes of two pods: one that is entitled and meters, and one of a customer without a subscription."""
    with (
        tempfile.TemporaryDirectory() as directory,
        marketplace(SigningKeys((1,)), dimensions=("requests", "gb")) as aws,
    ):
        for name in ("first", "second", "fourth"):
            (Path(directory) / name).mkdir()
        aws.fault("RegisterUsage", "ThrottlingException", times=1)
        metered = Metered(aws, Path(directory) / "first", SIDECAR_DIMENSIONS="requests,gb")
        with metered:
            metered.shows("pending")
            yield seen(metered, "pod-0", "AWS throttles the check")
            metered.ready()
            aws.unsubscribe()
            with Metered(aws, Path(directory) / "second", SIDECAR_REASK_SECONDS="1") as denied:
                denied.shows("denied")
                yield seen(denied, "pod-1", "denied")
                aws.subscribe()
                denied.shows("entitled")
                yield seen(denied, "pod-1", "entitled")
                *most, last = [seen(metered, "pod-0", scene) for scene in metering(aws, metered)]
                yield from most
        yield from contract(aws, Path(directory))
        yield from pulling(aws, Path(directory))
        yield last


def metering(aws: Emulator, sidecar: Metered) -> Iterator[str]:
    """Go through the hours of a day; yields after each thing that shows."""
    product = Product()
    product.used(sidecar, 3)
    product.use(sidecar, 3, "twice")
    product.use(sidecar, 3, "twice")
    ask(sidecar.api_port, "POST", "/v1/usage", {"dimension": "gb", "quantity": "0.5"})
    yield "usage comes in"
    ask(sidecar.api_port, "POST", "/v1/usage", {"dimension": "unheard_of", "quantity": 1})
    ask(sidecar.api_port, "POST", "/v1/usage", {"dimension": "requests", "quantity": -1})
    from_elsewhere(sidecar)
    yield "pushes are refused"
    for hour, fault, state in (
        (11, None, "settled"),
        (12, "DuplicateRequestException", "disputed"),
        (13, "InvalidUsageDimensionException", "rejected"),
        (14, "ThrottlingException", "sealed"),
    ):
        if fault:
            product.used(sidecar, hour)
            aws.fault("MeterUsage", fault, times=None)
        aws.set_clock(now=at(f"{hour}:10"))
        eventually(lambda state=state: sidecar.metering()["records"][state])  # type: ignore[misc]
        sidecar.look()
        yield f"a record is {state}"
        aws.clear_faults()
    aws.set_clock(now=at("16:30"))
    sidecar.until_settled()
    sidecar.look()
    yield "AWS takes what waited"


def contract(aws: Emulator, directory: Path) -> Iterator[Scrape]:
    """Yield scrapes of a pod whose seat is held, lost and taken again."""
    aws.define_license(id="l-1", sku=SKU, entitlements=[{"name": "seats"}], valid_until="2026-02-01T00:00:00Z")
    with Contracted(aws, directory / "third") as sidecar:
        sidecar.opened()
        aws.set_clock(now=at("16:35"))
        eventually(lambda: sidecar.licenses()["ends_at"])
        yield seen(sidecar, "pod-2", "a seat is held")
        away(aws)
        aws.set_clock(now=at("17:45"))
        eventually(lambda: sidecar.seats()[0]["lost_at"])
        yield seen(sidecar, "pod-2", "the seat is lost")
        aws.clear_faults()
        aws.set_clock(now=at("17:50"))
        sidecar.logged("seat.taken_again")
        yield seen(sidecar, "pod-2", "the seat is held again")


def pulling(aws: Emulator, directory: Path) -> Iterator[Scrape]:
    """Yield scrapes of a pod that is given usage by the hour, and cannot read a page of metrics."""
    page = {"kind": "prometheus", "url": "http://127.0.0.1:9/metrics", "metric": "jobs_total", "take": "increase"}
    sources = [{"kind": "heartbeat", "dimension": "requests"}, {**page, "dimension": "gb"}]
    given = {"SIDECAR_DIMENSIONS": "requests,gb", "SIDECAR_SOURCES": json.dumps(sources)}
    with Metered(aws, directory / "fourth", **given) as sidecar:
        sidecar.ready()
        sidecar.logged("source.waiting")
        eventually(lambda: sidecar.api("GET /v1/usage")[1]["records"])
        yield seen(sidecar, "pod-3", "usage is pulled from one source of two")


def from_elsewhere(sidecar: Metered) -> None:
    """Ask as a web page of another site would."""
    connection = http.client.HTTPConnection("127.0.0.1", sidecar.api_port, timeout=10)
    connection.request("GET", "/v1/status", headers={"Origin": "https://evil.example"})
    connection.getresponse().read()
    connection.close()


def seen(sidecar: Metered, pod: str, scene: str) -> Scrape:
    _, page = ask(sidecar.probe_port, "GET", "/metrics")
    return Scrape(pod=pod, scene=scene, page=page.decode())


def bare(page: str) -> str:
    """Return a page without HELP and TYPE."""
    return re.sub(r"^#.*\n", "", page, flags=re.MULTILINE)


def main() -> int:
    """Write the recording."""
    RECORDED.parent.mkdir(exist_ok=True)
    *others, last = record()
    later = {one.pod: one for one in (*others, last)}
    pages = [one if one is later[one.pod] else replace(one, page=bare(one.page)) for one in (*others, last)]
    text = "".join(f"{HEAD}{one.pod} {one.scene}\n{one.page}" for one in pages)
    RECORDED.write_text(text)
    print(f"{RECORDED}: {text.count(HEAD)} scrapes, {len(text)} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
