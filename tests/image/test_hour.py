"""The two images together: the gate opens, an hour of usage settles, and AWS's bill is that of the ledger.

It waits long for each step, and judges no duration, so that images of another architecture do it too.
"""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Callable
from typing import Any, TypeVar

from tests.image.engine import LOCKED_DOWN, Running, done

T = TypeVar("T")
PATIENCE_SECONDS = 180


def until(found: Callable[[], T], otherwise: Callable[[], str]) -> T:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (value := found()):
        assert time.monotonic() < deadline, otherwise()
        time.sleep(0.2)
    return value


def marketplace(url: str, verb: str, **body: object) -> Any:
    """Ask the emulator something, or tell it to do something."""
    data = json.dumps(body).encode() if body else None
    request = urllib.request.Request(f"{url}/_emulator/{verb}", data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as response:
        return json.load(response)


def records(sidecar: Running) -> list[dict[str, Any]]:
    shown = sidecar.exec("entitlement-sidecar", "usage", "--json")
    assert shown.returncode == 0, shown.stderr
    found: list[dict[str, Any]] = json.loads(shown.stdout)["records"]
    return found


def test_the_gate_opens_and_an_hour_settles(image: str, metered: dict[str, str], volume: tuple[str, ...]) -> None:
    url = metered["SIDECAR_ENDPOINT_URL"]
    with Running(image, env=metered, flags=(*LOCKED_DOWN, *volume)) as sidecar:
        assert sidecar.await_healthy(PATIENCE_SECONDS).startswith("entitled (registered)")
        for quantity in ("12", "5"):
            pushed = sidecar.exec("entitlement-sidecar", "report", "requests", quantity)
            assert pushed.returncode == 0, pushed.stdout + pushed.stderr + sidecar.logs()
        assert marketplace(url, "bill")["lines"] == [], "nothing is sent before the hour has ended"
        marketplace(url, "clock", speed=1200)
        lines = until(lambda: marketplace(url, "bill")["lines"], sidecar.logs)
        marketplace(url, "clock", speed=1)
        (hour,) = lines[0]["hours"]
        assert (lines[0]["dimension"], hour["quantity"]) == ("requests", "17")
        (kept,) = until(lambda: [one for one in records(sidecar) if one["state"] == "settled"], sidecar.logs)
        assert (kept["metering_record_id"], kept["quantity"]) == (hour["record_id"], "17")
        done("stop", "--time", str(PATIENCE_SECONDS), sidecar.name)
        assert sidecar.state()["ExitCode"] == 0, sidecar.logs()
