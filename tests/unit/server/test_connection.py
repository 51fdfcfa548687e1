"""When a request is whole, in what order connections go, and what each holds. No sockets."""

from __future__ import annotations

import gzip
import random
import time
from typing import Any

import pytest
from gunicorn.config import Config
from gunicorn.http import errors
from gunicorn.http.parser import RequestParser

from sidecar.api.reply import API, PROBE
from sidecar.server.connection import Connection, Listener, Phase
from sidecar.server.http_error import BAD_REQUEST, HttpError
from sidecar.server.limits import REFUSAL_STATUSES, Counters, Limits
from sidecar.server.request import KNOWN_HEADS_MAX, Request, RequestReader

GET = b"GET /entitled HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST /v1/usage HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody"
EXPECTING = b"POST /v1/usage HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n"
CHUNKED_HEAD = b"POST /v1/usage HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
CHUNKED = CHUNKED_HEAD + b'2\r\nbo\r\n2;x="y"\r\ndy\r\n0\r\nX-Sum: 1\r\n\r\n'


def reader_of(data: bytes = b"", **limits: Any) -> RequestReader:
    small = Limits(**limits)
    reader = RequestReader(small, API)
    reader.buffer += data
    return reader


def taken(reader: RequestReader) -> Request:
    found = reader.take()
    assert isinstance(found, Request), found
    return found


@pytest.mark.parametrize("data", [GET, POST, CHUNKED])
def test_a_request_is_whole_at_its_last_byte_and_not_before(data: bytes) -> None:
    reader = reader_of()
    for byte in data[:-1]:
        reader.buffer.append(byte)
        assert reader.take() is None
    reader.buffer.append(data[-1])
    request = taken(reader)
    assert request.read_body() == (b"" if data is GET else b"body")
    assert not reader.buffer


@pytest.mark.parametrize("data", [GET, POST, CHUNKED])
def test_what_follows_a_request_stays_for_the_next(data: bytes) -> None:
    reader = reader_of(data + GET + b"GET /half")
    assert taken(reader).head.target == data.split()[1].decode()
    assert reader.buffer == GET + b"GET /half"
    assert taken(reader).head.target == "/entitled"
    assert reader.take() is None


def test_a_second_request_finds_its_own_framing() -> None:
    reader = reader_of(CHUNKED + POST + CHUNKED + GET)
    assert [taken(reader).read_body() for _ in range(4)] == [b"body", b"body", b"body", b""]


def test_the_head_is_read_once_however_slowly_the_body_comes(parsed: list[bytes]) -> None:
    reader = reader_of()
    for byte in POST:
        reader.buffer.append(byte)
        reader.take()
    assert len(parsed) == 1


def test_to_continue_is_due_once_and_only_while_the_body_is_missing() -> None:
    reader = reader_of(EXPECTING[:-2])
    assert reader.take() is None
    assert not reader.continue_due(), "the head is not whole"
    reader.buffer += EXPECTING[-2:]
    assert reader.take() is None
    assert reader.continue_due()
    assert not reader.continue_due()
    reader.buffer += b"body"
    assert taken(reader).read_body() == b"body"
    assert not reader.continue_due()


def test_to_continue_is_never_due_when_the_body_came_along() -> None:
    reader = reader_of(EXPECTING + b"body")
    taken(reader)
    assert not reader.continue_due()


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET / HTTP/1.1\nHost", 400),
        (b"GET /" + b"a" * 200, 414),
        (b"GET / HTTP/1.1\r\n" + b"X-A: 1\r\n" * 100, 431),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 33\r\n\r\n", 413),
        (b"GET / HTTP/1.1\r\nX-Host: x\r\n\r\n", 400),
        (CHUNKED_HEAD + b"21\r\n", 413),
        (CHUNKED_HEAD + b"0\r\n" + b"X: 1\r\n" * 100, 431),
        (CHUNKED_HEAD + b"x\r\n", 400),
        (CHUNKED_HEAD + b"1" * 300, 400),
        (CHUNKED_HEAD + b"1\r\nx\r\n" * 5, 413),
        (CHUNKED_HEAD + b"0\r\n" + b"X: 1\r\n" * 5 + b"\r\n", 413),
    ],
)
def test_what_cannot_become_a_request_is_refused_early(data: bytes, status: int) -> None:
    limits = {"head_bytes_max": 300, "api_body_bytes_max": 32, "chunks_max": 4}
    found = reader_of(data, request_line_bytes_max=100, **limits).take()
    assert isinstance(found, HttpError)
    assert found.status == status


