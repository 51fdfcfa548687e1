"""How long `usage reconcile` takes for many lines, and how much memory.

    .venv/bin/python bench/reconcile.py [--lines N] [--pods N]

Half of the lines are exported records, half CloudTrail events, of a fleet that reports every hour. They come through
named pipes, from a process that makes them on the way: nothing of that size is on disk but the command's own temporary
file. One event has another quantity; the command must find that one and nothing else.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from arguments import positive_integer

START = datetime(2026, 11, 1, tzinfo=UTC)
DIFFERENT = 7
"""Number of the record whose event has another quantity."""
DIGEST = "0" * 64
EXPORTED = (
    '{"record": "usage", "workload": "pod-%(pod)06d", "product_code": "prod1", "region": "us-east-1",'
    ' "hour": "%(hour)s", "dimension": "requests", "state": "settled", "quantity": "%(quantity)d",'
    ' "aws_quantity": null,'
    ' "metering_record_id": "%(id)s", "last_error": null, "attempts": 1, "rolled_to": null, "requests": [{"number": 0,'
    ' "client_token": "%(token)s", "digest": "' + DIGEST + '", "sealed_at": "%(hour)s", "body": {"allocations": [],'
    ' "client_token": "%(token)s", "decimals": 0, "dimension": "requests", "product_code": "prod1", "quantity":'
    ' "%(quantity)d", "timestamp": 1}}], "answers": [{"at": "%(hour)s", "client_token": "%(token)s", "outcome":'
    ' "settled", "detail": ""}], "rolled_from": [], "late_from": []}\n'
)
TOTAL = '{"record": "total", "dimension": "requests", "balanced": true}\n'
EVENT = (
    '{"eventVersion": "1.08", "userIdentity": {"type": "AssumedRole", "accountId": "123456789012"},'
    ' "eventTime": "%(hour)s", "eventSource": "metering-marketplace.amazonaws.com", "eventName": "MeterUsage",'
    ' "awsRegion": "us-east-1",'
    ' "requestParameters": {"productCode": "prod1", "timestamp": "%(time)s", "usageDimension": "requests",'
    ' "usageQuantity": %(quantity)d}, "responseElements": {"meteringRecordId": "%(id)s"}, "recipientAccountId":'
    ' "123456789012"}'
)


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One run of the command."""

    lines: int
    seconds: float
    cpu: float
    """Seconds of processor time."""
    memory: int
    """Bytes of resident memory at the peak."""
    result: dict[str, object]


def main() -> int:
    parser = argparse.ArgumentParser(description="Measures usage reconcile.")
    parser.add_argument("--lines", type=positive_integer, default=10_000_000, help="records and events together")
    parser.add_argument("--pods", type=positive_integer, default=10_000, help="pods that report each hour")
    options = parser.parse_args()
    found = measure(options.lines, options.pods)
    print(
        f"{found.lines} lines in {found.seconds:.0f} s, {found.cpu:.0f} s of processor time,"
        f" {found.memory / 2**20:.0f} MiB of memory at the peak; counts: {found.result['counts']}"
    )
    return 0 if found.result["counts"] == {"other_quantity": 1} else 1


def measure(lines: int, pods: int) -> Measured:
    """Run the command once on so many lines."""
    records = lines // 2
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        export, trail = Path(directory, "export"), Path(directory, "trail")
        writers = [
            multiprocessing.Process(target=write, args=(path, make, records, pods), daemon=True)
            for path, make in ((export, _export), (trail, _trail))
        ]
        for path in (export, trail):
            os.mkfifo(path)
        for writer in writers:
            writer.start()
        command = [sys.executable, "-m", "sidecar", "usage", "reconcile", export, "--cloudtrail", trail, "--json"]
        begun = time.monotonic()
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        text = process.stdout.read()
        _, _, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - begun
        for writer in writers:
            writer.join()
    return Measured(
        lines=lines,
        seconds=seconds,
        cpu=usage.ru_utime + usage.ru_stime,
        memory=usage.ru_maxrss * 1024,
        result=json.loads(text),
    )


def write(path: Path, make: object, records: int, pods: int) -> None:
    """Write what `make` gives into a named pipe, once it is opened."""
    with path.open("w", buffering=1024 * 1024) as file:
        file.writelines(make(records, pods))  # type: ignore[operator]


def _export(records: int, pods: int) -> Iterator[str]:
    for values in _records(records, pods):
        yield EXPORTED % values
    yield TOTAL


def _trail(records: int, pods: int) -> Iterator[str]:
    separator = '{"Records": ['
    for number, values in enumerate(_records(records, pods)):
        if number == DIFFERENT:
            values = {**values, "quantity": int(str(values["quantity"])) + 1}
        yield separator
        yield EVENT % values
        separator = ", "
    yield "]}"


def _records(records: int, pods: int) -> Iterator[dict[str, object]]:
    """Yield records pod by pod, each with all its hours, as exports come."""
    hours = [START + timedelta(hours=number) for number in range(-(-records // pods))]
    names = [(hour.isoformat(), hour.strftime("%b %d, %Y %I:59:59 %p").replace(" 0", " ")) for hour in hours]
    number = 0
    for pod in range(pods):
        for at, (hour, words) in enumerate(names):
            if number >= records:
                return
            name = f"{pod:08x}-{at:04x}-5000-8000-{pod * 2654435761 % 2**48:012x}"
            yield {
                "pod": pod,
                "hour": hour,
                "time": words,
                "quantity": number % 1000 + 1,
                "id": name,
                "token": f"t{name}",
            }
            number += 1


if __name__ == "__main__":
    raise SystemExit(main())
