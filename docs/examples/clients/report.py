"""Report usage from the product: each batch counts once, whatever happens on the way. Python 3.9; nothing to install.

Reporter().send([{"dimension": "requests", "quantity": 3, "id": str(uuid.uuid4())}])

python report.py [URL [SECONDS]] < batches    # a line is a batch: a JSON array of events; exit 0, 65 or 69
URL is http://HOST:PORT or unix:/PATH
"""

from __future__ import annotations

import http.client
import json
import os
import random
import socket
import sys
import time
import urllib.error
import urllib.request

BACKOFF_SECONDS = 0.1
BACKOFF_SECONDS_MAX = 10.0
TIMEOUT_SECONDS = 10.0


class Refused(Exception):
    """The sidecar takes none of these events, now or later: `reason` and `index` say which one and why."""

    def __init__(self, status: int, problem: dict) -> None:
        self.status, self.reason, self.index = status, problem.get("reason"), problem.get("index")
        super().__init__(f"{status} {self.reason}: {problem.get('detail')}")


class NotKnown(Exception):
    """Time is up, and whether the events count is unknown. Keep them, and send them again with the same ids."""


class Reporter:
    """Sends batches to one sidecar. May be used by several threads."""

    def __init__(self, url: str = "http://127.0.0.1:8485", seconds: float = 600.0) -> None:
        """`url`: the product's listener, or unix:/PATH."""
        handlers = [urllib.request.ProxyHandler({})]  # never through a proxy
        if url.startswith("unix:"):
            handlers, url = [*handlers, _UnixHandler(url[len("unix:") :])], "http://localhost"
        self._url, self._seconds = url, seconds
        self._opener = urllib.request.build_opener(*handlers)

    def send(self, events: list) -> dict:
        """Return {"accepted": n, "duplicates": m}. Raises Refused and NotKnown. Every event has its own id."""
        if not isinstance(events, list) or not all(isinstance(event, dict) and event.get("id") for event in events):
            raise ValueError("a batch is a list of events, each with an id; without one it could count twice")
        body, ends = json.dumps(events).encode(), time.monotonic() + self._seconds
        backoff, last = BACKOFF_SECONDS, ""
        while True:
            try:
                return self._post(body)
            except urllib.error.HTTPError as answer:
                with answer:
                    if answer.code != 429 and answer.code < 500:
                        raise Refused(answer.code, _problem(answer.read())) from None
                last, after = str(answer), _seconds(answer.headers.get("Retry-After"))
            except (OSError, http.client.HTTPException, ValueError) as lost:
                last, after = str(lost), 0.0  # perhaps kept: the ids make sure that it counts once
            pause = after + random.uniform(0, backoff)
            if time.monotonic() + pause > ends:
                raise NotKnown(last)
            time.sleep(pause)
            backoff = min(2 * backoff, BACKOFF_SECONDS_MAX)

    def _post(self, body: bytes) -> dict:
        headers = {"Content-Type": "application/json"}
        path = os.environ.get("SIDECAR_API_TOKEN_FILE")
        if path:
            with open(path) as file:
                headers["Authorization"] = "Bearer " + file.read().strip()
        request = urllib.request.Request(self._url + "/v1/usage", body, headers)
        with self._opener.open(request, timeout=TIMEOUT_SECONDS) as answer:
            return json.load(answer)


class _UnixConnection(http.client.HTTPConnection):
    path = ""

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class _UnixHandler(urllib.request.HTTPHandler):
    def __init__(self, path: str) -> None:
        super().__init__()
        self._kind = type("_Connection", (_UnixConnection,), {"path": path})

    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(self._kind, req)


def _problem(body: bytes) -> dict:
    try:
        found = json.loads(body)
    except ValueError:
        found = None
    return found if isinstance(found, dict) else {}


def _seconds(words: str | None) -> float:
    return float(words) if words and words.isdecimal() else 0.0


def main(arguments: list[str]) -> int:
    reporter = Reporter(*arguments[:1], *(float(one) for one in arguments[1:2]))
    for line in sys.stdin.buffer:
        try:
            print(json.dumps(reporter.send(json.loads(line))), flush=True)
        except (Refused, ValueError) as refused:
            print(f"refused: {refused}", file=sys.stderr)
            return 65
        except NotKnown as late:
            print(f"not known to be kept: {late}", file=sys.stderr)
            return 69
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