def test_what_may_still_become_a_request_is_not_refused() -> None:
    for data in (b"\r", b"G", b"GET / HTTP/1.1\r", b"GET / HTTP/1.1\r\nX: \r", CHUNKED_HEAD + b"1\r"):
        assert reader_of(data).take() is None


def test_a_body_h11_reads_differently_is_refused() -> None:
    """The chunk is longer than its size: we skip by the size, h11 looks at the bytes."""
    request = taken(reader_of(CHUNKED_HEAD + b"1\r\nxy\n0\r\n\r\n"))
    assert request.read_body() is BAD_REQUEST


def test_bytes_h11_leaves_unread_are_never_dropped_silently() -> None:
    whole = taken(reader_of(CHUNKED))
    body = CHUNKED.removeprefix(CHUNKED_HEAD)
    longer = Request(whole.head, body + b"GET / HTTP/1.1", whole.body_chunks, whole._chunked)
    assert longer.read_body() is BAD_REQUEST


def test_bytes_that_trickle_in_cost_as_much_as_bytes_at_once() -> None:
    """16 KiB one by one: quadratic work would take minutes."""
    reader = reader_of(b"GET / HTTP/1.1\r\nX-A: ")
    start = time.process_time()
    for _ in range(8_000):
        reader.buffer += b"a"
        assert reader.take() is None
    for byte in b"\r\nX:" * 750:
        reader.buffer.append(byte)
        assert reader.take() is None
    assert time.process_time() - start < 1.0


# The same bytes, read by gunicorn alone and through our reader.

SEEDS = (GET, POST, CHUNKED, EXPECTING + b"body", GET + POST + CHUNKED, CHUNKED + GET, POST + POST)
PIECES = (
    *b"\r\n|\n|\r|\r\n\r\n| |:|;|\x00|\xff|0|1|f|-|x|*|//|http://x|CONNECT".split(b"|"),
    b"Content-Length: 4\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Connection: close\r\n",
    b"Host: y\r\n",
    b"X-A: 1\r\n",
    b"0\r\n\r\n",
    b"2\r\nab\r\n",
    b"GET / HTTP/1.1\r\n",
)


def mutated(chance: random.Random) -> bytes:
    """A valid request or several, with one to three small things wrong."""
    data = bytearray(chance.choice(SEEDS))
    for _ in range(chance.randint(1, 3)):
        start = chance.randrange(len(data))
        data[start : start + chance.choice((0, 0, 1, 2))] = chance.choice((b"", *PIECES))
    return bytes(data)


def seen_by_gunicorn(data: bytes) -> list[tuple[str, bytes]]:
    """Target and body of each whole request, up to the first that is not served."""
    found = []
    parser = RequestParser(Config(), [data], ("127.0.0.1", 1))
    try:
        for message in parser:
            length = getattr(message.body.reader, "length", 0)
            body = message.body.read()
            if len(body) < length or not (message.path or "/").startswith("/"):
                break
            if message.version == (1, 1) and "HOST" not in dict(message.headers):
                break  # the one thing we ask for and gunicorn does not
            found.append((message.uri, body))
    except (errors.ParseException, errors.NoMoreData):
        pass
    return found


def seen_by_us(data: bytes, cuts: list[int]) -> list[tuple[str, bytes]]:
    """The same, from pieces cut at these places."""
    found = []
    reader = reader_of()
    for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
        reader.buffer += data[start:end]
        while isinstance(request := reader.take(), Request):
            body = request.read_body()
            if isinstance(body, HttpError):
                return found
            found.append((request.head.target, body))
            if request.head.close:
                return found
        if isinstance(request, HttpError):
            return found
    return found


