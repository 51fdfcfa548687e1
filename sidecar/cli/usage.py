"""How does a person, or a script, report usage and look at it? `report` and `usage`, clients of a running sidecar.

Rules kept here:
- A report that got no answer is sent again with the id it had: it may have been kept, and counts once.
- What the sidecar refuses is told with its reason, and ends with another code than a sidecar that is not
  there: the first needs another report, the second the same one later.
- Data goes to stdout, everything said about it to stderr.
"""

from __future__ import annotations

import http.client
import json
import re
import secrets
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from sidecar.cli import local_client, output
from sidecar.errors import Exit

ANSWER_SECONDS: Final = 10.0
PAUSES_SECONDS: Final = (0.2, 0.5)
"""Before the second and the third try of a report."""
PROGRESS_SECONDS: Final = 2.0
COLUMNS: Final = {
    "HOUR": "hour",
    "DIMENSION": "dimension",
    "STATE": "state",
    "QUANTITY": "quantity",
    "RECORD_ID": "metering_record_id",
    "LAST_ERROR": "last_error",
}
"""Column of the table → field of a record."""
NOTHING: Final = "-"
NEXT: Final = re.compile(r'<(/v1/usage/export\?[^<>\s]+)>; rel="next"')

Pause = Callable[[float], None]


class CommandFailed(Exception):
    """A command that goes no further: its exit code, and what to say."""

    def __init__(self, code: Exit, words: str) -> None:
        super().__init__(words)
        self.code = code


class Unanswered(CommandFailed):
    """Nobody answered, or not to the end: whether anything was done is unknown."""


@dataclass(frozen=True, kw_only=True)
class ClientResponse:
    """An answer that is no refusal."""

    body: bytes
    link: str
    """The Link header: where the next page is, or nothing."""


def report(event: Mapping[str, object], pause: Pause = time.sleep) -> int:
    """Have one event kept. 0 when it is on disk or was before, 65 when it is refused, 69 otherwise."""
    body = {"id": secrets.token_hex(16), **event}
    return _ended(lambda: _report(json.dumps(body).encode(), pause))


def show(as_json: bool) -> int:
    """Print the records."""
    return _ended(lambda: _show(as_json))


def retry(decision: Mapping[str, str]) -> int:
    """Have a decision carried out, and print the records it was about as they are now."""
    return _ended(lambda: _retry(json.dumps(decision).encode()))


def export(elapsed: Callable[[], float] = time.monotonic) -> int:
    """Print the audit copy, page by page."""
    return _ended(lambda: _export(elapsed))


def _ended(command: Callable[[], None]) -> int:
    try:
        command()
    except CommandFailed as end:
        sys.stderr.write(f"{end}\n")
        return end.code
    return Exit.OK


def _report(body: bytes, pause: Pause) -> None:
    heard = _read(_asked_again(body, pause))
    try:
        sys.stdout.write("duplicate\n" if heard.get("duplicates") else "accepted\n")
        sys.stdout.flush()
    except OSError:  # it is on disk all the same, and a script that took this for a failure would send it twice
        output.silence()


def _asked_again(body: bytes, pause: Pause) -> ClientResponse:
    for seconds in PAUSES_SECONDS:
        try:
            return _ask("POST", "/v1/usage", body)
        except Unanswered:
            pause(seconds)
    return _ask("POST", "/v1/usage", body)


def _show(as_json: bool) -> None:
    heard = _ask("GET", "/v1/usage")
    if as_json:
        _read(heard)
        _write(heard.body + b"\n")
    else:
        sys.stdout.write(_table(heard))


def _retry(body: bytes) -> None:
    heard = _ask("POST", "/v1/usage/retry", body)
    if _records(heard):
        sys.stdout.write(_table(heard))
    else:
        sys.stderr.write("nothing waits for a person there: no record was changed\n")


def _export(elapsed: Callable[[], float]) -> None:
    target: str | None = "/v1/usage/export"
    count, said_at, said = 0, elapsed(), False
    while target is not None:
        try:
            heard = _ask("GET", target)
        except CommandFailed as end:
            raise CommandFailed(end.code, f"{end}\nthe export ends after {count} lines and is not whole") from end
        _write(heard.body)
        count += heard.body.count(b"\n")
        target = _following(heard, target, count)
        if sys.stderr.isatty() or elapsed() - said_at > PROGRESS_SECONDS:
            sys.stderr.write(f"{count} lines\n")
            said_at, said = elapsed(), True
    if said:
        sys.stderr.write(f"{count} lines, all of it\n")


def _following(heard: ClientResponse, target: str, count: int) -> str | None:
    """Return where the next page is, or None after the last. Raises Ended where it is not on the way to the end."""
    if not heard.link:
        return None
    found = NEXT.fullmatch(heard.link)
    if found is None or found[1] == target:
        raise CommandFailed(Exit.UNAVAILABLE, f"the export leads nowhere after {count} lines and is not whole")
    return found[1]


def _write(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.flush()


def _table(heard: ClientResponse) -> str:
    rows = [list(COLUMNS), *([_cell(one.get(field)) for field in COLUMNS.values()] for one in _records(heard))]
    return "".join("\t".join(row) + "\n" for row in rows)


def _cell(value: object) -> str:
    """Return what it says on one line, without the character that separates cells."""
    return " ".join(str(value).split()) if value not in (None, "") else NOTHING


def _records(heard: ClientResponse) -> list[Mapping[str, object]]:
    found = _read(heard).get("records")
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise CommandFailed(Exit.UNAVAILABLE, "what answers there is not the sidecar")
    return found


def _read(heard: ClientResponse) -> Mapping[str, object]:
    try:
        found = json.loads(heard.body)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise CommandFailed(Exit.UNAVAILABLE, "what answers there is not the sidecar")
    return found


def _ask(method: str, target: str, body: bytes | None = None) -> ClientResponse:
    """Return one request to the sidecar nearby. Raises Ended for every answer but 200, SettingsError."""
    host, port = local_client.listener_address("api_bind")
    connection = http.client.HTTPConnection(host, port, timeout=ANSWER_SECONDS)
    try:
        connection.request(method, target, body, {"Content-Type": "application/json", "Connection": "close"})
        answer = connection.getresponse()
        heard = ClientResponse(body=answer.read(), link=answer.getheader("Link", ""))
    except (OSError, http.client.HTTPException) as exc:
        said = str(exc) or type(exc).__name__
        where = "Run this in its container, with its SIDECAR_API_BIND."
        raise Unanswered(Exit.UNAVAILABLE, f"no sidecar answers at {host}:{port} ({said}). {where}") from exc
    finally:
        connection.close()
    if answer.status == 200:
        return heard
    raise CommandFailed(Exit.REFUSED if 400 <= answer.status < 500 else Exit.UNAVAILABLE, _why(heard))


def _why(heard: ClientResponse) -> str:
    """Reason and detail in one line; what a foreign server says cannot break it."""
    problem = _read(heard)
    return " ".join(f"refused ({problem.get('reason')}): {problem.get('detail')}".split())
