"""Serve the emulator as a Flask app: AWS at `POST /`, the controls under `/_emulator/`.

Elsewhere: what is answered (`metering_api`, `sts`), how it travels (`transport`), the admin routes
(`admin`), the HTTP server (`server`).

Invariants:
- A form-encoded request without X-Amz-Target is for STS, one whose target names another service for that, any other for
  the metering service: they share one port, so that one endpoint override serves a whole IRSA walk.
- Every call is listed before its answer is sent, so that a client with its answer finds the call in the list.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Mapping
from datetime import datetime, timedelta
from email.utils import format_datetime

from flask import Flask, Response, request

from sidecar.emulator import admin, transport
from sidecar.emulator.faults import REPLACING, Fault
from sidecar.emulator.get_entitlements import TARGET_PREFIX as ENTITLEMENTS
from sidecar.emulator.get_entitlements import EntitlementService
from sidecar.emulator.license_manager import TARGET_PREFIX as LICENSE_MANAGER
from sidecar.emulator.license_manager import LicenseManager
from sidecar.emulator.metering_api import MeteringService
from sidecar.emulator.refusals import NoSuchEndpoint, Refusal
from sidecar.emulator.sqs import TARGET_PREFIX as QUEUES
from sidecar.emulator.sqs import QueueService
from sidecar.emulator.state import EmulatorState
from sidecar.emulator.sts import SecurityTokenService
from sidecar.emulator.wire import Conditions, Incoming, Reply, Service

ABOUT = (
    "A local AWS Marketplace, for trying and testing: RegisterUsage, MeterUsage, License Manager, what SaaS\n"
    "products call, and two operations of STS at POST /, everything that can be turned under /_emulator/.\n"
    "It proves nothing, and nothing is billed.\n"
)

_METERING = MeteringService()
_STS = SecurityTokenService()
_BY_TARGET: Mapping[str, Service] = {
    LICENSE_MANAGER: LicenseManager(),
    ENTITLEMENTS: EntitlementService(),
    QUEUES: QueueService(),
}
"""Prefix of X-Amz-Target → service; any other is the metering service's."""


def create_app(emulated: EmulatorState, stopping: threading.Event) -> Flask:
    """Return the app for one emulated AWS; `stopping` ends what hangs."""
    app = Flask(__name__, static_folder=None)
    # A dropped connection leaves Flask as the ConnectionError it is; the HTTP server knows what it means.
    app.config["PROPAGATE_EXCEPTIONS"] = True
    app.register_blueprint(admin.blueprint(emulated))

    @app.after_request
    def dated(response: Response) -> Response:
        response.headers.setdefault("Date", _date(emulated.clock.real.now()))
        return response

    @app.get("/")
    def about() -> Response:
        return Response(ABOUT, content_type="text/plain; charset=utf-8")

    @app.post("/")
    def aws() -> Response:
        incoming = _incoming()
        service = _service(incoming)
        try:
            operation = service.operation(incoming)
        except Refusal as refused:
            return _response(service.refuse(refused, incoming), incoming, emulated, None)
        fault = emulated.faults.take(operation, errors=False)
        reply = _play(emulated, service, operation, incoming, fault, stopping)
        return _response(reply, incoming, emulated, fault)

    return app


def _play(
    emulated: EmulatorState,
    service: Service,
    operation: str,
    incoming: Incoming,
    fault: Fault | None,
    stopping: threading.Event,
) -> Reply:
    """Return the reply to one call, through its fault if it has one. Raises Dropped."""
    connection = request.environ["werkzeug.socket"]
    if fault is not None and fault.kind in REPLACING:
        emulated.note_call(operation, service.workload(emulated, incoming), fault.kind)
        return transport.replacement(fault, connection, stopping)
    try:
        reply, outcome = _judged(emulated, service, operation, incoming, fault)
    except NoSuchEndpoint:
        emulated.note_call(operation, service.workload(emulated, incoming), "no_endpoint")
        raise transport.drop(connection) from None
    if fault is not None and fault.kind == "drop_after":
        emulated.note_call(operation, service.workload(emulated, incoming), fault.kind)
        raise transport.drop(connection)
    emulated.note_call(operation, service.workload(emulated, incoming), outcome)
    if fault is not None and fault.kind == "slow" and stopping.wait(fault.seconds):
        raise transport.drop(connection)
    return reply


def _judged(
    emulated: EmulatorState, service: Service, operation: str, incoming: Incoming, fault: Fault | None
) -> tuple[Reply, str]:
    """Return the reply by the rules, and its name in the list of calls."""
    try:
        return service.perform(emulated, operation, incoming, _conditions(emulated, fault)), "ok"
    except Refusal as refused:
        return service.refuse(refused, incoming), refused.code


def _conditions(emulated: EmulatorState, fault: Fault | None) -> Conditions:
    skew = _skew(fault)
    return Conditions(
        behaviour=emulated.behaviour if fault is None else fault.bend(emulated.behaviour),
        now=emulated.clock.now() + skew,
        real_now=emulated.clock.real.now() + skew,
        fault=fault,
    )


def _skew(fault: Fault | None) -> timedelta:
    skewed = fault is not None and fault.kind == "clock_skew"
    return timedelta(seconds=fault.seconds if fault is not None and skewed else 0)


def _incoming() -> Incoming:
    return Incoming(
        headers={name.lower(): value for name, value in request.headers.items()},
        body=request.get_data(),
        request_id=str(uuid.uuid4()),
    )


def _service(incoming: Incoming) -> Service:
    """Return the service that a request is for."""
    target = incoming.headers.get("x-amz-target")
    form = incoming.headers.get("content-type", "").startswith("application/x-www-form-urlencoded")
    if target is None and form:
        return _STS
    return next((each for prefix, each in _BY_TARGET.items() if (target or "").startswith(prefix)), _METERING)


def _response(reply: Reply, incoming: Incoming, emulated: EmulatorState, fault: Fault | None) -> Response:
    """HTTP; the Date header follows the clock that judged the signature, for clients that compare it."""
    headers = {
        "Date": _date(emulated.clock.real.now() + _skew(fault)),
        "x-amzn-RequestId": incoming.request_id,
        **reply.headers,
    }
    return Response(reply.body, status=reply.status, content_type=reply.content_type, headers=headers)


def _date(instant: datetime) -> str:
    return format_datetime(instant.replace(microsecond=0), usegmt=True)