@pytest.mark.parametrize("seed", range(4))
def test_we_see_the_requests_gunicorn_sees_however_they_are_cut(seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(1_000):
        data = mutated(chance)
        expected = seen_by_gunicorn(data)
        cuts = sorted(chance.randrange(len(data) + 1) for _ in range(chance.randint(0, 5)))
        assert seen_by_us(data, cuts) == expected, (data, cuts)


# Phases and order. A connection's socket is never touched by its listener.


class Table:
    """One listener and the connections put into it."""

    def __init__(self, **limits: Any) -> None:
        self.limits = Limits(**limits)
        self.counters = Counters.of([PROBE, API])
        self.listener = Listener(API, self.limits, self.counters)

    def accepted(self, phase: Phase, now: float = 0.0, held: int = 0) -> Connection:
        no_socket: Any = None
        connection = Connection(no_socket, ("127.0.0.1", 1), None, self.listener)
        self.listener.move(connection, Phase.READING, now)
        self.listener.move(connection, phase, now)
        connection.reader.buffer += b"x" * held
        self.listener.weigh(connection)
        return connection


def test_idle_goes_before_lingering_before_reading_before_writing() -> None:
    table = Table()
    expected = [
        table.accepted(phase)
        for phase in (Phase.WRITING, Phase.READING, Phase.READING, Phase.LINGERING, Phase.IDLE, Phase.IDLE)
    ]
    expected = [expected[n] for n in (4, 5, 3, 1, 2, 0)]
    found = []
    while (oldest := table.listener.oldest()) is not None:
        found.append(oldest)
        table.listener.move(oldest, Phase.CLOSED, 0.0)
    assert found == expected


def test_a_busy_connection_neither_goes_nor_expires() -> None:
    table = Table()
    table.accepted(Phase.BUSY)
    assert table.listener.oldest() is None
    assert list(table.listener.expired(1e9)) == []


def test_only_what_is_past_its_deadline_expires() -> None:
    table = Table(request_seconds=10, idle_seconds=75)
    early, late = table.accepted(Phase.READING, 0.0), table.accepted(Phase.READING, 1.0)
    table.accepted(Phase.IDLE, 0.0)
    found = []
    for connection in table.listener.expired(10.5):
        found.append(connection)
        table.listener.move(connection, Phase.CLOSED, 10.5)
    assert found == [early]
    assert late.phase is Phase.READING


def test_the_number_open_follows_every_connection() -> None:
    table = Table()
    connection = table.accepted(Phase.IDLE)
    assert table.counters.open == {PROBE: 0, API: 1}
    table.listener.move(connection, Phase.CLOSED, 0.0)
    assert table.counters.open == {PROBE: 0, API: 0}


def test_the_oldest_holder_pays_and_the_newest_never() -> None:
    table = Table(half_read_bytes_max=100)
    table.accepted(Phase.READING)
    first = table.accepted(Phase.READING, held=60)
    assert table.listener.oldest_holder(keep=first) is None
    second = table.accepted(Phase.READING, held=60)
    assert table.listener.oldest_holder(keep=second) is first
    table.listener.move(first, Phase.CLOSED, 0.0)
    assert table.listener.oldest_holder(keep=second) is None


def test_what_is_read_and_what_is_written_are_bounded_apart() -> None:
    table = Table(half_read_bytes_max=100, unread_bytes_max=100)
    table.accepted(Phase.WRITING, held=90)
    reading = table.accepted(Phase.READING, held=90)
    assert table.listener.oldest_holder(keep=reading) is None


def test_the_keys_of_the_counters_are_all_there_from_the_start() -> None:
    """So that another thread may iterate while the poller counts."""
    counters = Counters.of([PROBE, API, API])
    assert set(counters.open) == {PROBE, API}
    assert set(counters.refused) == {(name, status) for name in (PROBE, API) for status in REFUSAL_STATUSES}


def test_a_probe_reads_a_shorter_body_than_the_api() -> None:
    limits = Limits()
    assert limits.body_bytes_max(PROBE) == 4_096
    assert limits.body_bytes_max(API) == 1_048_576
    assert limits.body_bytes_max(PROBE) <= limits.quick_body_bytes_max
    assert limits.body_chunks_max(PROBE) == limits.quick_chunks_max < limits.body_chunks_max(API)


# -- a head that comes again


def test_a_head_that_comes_again_is_not_parsed_again_and_means_the_same(parsed: list[bytes]) -> None:
    reader = reader_of(POST)
    first = taken(reader)
    for body in (b"body", b"else", b"\r\n\r\n", b"GET "):
        reader.buffer += POST[:-4] + body + b"G"
        again = taken(reader)
        assert again.read_body() == body
        assert (again.body_bytes, again.body_chunks) == (4, 0)
        assert again.head is first.head
        assert reader.buffer == b"G"
        reader.buffer.clear()
    assert first.read_body() == b"body", "each has a body of its own"
    assert len(parsed) == 1


@pytest.mark.parametrize(
    "other",
    [
        POST.replace(b"Host: x", b"Host: y"),
        POST.replace(b"Host: x", b"host: x"),
        POST.replace(b"/v1/usage", b"/v1/usagf"),
        POST.replace(b"Content-Length: 4", b"Content-Length: 3"),
        POST.replace(b"Content-Length: 4", b"Content-Length: 4\r\nContent-Length: 4"),
        POST.replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n"),
        POST.replace(b"HTTP/1.1", b"HTTP/1.0"),
        POST.replace(b": 4", b":  4"),
    ],
)
def test_a_head_that_differs_in_a_byte_is_parsed(parsed: list[bytes], other: bytes) -> None:
    reader = reader_of(POST)
    taken(reader)
    parsed.clear()
    reader.buffer += other
    found, fresh = reader.take(), reader_of(other).take()
    assert len(parsed) == 2
    if isinstance(fresh, Request) and isinstance(found, Request):
        assert found.head.headers == fresh.head.headers
        assert found.read_body() == fresh.read_body()
    else:
        assert found == fresh


@pytest.mark.parametrize("data", [CHUNKED, POST.replace(b"Host: x", b"Host: " + b"x" * 600)])
def test_a_head_that_is_chunked_or_long_is_parsed_every_time(parsed: list[bytes], data: bytes) -> None:
    reader = reader_of(b"")
    for _ in range(3):
        reader.buffer += data
        taken(reader).read_body()
    assert len(parsed) == 3


def test_a_refused_head_is_refused_again() -> None:
    reader = reader_of(POST)
    taken(reader)
    for _ in range(2):
        reader.buffer[:] = POST.replace(b"Host: x\r\n", b"")
        assert reader.take() is BAD_REQUEST


def test_few_heads_are_remembered_as_accepted_and_the_oldest_goes() -> None:
    judged: list[object] = []
    reader = RequestReader(Limits(), API, judged.append)
    heads = [POST.replace(b"Host: x", f"Host: {at}".encode()) for at in range(KNOWN_HEADS_MAX + 1)]
    for data in [*heads, *heads[1:], heads[0]]:
        reader.buffer += data
        assert taken(reader).read_body() == b"body"
    assert len(judged) == len(heads) + 1


def test_a_head_that_comes_again_waits_for_its_body_again() -> None:
    reader = reader_of(b"")
    for _ in range(2):
        reader.buffer += EXPECTING
        assert reader.take() is None
        assert reader.continue_due()
        reader.buffer += b"body"
        assert taken(reader).read_body() == b"body"


@pytest.mark.parametrize("cut", range(1, POST.index(b"body")))
def test_a_known_head_in_two_pieces_leaves_nothing_behind_for_the_next(cut: int) -> None:
    """The second piece brings the rest of the request; the next head is shorter."""
    reader = reader_of(POST)
    taken(reader)
    reader.buffer += POST[:cut]
    assert reader.take() is None
    reader.buffer += POST[cut:]
    assert taken(reader).read_body() == b"body"
    reader.buffer += GET + POST
    assert taken(reader).head.method == "GET"
    assert taken(reader).read_body() == b"body"
    assert reader.take() is None


def test_a_known_head_of_a_compressed_body_and_of_a_head_request() -> None:
    packed = gzip.compress(b"body")
    post = POST.replace(b"4\r\n\r\nbody", b"%d\r\nContent-Encoding: gzip\r\n\r\n" % len(packed)) + packed
    reader = reader_of(b"")
    for _ in range(3):
        reader.buffer += post + GET.replace(b"GET", b"HEAD")
        request = taken(reader)
        assert request.body_bytes == Limits().api_body_bytes_max, "what it may inflate to"
        assert request.read_body() == b"body"
        assert taken(reader).head.method == "HEAD"
        assert not reader.head_only


def test_a_known_head_whose_body_is_not_whole_is_a_request_once_it_is() -> None:
    reader = reader_of(POST)
    taken(reader)
    for byte in POST[:-1]:
        reader.buffer.append(byte)
        assert reader.take() is None
    reader.buffer += POST[-1:] + b"G"
    assert taken(reader).read_body() == b"body"
    assert reader.buffer == b"G"


def test_a_refusal_has_a_body_for_what_is_not_head() -> None:
    """Where the last head is unknown, remembered or broken, an earlier HEAD says nothing about its response."""
    head = GET.replace(b"GET", b"HEAD")
    reader = reader_of(GET + head)
    taken(reader)
    taken(reader)
    assert not reader.head_only, "the next head is not there yet"
    reader.buffer += GET + head
    taken(reader)
    reader.buffer += POST.replace(b"4\r\n\r\nbody", b"4\r\n\r\n")
    taken(reader)
    assert reader.take() is None
    assert not reader.head_only
    broken = reader_of(head + b"\0")
    taken(broken)
    assert isinstance(broken.take(), HttpError)
    assert not broken.head_only


def test_a_head_that_is_remembered_asks_for_no_body_again() -> None:
    waits = GET.replace(b"GET", b"HEAD").replace(b"\r\n\r\n", b"\r\nContent-Length: 4\r\n\r\n")
    reader = reader_of(waits + b"body" + waits)
    taken(reader)
    assert reader.take() is None
    assert reader.head_only
