"""Run `report` and `usage`, clients of a running sidecar.

Invariants:
- A report without a response is sent again with the same id: it may have been stored, and counts once.
- A refusal has its reason on stderr, and another exit code than a sidecar that does not run: the first needs another
  report, the second the same one later.
- Data goes to stdout, messages to stderr.
"""

from __future__ import annotations

import http.client
import json
import re
import secrets
import sys
import time
from collections.abc import Callable, Mapping
from typing import Final

from sidecar import address_file
from sidecar.cli import endpoint, local_client, output
from sidecar.errors import Exit
from sidecar.printable import json_text, one_line
from sidecar.quick_dataclasses import dataclass

RESPONSE_SECONDS: Final = 10.0
RETRY_SECONDS: Final = (0.2, 0.5)
"""Pauses before the second and the third attempt of a report."""
PROGRESS_SECONDS: Final = 2.0
COLUMNS: Final = {
    "HOUR": "hour",
    "DIMENSION": "dimension",
    "STATE": "state",
    "QUANTITY": "quantity",
    "RECORD_ID": "metering_record_id",
    "LAST_ERROR": "last_error",
    "AWS_QUANTITY": "aws_quantity",
    "WORKLOAD": "workload",
    "KIND": "kind",
}
"""Column of the table → field of a record."""
CUSTOMER: Final = "CUSTOMER"
"""A last column, only of what the SaaS service answers: license, or identifier of an older product."""
EMPTY_CELL: Final = "-"
NEXT: Final = re.compile(r'<(/v1/usage/export\?[^<>\s]+)>; rel="next"')

Pause = Callable[[float], None]


class CommandFailed(Exception):
    """A command cannot continue. The text goes to stderr; `code` is the exit code."""

    def __init__(self, code: Exit, message: str) -> None:
        super().__init__(message)
        self.code = code


class NoResponse(CommandFailed):
    """No response, or half of one: whether anything was done is unknown."""


@dataclass(frozen=True, kw_only=True)
class ClientResponse:
    """A response with status 200."""

    body: bytes
    link: str
    """The Link header, empty where there is none."""


def report(event: Mapping[str, object], pause: Pause = time.sleep) -> int:
    """Report one event. Returns 0 where it is on disk, now or from before, 65 where it is refused, else 69."""
    body = {"id": secrets.token_hex(16), **event}
    return _exit_code(lambda: _report(json.dumps(body).encode(), pause))


def show(as_json: bool) -> int:
    """Print the usage records."""
    return _exit_code(lambda: _show(as_json))


def retry(decision: Mapping[str, str]) -> int:
    """Send a decision, and print the records it applied to as they are now."""
    return _exit_code(lambda: _retry(json.dumps(decision).encode()))


def export(elapsed: Callable[[], float] = time.monotonic) -> int:
    """Print the audit copy, page by page."""
    return _exit_code(lambda: _export(elapsed))


def _exit_code(command: Callable[[], None]) -> int:
    try:
        command()
    except CommandFailed as exc:
        sys.stderr.write(f"{exc}\n")
        return exc.code
    return Exit.OK


def _report(body: bytes, pause: Pause) -> None:
    result = _read(_push(body, pause))
    try:
        sys.stdout.write("duplicate\n" if result.get("duplicates") else "accepted\n")
        sys.stdout.flush()
    except OSError:  # the event is on disk; a script that took this for a failure would send it twice
        output.discard()


def _push(body: bytes, pause: Pause) -> ClientResponse:
    for seconds in RETRY_SECONDS:
        try:
            return request("POST", "/v1/usage", body)
        except NoResponse:
            pause(seconds)
    return request("POST", "/v1/usage", body)


def _show(as_json: bool) -> None:
    response = request("GET", "/v1/usage")
    if as_json:
        _read(response)
        _write(json_text(response.body) + b"\n")
    else:
        sys.stdout.write(_table(response))


def _retry(body: bytes) -> None:
    response = request("POST", "/v1/usage/retry", body)
    if _records(response):
        sys.stdout.write(_table(response))
    else:
        sys.stderr.write("nothing waits for a person there: no record was changed\n")


