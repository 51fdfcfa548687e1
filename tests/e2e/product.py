"""What a seller's product does: reports usage until it is acknowledged, and keeps its own books. Runs in a pod.

product.py serve N   waits; at SIGTERM it reports N more, and ends
product.py busy      reports 1 after the other until /data/stop is there; then what was acknowledged is in /data/done
product.py once N    reports N and ends
product.py push N    one try: prints status and body

Standard library alone, one file: the pod gets it on its command line.
"""

from __future__ import annotations

import http.client
import json
import signal
import sys
import time
import uuid
from pathlib import Path

STOP, DONE, COUNT = Path("/data/stop"), Path("/data/done"), Path("/data/acknowledged")
PAUSE_SECONDS = 0.05


def push(quantity: int, name: str) -> tuple[int, str]:
    """One try. Raises OSError or HTTPException where there is no answer."""
    connection = http.client.HTTPConnection("127.0.0.1", 8485, timeout=5)
    try:
        body = json.dumps({"dimension": "requests", "quantity": quantity, "id": name})
        connection.request("POST", "/v1/usage", body)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def report(quantity: int) -> None:
    """Until it is acknowledged: the same id each time."""
    name = uuid.uuid4().hex
    while True:
        try:
            if push(quantity, name)[0] == 200:
                return
        except (OSError, http.client.HTTPException):
            pass
        time.sleep(PAUSE_SECONDS)


def busy() -> None:
    count = 0
    while not STOP.exists():
        report(1)
        count += 1
        COUNT.write_text(str(count))
        time.sleep(PAUSE_SECONDS)
    DONE.write_text(str(count))
    while True:
        signal.pause()


def serve(quantity: int) -> None:
    def last(*_: object) -> None:
        if quantity:
            report(quantity)
        sys.exit(0)

    signal.signal(signal.SIGTERM, last)
    while True:
        signal.pause()


def main(what: str, quantity: str = "0") -> None:
    if what == "serve":
        serve(int(quantity))
    elif what == "busy":
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        busy()
    elif what == "once":
        report(int(quantity))
    else:
        print(json.dumps(push(int(quantity), uuid.uuid4().hex)))


if __name__ == "__main__":
    main(*sys.argv[1:])
