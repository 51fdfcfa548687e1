"""The clients under docs/examples: whatever happens on the way, usage counts once, and a refusal is shown."""

from __future__ import annotations

import http.client
import json
import random
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path

import pytest

from sidecar.emulator import Emulator
from tests.acceptance.billing.metered import Metered
from tests.fakes.peer import Peer, Received, http_answer

pytestmark = pytest.mark.slow  # each starts processes

EXAMPLES = Path(__file__).parents[3] / "docs" / "examples" / "clients"
BATCHES, EVENTS = 24, 20
LOST = (2, 5, 6, 11, 17)
"""Requests whose answer is cut off. The second of two in a row is the first one again."""
KILLED = (8, 15)
"""Requests that the sidecar has, when it is killed."""


def built(place: Path, command: Sequence[str], *files: str) -> None:
    for name in files:
        shutil.copy(EXAMPLES / name, place)
    subprocess.run(command, cwd=place, check=True, timeout=280)


def python(place: Path) -> list[str]:
    return [sys.executable, str(EXAMPLES / "report.py")]


def node(place: Path) -> list[str]:
    return ["node", str(EXAMPLES / "report.mjs")]


def curl(place: Path) -> list[str]:
    return ["sh", str(EXAMPLES / "report.sh")]


def go(place: Path) -> list[str]:
    built(place, ["go", "build", "-o", "report", "report.go"], "report.go")
    return [str(place / "report")]


def java(place: Path) -> list[str]:
    built(place, ["javac", "-Xlint:all", "-Werror", "Report.java"], "Report.java")
    return ["java", "-cp", str(place), "Report"]


def client(make: Callable[[Path], list[str]], *programs: str, slow: bool) -> object:
    missing = [one for one in programs if shutil.which(one) is None]
    marks = [pytest.mark.skipif(bool(missing), reason=f"{', '.join(missing)} is not on this machine")]
    return pytest.param(make, marks=[*marks, *([pytest.mark.slow] if slow else [])], id=make.__name__)


def clients(slow: bool) -> list[object]:
    """Return the clients; `slow`: whether all are marked so, else those alone that take long to start."""
    return [
        client(python, slow=slow),
        client(node, "node", slow=True),
        client(curl, "curl", "sh", "awk", "od", slow=slow),
        client(go, "go", slow=True),
        client(java, "java", "javac", slow=True),
    ]


def batches() -> list[list[dict[str, str]]]:
    """Return what a product used: each event with an id of its own."""
    chance = random.Random(5)
    return [
        [
            {
                "dimension": "requests",
                "quantity": f"{chance.randrange(1, 99)}.{chance.randrange(1, 9)}",
                "id": f"{a}-{b}",
            }
            for b in range(EVENTS)
        ]
        for a in range(BATCHES)
    ]


def run(
    command: Sequence[str], url: str, given: str, seconds: str = "60", **env: str
) -> subprocess.CompletedProcess[str]:
    environ = {"PATH": "/usr/local/go/bin:/usr/local/bin:/usr/bin:/bin", **env}
    return subprocess.run(
        [*command, url, seconds], input=given, env=environ, capture_output=True, text=True, timeout=280, check=False
    )


class Road:
    """What lies between product and sidecar: it cuts answers off, and the sidecar dies with requests in its hands."""

    def __init__(self, sidecar: Metered, lost: Sequence[int] = LOST, killed: Sequence[int] = KILLED) -> None:
        self.sidecar, self._lost, self._killed = sidecar, lost, killed
        self.passed = self.cut = self.deaths = 0

    def __call__(self, received: Received) -> bytes:
        connection = http.client.HTTPConnection("127.0.0.1", self.sidecar.api_port, timeout=10)
        try:
            connection.request(received.method, received.target, received.body)
            self.passed += 1
            if self.passed in self._killed:
                self.sidecar.killed()
                self.sidecar.start()
                self.deaths += 1
                return b""
            answer = connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException):
            return b""  # the sidecar is not back yet
        finally:
            connection.close()
        if self.passed in self._lost:
            self.cut += 1
            return b""
        after = {"Retry_After": answer.headers["Retry-After"]} if answer.headers["Retry-After"] else {}
        return http_answer(answer.status, content, **after)


def counted(sidecar: Metered) -> Decimal:
    """Return what the sidecar's ledger holds."""
    with urllib.request.urlopen(f"http://127.0.0.1:{sidecar.api_port}/v1/usage", timeout=10) as answer:
        return sum((Decimal(one["quantity"]) for one in json.load(answer)["records"]), Decimal(0))


def used(sent: Sequence[Sequence[dict[str, str]]]) -> Decimal:
    return sum((Decimal(event["quantity"]) for batch in sent for event in batch), Decimal(0))


@pytest.mark.parametrize("make", clients(slow=True))
def test_usage_counts_once_through_kills_and_lost_answers(
    aws: Emulator, tmp_path: Path, make: Callable[[Path], list[str]]
) -> None:
    sent, command = batches(), make(tmp_path)
    state = tmp_path / "state"
    state.mkdir()
    with Metered(aws, state) as sidecar:
        sidecar.ready()
        road = Road(sidecar)
        with Peer(road) as between:
            done = run(command, between.url, "".join(json.dumps(batch) + "\n" for batch in sent))
        assert (done.returncode, done.stderr) == (0, "")
        answers = [json.loads(line) for line in done.stdout.splitlines()]
        assert [one["accepted"] + one["duplicates"] for one in answers] == [EVENTS] * BATCHES
        assert (road.cut, road.deaths) == (len(LOST), len(KILLED))
        assert sum(one["duplicates"] for one in answers) >= EVENTS * (len(LOST) - 1)
        sidecar.ready()
        assert counted(sidecar) == used(sent)


