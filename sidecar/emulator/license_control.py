"""Parse the commands about licenses: `licenses`, `grants`, `create-token`, `delete-token`.

Invariants:
- As in `control`: a body is read whole before anything changes.
- A license that a command names by its id is made, or amended to its next version.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from sidecar.emulator import control_fields as read
from sidecar.emulator.access_tokens import REFRESH_DAYS
from sidecar.emulator.licenses import Grant, GrantStatus, GrantType, parse_license
from sidecar.emulator.refusals import BadCommand
from sidecar.emulator.state import EmulatorState

Answer = Mapping[str, object]
Command = Callable[[], Answer]
Verb = Callable[[EmulatorState, Mapping[str, object]], Command]


def _licenses(emulated: EmulatorState, body: Mapping[str, object]) -> Command:
    present = emulated.licenses.license(str(body.get("id")))
    parse_license(body, present, emulated.behaviour.account, emulated.clock.now())  # for its errors only
    return lambda: emulated.define_license(**body).as_json()


def _grants(emulated: EmulatorState, body: Mapping[str, object]) -> Command:
    read.only(body, {"license", "account", "status", "type"})
    license_id, account = read.text(body, "license"), read.text(body, "account")
    status, kind = read.choice(body, "status", GrantStatus), read.choice(body, "type", GrantType)
    if license_id is None:
        raise BadCommand("license: is required")
    grant = Grant(status=status or GrantStatus.ACTIVE, type=kind or GrantType.BUYER)
    return lambda: emulated.grant_license(license_id, account, grant).as_json()


def _create_token(emulated: EmulatorState, body: Mapping[str, object]) -> Command:
    read.only(body, {"license", "role", "days"})
    license_id, role = read.text(body, "license"), read.text(body, "role")
    days = read.whole(body, "days", least=1)
    if license_id is None:
        raise BadCommand("license: is required")

    def run() -> Answer:
        made = emulated.create_token(license_id, role, days=days or REFRESH_DAYS)
        return {"token_id": made[0], "token": made[1]}

    return run


def _delete_token(emulated: EmulatorState, body: Mapping[str, object]) -> Command:
    read.only(body, {"token_id"})
    token_id = read.text(body, "token_id")
    if token_id is None:
        raise BadCommand("token_id: is required")
    return lambda: {"deleted": emulated.delete_token(token_id)}


LICENSE_VERBS: Final[Mapping[str, Verb]] = {
    "licenses": _licenses,
    "grants": _grants,
    "create-token": _create_token,
    "delete-token": _delete_token,
}
