"""Define what is searched: each target takes any bytes, and raises where the code does not answer them as documented.

Invariants:
- A target lets through the errors that its code documents, and no other.
- What is accepted is checked against a second way to say it, where there is one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Final

from sidecar.billing.messages import SubmissionResult
from sidecar.entitlement import kept_answer
from sidecar.entitlement.registration import ProductCode, WorkloadId
from sidecar.errors import SettingsError, TokenRejected
from sidecar.gate.messages import CheckResult, KeptStatus, WorkloadIdentity, parse_message
from sidecar.metering.events import PushRefused, content_digest, id_digest, key_digest, parse_events
from sidecar.metering.quantities import micros_to_decimal, parse_micros, plain
from sidecar.metering.timestamps import micros_since_epoch, read_instant
from sidecar.settings import PublicKey, Settings, yaml_file
from sidecar.settings.dimensions import Aggregation, Dimension, Scope
from sidecar.settings.sources import ReadDocument
from sidecar.strict_json import JsonNumber, parse
from sidecar.taskdef import document
from sidecar.taskdef.render import CannotRender, RenderOptions, as_text, difference, render
from sidecar.taskdef.schema import registrable

from . import http_target, token_target

Target = Callable[[bytes], None]

NOW: Final = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
DIMENSIONS: Final = {
    one.name: one
    for one in (
        Dimension(name="requests", tags=("tenant", "team")),
        Dimension(name="users", aggregation=Aggregation.UNIQUE, scope=Scope.POD),
        Dimension(name="seats", aggregation=Aggregation.MAX, scope=Scope.POD),
    )
}
KEY: Final = "-----BEGIN PUBLIC KEY-----\nMFwwDQYJ\n-----END PUBLIC KEY-----\n"
MANIFEST: Final = Path(__file__)
"""A path that is there; what is read in its place is the input."""
NO_SEAL: Final = MANIFEST.with_name("no-seal")
CONFIG: Final = Path("settings.yaml")
PRODUCTS: Final = MappingProxyType({"products": [{"code": "prod1"}]})


def push(data: bytes) -> None:
    """A body of POST /v1/usage: refused with a reason, or events whose digests can be taken."""
    found = parse_events(data, DIMENSIONS, NOW)
    if isinstance(found, PushRefused):
        json.dumps(found.detail).encode()
        return
    for event in found:
        assert event.micros >= 0
        content_digest(event)
        id_digest(event.id or "")
        key_digest(event.key or "")
    assert parse_events(data, DIMENSIONS, NOW) == found


def at(data: bytes) -> None:
    """The text or the number of an event's `at`: an instant that its own ISO form names again."""
    for value in _values(data):
        try:
            instant = read_instant(value)
        except ValueError:
            continue
        assert instant.tzinfo is UTC
        assert read_instant(instant.isoformat()) == instant
        micros_since_epoch(instant)


def quantities(data: bytes) -> None:
    """The text or the number of a quantity: micros that say what was written, exactly."""
    for value in _values(data):
        try:
            micros = parse_micros(value)
        except ValueError:
            continue
        amount = micros_to_decimal(micros)
        assert amount == Decimal(value.text if isinstance(value, JsonNumber) else str(value))
        assert parse_micros(plain(amount)) == micros


def tags(data: bytes) -> None:
    """The tags of one event."""
    push(b'{"dimension":"requests","quantity":1,"tags":' + data + b"}")


def settings_file(data: bytes) -> None:
    """A settings file: settings, or every fault at once."""
    _load({"SIDECAR_CONFIG": str(CONFIG)}, lambda path: yaml_file.parse(data, path) if path == CONFIG else PRODUCTS)


def manifest(data: bytes) -> None:
    """A product manifest: settings, or every fault at once."""
    _load({}, lambda path: yaml_file.parse(data, path))


def task_definition(data: bytes) -> None:
    """A task definition: rendered, twice the same, or every problem at once."""
    options = RenderOptions(gate=["app"], image="registry.example/gate:1", product_code="prod1")
    try:
        given = document.parse(data, "taskdef.json")
        made, _ = render(given, options)
        difference(registrable(given), made, "taskdef.json")
        as_text(made).encode()
        again, _ = render(made, options)
    except (CannotRender, RecursionError):  # the command answers both
        return
    assert again == made


def kept(data: bytes) -> None:
    """A kept answer: refused. None of these bytes holds a signature."""
    workload = WorkloadId("arn:aws:ecs:us-east-1:111122223333:task/c/t")
    try:
        answer = kept_answer.from_text(data.decode("utf-8", "replace"))
        kept_answer.verify_kept(answer, workload, ProductCode("prod1"), [PublicKey(version=1, pem=KEY)])
    except TokenRejected:
        return
    raise AssertionError("an answer that was never signed opens the gate")


def child(data: bytes) -> None:
    """A line of a child: a message, or ValueError; what is understood can be said again."""
    readers = (parse_message, CheckResult.from_json, KeptStatus.from_json, SubmissionResult.from_json)
    for read in readers:
        try:
            message = read(data)
        except ValueError:
            continue
        again = message.as_json()
        if not isinstance(message, WorkloadIdentity | CheckResult | KeptStatus):
            assert SubmissionResult.from_json(again) == message


def _values(data: bytes) -> list[object]:
    """Return the bytes as text, and as a JSON value where they are one."""
    text = data.decode("utf-8", "surrogateescape")
    try:
        return [text, parse(text)]
    except ValueError:
        return [text]


def _load(env: Mapping[str, str], read: ReadDocument) -> None:
    try:
        Settings.load(env, {}, MANIFEST, read, NO_SEAL)
    except SettingsError as refused:
        str(refused)


TARGETS: Final[Mapping[str, Target]] = {
    "token": token_target.run,
    "push": push,
    "at": at,
    "quantities": quantities,
    "tags": tags,
    "settings": settings_file,
    "manifest": manifest,
    "taskdef": task_definition,
    "kept": kept,
    "child": child,
    "http": http_target.run,
}