def test_a_client_with_a_new_id_for_each_attempt_would_count_twice(aws: Emulator, tmp_path: Path) -> None:
    """The test above can fail: this is what it looks for."""
    with Metered(aws, tmp_path) as sidecar:
        sidecar.ready()
        with Peer(Road(sidecar, lost=(1,), killed=())) as between:
            for attempt in ("a", "b"):
                body = json.dumps([{"dimension": "requests", "quantity": "3", "id": attempt}]).encode()
                try:
                    urllib.request.urlopen(f"{between.url}/v1/usage", body, timeout=10).close()
                except (OSError, http.client.HTTPException):
                    continue
        assert counted(sidecar) == 6


BATCH = '[{"dimension": "requests", "quantity": 3, "id": "order-17"}]\n'
KEPT = http_answer(200, {"accepted": 1, "duplicates": 0})


@pytest.mark.parametrize("make", clients(slow=False))
def test_a_client_retries_what_passes_and_shows_what_does_not(
    tmp_path: Path, make: Callable[[Path], list[str]]
) -> None:
    command = make(tmp_path)
    token = tmp_path / "token"
    token.write_text("a-token-of-32-characters-or-more-0001\n")

    busy = [
        http_answer(503, {"reason": "ledger_full"}, Retry_After="1"),
        http_answer(429, {}),
        b"",
        b"HTTP/1.1 200 O",
        KEPT,
    ]
    with Peer(busy) as sidecar:
        began = time.monotonic()
        done = run(command, sidecar.url, BATCH, SIDECAR_API_TOKEN_FILE=str(token))
        assert (done.returncode, done.stderr) == (0, "")
        assert json.loads(done.stdout) == {"accepted": 1, "duplicates": 0}
        assert time.monotonic() - began >= 1, "Retry-After was not waited for"
        assert len(sidecar.requests) == len(busy)
        assert len({json.dumps(json.loads(one.body)) for one in sidecar.requests}) == 1
        assert {one.headers.get("authorization") for one in sidecar.requests} == {f"Bearer {token.read_text().strip()}"}

    for status in (400, 401, 404, 409, 413, 422):
        wrong = {"status": status, "reason": f"reason_{status}", "detail": "Event 0: the rule.", "index": 0}
        with Peer([http_answer(status, wrong)]) as sidecar:
            done = run(command, sidecar.url, BATCH)
            assert (done.returncode, done.stdout, len(sidecar.requests)) == (65, "", 1)
            assert f"reason_{status}" in done.stderr
            assert "the rule" in done.stderr
            assert "authorization" not in sidecar.requests[0].headers

    with Peer([http_answer(503, {"reason": "ledger_full"}, Retry_After="1")]) as sidecar:
        done = run(command, sidecar.url, BATCH, seconds="1")
        assert (done.returncode, done.stdout) == (69, "")
        assert "not known to be kept" in done.stderr
        assert 1 <= len(sidecar.requests) <= 3


WITHOUT_IDS = [
    '[{"dimension": "requests", "quantity": 3}]',
    '[{"dimension": "requests", "quantity": 3, "id": null}]',
    '[{"id": "a", "dimension": "requests", "quantity": 3}, {"dimension": "requests", "quantity": 3}]',
    '[{"dimension": "requests", "quantity": 3, "tags": {"id": "a"}}]',
    '[{"dimension": "requests", "quantity": 3, "key": "\\"id\\": 1, \\\\"}]',
    '{"dimension": "requests", "quantity": 3, "id": "order-17"}',
    "null",
]
"""Batches in which an event has no id of its own, or which are no array."""
WITH_IDS = '[{"id": "a", "tags": {"k": "]}\\"{"}, "quantity": 3}, {"quantity": 3, "tags": {}, "id" : "b"}]'


@pytest.mark.parametrize("make", clients(slow=False))
def test_a_batch_is_sent_whole_with_its_ids_or_not_at_all(tmp_path: Path, make: Callable[[Path], list[str]]) -> None:
    """Without an id a repeated event counts twice; a line that is passed over does not count at all."""
    command = make(tmp_path)
    with Peer([http_answer(400, {"reason": "body_malformed"})] * len(WITHOUT_IDS)) as sidecar:
        for batch in WITHOUT_IDS:
            done = run(command, sidecar.url, batch + "\n", seconds="1")
            assert (done.returncode, done.stdout) == (65, ""), batch
            assert done.stderr.startswith("refused: "), batch
        assert [one for one in sidecar.requests if one.body != b"null"] == []

    with Peer([KEPT, KEPT]) as sidecar:
        done = run(command, sidecar.url, f"{BATCH}{WITH_IDS}", seconds="5")
        assert (done.returncode, done.stderr) == (0, "")
        assert [json.loads(one.body) for one in sidecar.requests] == [json.loads(BATCH), json.loads(WITH_IDS)]

    too_long = json.dumps([{"id": "a", "key": "x" * 2**20}])
    with Peer([http_answer(413, {"reason": "body_too_large"})]) as sidecar:
        done = run(command, sidecar.url, f"{too_long}\n", seconds="5")
        assert (done.returncode, done.stdout) == (65, "")
        assert "refused: " in done.stderr