def _export(elapsed: Callable[[], float]) -> None:
    target: str | None = "/v1/usage/export"
    count, shown_at, shown = 0, elapsed(), False
    while target is not None:
        try:
            response = request("GET", target)
        except CommandFailed as exc:
            raise CommandFailed(exc.code, f"{exc}\nthe export ended after {count} lines and is incomplete") from exc
        _write(json_text(response.body))
        count += response.body.count(b"\n")
        target = next_page(response, target, count)
        if sys.stderr.isatty() or elapsed() - shown_at > PROGRESS_SECONDS:
            sys.stderr.write(f"{count} lines\n")
            shown_at, shown = elapsed(), True
    if shown:
        sys.stderr.write(f"{count} lines, complete\n")


def next_page(response: ClientResponse, target: str, count: int) -> str | None:
    """Return the target of the next page, or None after the last. Raises CommandFailed for any other link."""
    if not response.link:
        return None
    found = NEXT.fullmatch(response.link)
    if found is None or found[1] == target:
        raise CommandFailed(
            Exit.UNAVAILABLE, f"the export has no valid next page after {count} lines and is incomplete"
        )
    return found[1]


def _write(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.flush()


def _table(response: ClientResponse) -> str:
    records = _records(response)
    rows = [list(COLUMNS), *([_cell(one.get(field)) for field in COLUMNS.values()] for one in records)]
    if any("customer" in one for one in records):
        for row, cell in zip(rows, [CUSTOMER, *(_cell(_customer(one)) for one in records)], strict=True):
            row.append(cell)
    return "".join("\t".join(row) + "\n" for row in rows)


def _customer(record: Mapping[str, object]) -> object:
    """Return what names the customer of a record, None where nothing does."""
    found = record.get("customer")
    return found.get("license_arn") or found.get("identifier") if isinstance(found, dict) else None


def _cell(value: object) -> str:
    """Return the value on one line, without the character that separates cells."""
    return one_line(str(value)) if value not in (None, "") else EMPTY_CELL


def _records(response: ClientResponse) -> list[Mapping[str, object]]:
    found = _read(response).get("records")
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise CommandFailed(Exit.UNAVAILABLE, "what answers there is not the sidecar")
    return found


def _read(response: ClientResponse) -> Mapping[str, object]:
    try:
        found = json.loads(response.body)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise CommandFailed(Exit.UNAVAILABLE, "what answers there is not the sidecar")
    return found


def request(method: str, target: str, body: bytes | None = None) -> ClientResponse:
    """Send a request to the sidecar of this container. Raises CommandFailed for every status but 200, SettingsError."""
    headers = {"Content-Type": "application/json", "Connection": "close"}
    headers |= local_client.authorization()
    connection = http.client.HTTPConnection("localhost", timeout=RESPONSE_SECONDS)
    where = None
    try:
        where = endpoint.api()
        headers |= where.headers()
        connection.sock = endpoint.connect_socket(where.addresses, RESPONSE_SECONDS)
        connection.request(method, target, body, headers)
        received = connection.getresponse()
        response = ClientResponse(body=received.read(), link=received.getheader("Link", ""))
        where.check_status(received.status)
    except (OSError, address_file.NotAnAddressFile, http.client.HTTPException) as exc:
        cause = one_line(str(exc)) or type(exc).__name__
        at, fix = f" at {where.shown}" if where else "", "Run this in its container, with its SIDECAR_API_BIND."
        raise NoResponse(Exit.UNAVAILABLE, f"no sidecar answers{at} ({cause}). {fix}") from exc
    finally:
        connection.close()
    if received.status == 200:
        return response
    raise CommandFailed(Exit.REFUSED if 400 <= received.status < 500 else Exit.UNAVAILABLE, _refusal(response))


def _refusal(response: ClientResponse) -> str:
    """Return reason and detail in one line, whatever the server sent."""
    problem = _read(response)
    return one_line(f"refused ({problem.get('reason')}): {problem.get('detail')}")
