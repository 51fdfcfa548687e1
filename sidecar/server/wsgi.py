"""Call a WSGI application for one request, and keep its whole response.

Invariants:
- Nothing is sent while the application runs, so no route ever waits for a client; what it starts a second time, with an
  exception at hand, replaces all that it gave before.
- A route that raises, or sends less than it announced, has no response: its caller makes a complete 500 of it. What it
  sends beyond what it announced is cut off.
- The length of a response is always announced, once. A field that belongs to a connection, or to the server, is
  dropped.
- What is refused replaces nothing: an application that catches the refusal has the response that it had started.
- There is no `Server` field.

Sources: PEP 3333; RFC 9110, sections 6.4, 7.6.1, 8.6 and 15; RFC 9112, sections 4, 6.3 and 9.3.
"""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Callable, Iterable
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from sidecar.api.reply import LISTENER
from sidecar.server import http_date
from sidecar.server.head import RequestHead

STATUS: Final = re.compile(r"[0-9]{3}(?: [ \t\x21-\x7e\x80-\xff]*)?")
NAME: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
VALUE: Final = re.compile(r"[ \t\x21-\x7e\x80-\xff]*")
LENGTH: Final = re.compile(r"[0-9]+")
OF_THE_SERVER: Final = frozenset(
    ("connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailers", "transfer-encoding")
) | {"upgrade", "server", "date"}
"""Fields that an application may not set: of the connection, or the server's own."""
WITHOUT_BODY: Final = (204, 304)

WsgiApp = Callable[[dict[str, Any], Any], Iterable[bytes]]


class AnswerTooLarge(Exception):
    """A route produced more than the worker holds for one client."""


class ShortAnswer(Exception):
    """A route started no response, or sent less than its Content-Length announced."""


class InvalidAnswer(Exception):
    """A route gave a status or a field that cannot stand in a response. It is not repeated: it may be a secret."""


def unquoted(path: str) -> str:
    """Return the bytes of a path, as WSGI wants them in a string."""
    return unquote_to_bytes(path).decode("latin-1")


def environ_of(head: RequestHead, listener: str, client: tuple[str, int], server: Any) -> dict[str, Any]:
    """Return the WSGI environ of a request whose body is not read yet. `server`: the address it arrived at."""
    environ: dict[str, Any] = {
        "wsgi.errors": sys.stderr,
        "wsgi.version": (1, 0),
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        "wsgi.input": io.BytesIO(),
        "wsgi.input_terminated": True,
        "wsgi.url_scheme": "http",
        "REQUEST_METHOD": head.method,
        "RAW_URI": head.target,
        "QUERY_STRING": head.query,
        "SERVER_PROTOCOL": f"HTTP/{head.version[0]}.{head.version[1]}",
        "REMOTE_ADDR": client[0],
        "REMOTE_PORT": str(client[1]),
        "SERVER_NAME": server[0],
        "SERVER_PORT": str(server[1]),
        "SCRIPT_NAME": "",
        "PATH_INFO": unquoted(head.path),
        LISTENER: listener,
    }
    for name, value in head.headers:
        if name in ("CONTENT-TYPE", "CONTENT-LENGTH"):
            environ[name.replace("-", "_")] = value
            continue
        key = "HTTP_" + name.replace("-", "_")
        environ[key] = f"{environ[key]},{value}" if key in environ else value
    return environ


class Response:
    """What an application answers to one request."""

    def __init__(self, head: RequestHead, bytes_max: int) -> None:
        self._head, self._bytes_max, self._bytes_left = head, bytes_max, bytes_max
        self._status = ""
        self._headers: list[tuple[str, str]] = []
        self._announced: int | None = None
        self._omits_body = False
        self._parts: list[bytes] = []
        self._sent = 0

    def run(self, app: WsgiApp, environ: dict[str, Any]) -> None:
        """Call the application. Raises what it raises, AnswerTooLarge and ShortAnswer."""
        parts = app(environ, self._start)
        try:
            for part in parts:
                self._write(part)
        finally:
            close = getattr(parts, "close", None)
            if close is not None:
                close()
        if not self._status or (self._announced is not None and not self._omits_body and self._sent != self._announced):
            raise ShortAnswer

    def finished(self, *, close: bool) -> list[bytes]:
        """Return the bytes of the response: the head, then what the application gave. Raises AnswerTooLarge."""
        lines = [
            f"HTTP/{self._head.version[0]}.{self._head.version[1]} {self._status}",
            f"Date: {http_date.now()}",
            f"Connection: {'close' if close else 'keep-alive'}",
            *(f"{name}: {value}" for name, value in self._headers),
        ]
        if self._announced is None and not self._omits_body:
            lines.append(f"Content-Length: {self._sent}")
        head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
        self._take(len(head))
        return [head, *self._parts]

    def _start(self, status: str, headers: Iterable[tuple[str, str]], exc_info: Any = None) -> Callable[[bytes], None]:
        if self._status and not exc_info:
            raise InvalidAnswer("it was started already")
        if not STATUS.fullmatch(status):
            raise InvalidAnswer("its status")
        code = int(status[:3])
        fields, announced = _checked(headers, lengthless=code == 204 or code < 200)
        self._status, self._headers, self._announced = status, fields, announced
        self._parts, self._sent, self._bytes_left = [], 0, self._bytes_max
        self._omits_body = self._head.method == "HEAD" or code in WITHOUT_BODY or code < 200
        return self._write

    def _write(self, part: bytes) -> None:
        if not self._status:
            raise ShortAnswer
        if not isinstance(part, bytes):
            raise InvalidAnswer("its body is not of bytes")
        if self._omits_body:
            return
        if self._announced is not None:
            part = part[: max(0, self._announced - self._sent)]
        self._take(len(part))
        self._sent += len(part)
        if part:
            self._parts.append(part)

    def _take(self, count: int) -> None:
        self._bytes_left -= count
        if self._bytes_left < 0:
            raise AnswerTooLarge


def _checked(headers: Iterable[tuple[str, str]], *, lengthless: bool) -> tuple[list[tuple[str, str]], int | None]:
    """Return the fields to send, and the length that they announce. Raises InvalidAnswer.

    `lengthless`: a response of this status may have no Content-Length.
    """
    fields: list[tuple[str, str]] = []
    announced: int | None = None
    for name, value in headers:
        if not NAME.fullmatch(name) or not VALUE.fullmatch(value):
            raise InvalidAnswer("one of its fields")
        lower, text = name.lower(), value.strip(" \t")
        if lower == "content-length":
            if announced is not None or not LENGTH.fullmatch(text):
                raise InvalidAnswer("its length")
            announced = int(text)
        if lower not in OF_THE_SERVER and not (lengthless and lower == "content-length"):
            fields.append((name, text))
    return fields, None if lengthless else announced
