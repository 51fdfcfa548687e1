"""Serve the admin routes under `/_emulator/`: what the emulator knows, and what it is told to do. JSON.

What each verb means is in `control`.

Invariants:
- `POST /_emulator/<verb>` is a timeline's `do: <verb>`; `DELETE /_emulator/faults` is `clear-faults`.
- A body that cannot be read is 400 `{"error": "<field>: …"}`, and nothing changes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from flask import Blueprint, jsonify, request
from flask.typing import ResponseReturnValue

from sidecar.emulator.control import VERBS, parse_command
from sidecar.emulator.refusals import BadOrder
from sidecar.emulator.state import EmulatorState

PREFIX: Final = "/_emulator"


def blueprint(world: EmulatorState) -> Blueprint:
    """Return the routes for one world."""
    routes = Blueprint("admin", __name__, url_prefix=PREFIX)

    @routes.get("/state")
    def state() -> ResponseReturnValue:
        return jsonify(world.state())

    @routes.get("/public-keys")
    def public_keys() -> ResponseReturnValue:
        return jsonify(world.public_keys())

    @routes.get("/calls")
    def calls() -> ResponseReturnValue:
        return jsonify([call.as_json() for call in world.calls()])

    @routes.get("/bill")
    def bill() -> ResponseReturnValue:
        return jsonify({"lines": [line.as_json() for line in world.bill()]})

    @routes.get("/clock")
    def clock() -> ResponseReturnValue:
        return jsonify(world.clock.as_json())

    @routes.delete("/faults")
    def clear_faults() -> ResponseReturnValue:
        return jsonify(parse_command(world, "clear-faults", {})())

    @routes.post("/<verb>")
    def order(verb: str) -> ResponseReturnValue:
        if verb not in VERBS:
            return jsonify({"error": f"no such order; known: {', '.join(sorted(VERBS))}"}), 404
        return jsonify(parse_command(world, verb, _body())())

    @routes.errorhandler(BadOrder)
    def bad_order(complaint: BadOrder) -> ResponseReturnValue:
        return jsonify({"error": str(complaint)}), 400

    return routes


def _body() -> Mapping[str, object]:
    """Return the request's JSON object; no body at all is an empty one."""
    try:
        body = json.loads(request.get_data() or b"{}")
    except (ValueError, RecursionError):
        raise BadOrder("body: must be JSON") from None
    if not isinstance(body, dict):
        raise BadOrder("body: must be a JSON object")
    return body
