"""Name the parts of gunicorn that the worker is built on, and the settings it needs.

Invariants:
- Where gunicorn differs from what is listed, the process refuses to start: falling back to a stock worker would let
  four silent clients block every probe again.
- No header, and no environment variable, may change a path, an address or the listener of a request.

gunicorn makes no promise about these internals; its minor version is pinned for that reason.
"""

from __future__ import annotations

import inspect
from importlib import import_module
from operator import attrgetter
from typing import Any, Final

import gunicorn
from gunicorn.http import body

from sidecar.server.limits import Limits

GUNICORN_VERSION: Final = "27.0."

INTERNALS: Final[tuple[tuple[str, str, tuple[str, ...]], ...]] = (
    ("arbiter", "Arbiter.handle_term", ("self",)),
    ("arbiter", "Arbiter.init_signals", ("self",)),
    ("arbiter", "Arbiter.spawn_worker", ("self",)),
    ("arbiter", "Arbiter.stop", ("self", "graceful")),
    ("arbiter", "Arbiter.wait_for_signals", ("self", "timeout")),
    ("sock", "close_sockets", ("listeners", "unlink")),
    ("workers.base", "Worker.__init__", ("self", "age", "ppid", "sockets", "app", "timeout", "cfg", "log")),
    ("workers.base", "Worker.init_process", ("self",)),
    ("workers.base", "Worker.init_signals", ("self",)),
    ("workers.base", "Worker.load_wsgi", ("self",)),
    ("workers.base", "Worker.notify", ("self",)),
    ("workers.workertmp", "WorkerTmp.last_update", ("self",)),
    ("workers.base", "Worker.handle_exit", ("self", "sig", "frame")),
    ("http.parser", "RequestParser.__init__", ("self", "cfg", "source", "source_addr")),
    ("http.parser", "RequestParser.__next__", ("self",)),
    ("http.message", "Request.should_close", ("self",)),
    ("http.unreader", "IterUnreader.__init__", ("self", "iterable")),
    ("http.unreader", "IterUnreader.chunk", ("self", "size_hint")),
    ("http.unreader", "IterUnreader.take_buffered", ("self",)),
    ("http.body", "Body.__init__", ("self", "reader")),
    ("http.body", "Body.read", ("self", "size")),
    ("http.body", "LengthReader.__init__", ("self", "unreader", "length")),
    ("http.body", "ChunkedReader.__init__", ("self", "req", "unreader")),
    (
        "http.wsgi",
        "create",
        ("req", "sock", "client", "server", "cfg", "response_class", "response_args"),
    ),
    ("http.wsgi", "Response.__init__", ("self", "req", "sock", "cfg")),
    ("http.wsgi", "Response.start_response", ("self", "status", "headers", "exc_info")),
    ("http.wsgi", "Response.default_headers", ("self",)),
    ("http.wsgi", "Response.write", ("self", "arg")),
    ("http.wsgi", "Response.close", ("self",)),
    ("http.wsgi", "Response.should_close", ("self",)),
    ("http.wsgi", "Response.force_close", ("self",)),
    ("util", "http_date", ("timestamp",)),
    ("util", "write", ("sock", "data", "chunked")),
)
"""Module, name and parameters of every internal used."""

ERRORS: Final = (
    "ParseException",
    "NoMoreData",
    "LimitRequestLine",
    "LimitRequestHeaders",
    "ExpectationFailed",
    "UnsupportedTransferCoding",
)
"""The exceptions told apart when the parser refuses a request."""


def check_gunicorn() -> str | None:
    """Return why this gunicorn cannot carry the worker, or None."""
    version = str(gunicorn.__version__)
    if not version.startswith(GUNICORN_VERSION):
        return f"gunicorn {version} is installed; the worker is built on {GUNICORN_VERSION}x"
    for module, name, parameters in INTERNALS:
        problem = _signature_problem(module, name, parameters)
        if problem is not None:
            return problem
    return _shape_problem()


def _signature_problem(module: str, name: str, parameters: tuple[str, ...]) -> str | None:
    try:
        found = attrgetter(name)(import_module(f"gunicorn.{module}"))
        actual = tuple(inspect.signature(found).parameters)
    except (ImportError, AttributeError, TypeError, ValueError):
        return f"gunicorn.{module} has no usable {name}"
    if actual != parameters:
        return f"gunicorn.{module}.{name} takes {actual}, not {parameters}"
    return None


def _shape_problem() -> str | None:
    """Return which attribute in use is missing, looked up on real objects, or None."""
    errors = import_module("gunicorn.http.errors")
    missing = [name for name in ERRORS if not hasattr(errors, name)]
    if missing:
        return f"gunicorn.http.errors lacks {missing}"
    reader = body.LengthReader(None, 7)
    if getattr(reader, "length", None) != 7 or getattr(body.Body(reader), "reader", None) is not reader:
        return "gunicorn.http.body no longer tells the length of a body"
    if import_module("gunicorn.http.message").Request._expected_100_continue is not False:
        return "gunicorn.http.message no longer tells whether 100-continue is expected"
    return None


def relied_on(limits: Limits) -> dict[str, object]:
    """Return the settings without which the worker's limits do not hold."""
    return {
        "workers": 1,
        "threads": 1,
        "http_parser": "python",
        "protocol": "http",
        "http_protocols": "h1",
        "http2_cleartext": "off",
        "certfile": None,
        "keyfile": None,
        "forwarded_allow_ips": "",
        "forwarder_headers": "",
        "secure_scheme_headers": {},
        "header_map": "drop",
        "proxy_protocol": "off",
        "proxy_allow_ips": "",
        "permit_obsolete_folding": False,
        "strip_header_spaces": False,
        "permit_unconventional_http_method": False,
        "permit_unconventional_http_version": False,
        "casefold_http_method": False,
        "limit_request_line": limits.request_line_bytes_max,
        "limit_request_fields": limits.header_fields_max,
        "limit_request_field_size": limits.header_field_bytes_max,
        "max_requests": 0,
        "max_requests_jitter": 0,
        "reload": False,
        "reuse_port": False,
        "control_socket_disable": True,
    }


def settings_problem(cfg: Any, limits: Limits) -> str | None:
    """Return the first setting that differs from what the worker relies on, or None."""
    for name, value in relied_on(limits).items():
        setting = cfg.settings[name]
        wanted = setting.validator(value) if setting.validator is not None else value
        if setting.get() != wanted:
            return f"gunicorn's {name} is {setting.get()!r}; the worker needs {wanted!r}"
    return None
