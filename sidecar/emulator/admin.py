"""Serve the admin routes under `/_emulator/`: what the emulator knows, and what it is told to do. JSON.

What each verb means is in `control`.

Invariants:
- `POST /_emulator/<verb>` is a timeline's `do: <verb>`; `DELETE /_emulator/faults` is `clear-faults`.
- A body that cannot be read is 400 `{"error": "<field>: …"}`, and nothing changes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from flask import Blueprint, Response, jsonify, request
from flask.typing import ResponseReturnValue

from sidecar.emulator import reports
from sidecar.emulator.control import VERBS, parse_command
from sidecar.emulator.refusals import BadCommand
from sidecar.emulator.state import EmulatorState

PREFIX: Final = "/_emulator"
DOCUMENTS: Final[Mapping[str, Callable[[EmulatorState], object]]] = {
    "state": lambda emulated: emulated.state(),
    "public-keys": lambda emulated: emulated.public_keys(),
    "calls": lambda emulated: [call.as_json() for call in emulated.calls()],
    "bill": lambda emulated: {"lines": [line.as_json() for line in emulated.bill()]},
    "cloudtrail": lambda emulated: reports.cloudtrail(emulated.usage_records(), emulated.behaviour.region),
    "licenses": lambda emulated: emulated.license_report(),
    "customers": lambda emulated: {
        "customers": [each.as_json() for each in emulated.saas.customers()],
        "queues": emulated.queues.counts(),
    },
    "saas-bill": lambda emulated: {"lines": [line.as_json() for line in emulated.saas.bill()]},
    "clock": lambda emulated: emulated.clock.as_json(),
}
"""Route of GET → what the emulator knows, as JSON."""


def blueprint(emulated: EmulatorState) -> Blueprint:
    """Return the routes for one emulated AWS."""
    routes = Blueprint("admin", __name__, url_prefix=PREFIX)

    for name, document in DOCUMENTS.items():
        routes.add_url_rule(f"/{name}", name, partial(_shown, document, emulated), methods=["GET"])

    @routes.get("/daily-usage")
    def daily_usage() -> ResponseReturnValue:
        text = reports.daily_usage(emulated.usage_records(), emulated.behaviour.region)
        return Response(text, content_type="text/csv; charset=utf-8")

    @routes.delete("/faults")
    def clear_faults() -> ResponseReturnValue:
        return jsonify(parse_command(emulated, "clear-faults", {})())

    @routes.post("/<verb>")
    def order(verb: str) -> ResponseReturnValue:
        if verb not in VERBS:
            return jsonify({"error": f"no such order; known: {', '.join(sorted(VERBS))}"}), 404
        return jsonify(parse_command(emulated, verb, _body())())

    @routes.errorhandler(BadCommand)
    def bad_command(complaint: BadCommand) -> ResponseReturnValue:
        return jsonify({"error": str(complaint)}), 400

    return routes


def _shown(document: Callable[[EmulatorState], object], emulated: EmulatorState) -> ResponseReturnValue:
    return jsonify(document(emulated))


def _body() -> Mapping[str, object]:
    """Return the request's JSON object; no body at all is an empty one."""
    try:
        body = json.loads(request.get_data() or b"{}")
    except (ValueError, RecursionError):
        raise BadCommand("body: must be JSON") from None
    if not isinstance(body, dict):
        raise BadCommand("body: must be a JSON object")
    return body
