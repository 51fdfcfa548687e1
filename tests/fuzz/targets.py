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
from typing import Any, Final

from sidecar.billing.messages import SubmissionResult
from sidecar.child.process import ChildProcess, read_message
from sidecar.errors import SettingsError
from sidecar.gate.license_messages import SeatResult, TermResult
from sidecar.gate.messages import CheckResult, KeptStatus, parse_message
from sidecar.gate.proof_messages import ProofResult
from sidecar.metering.events import PushRefused, content_digest, id_digest, key_digest, parse_events
from sidecar.metering.quantities import micros_to_decimal, parse_micros, plain
from sidecar.metering.timestamps import micros_since_epoch, read_instant
from sidecar.pod_status.messages import read_result, result_line
from sidecar.settings import Settings, yaml_file
from sidecar.settings.dimensions import Aggregation, Dimension, Scope
from sidecar.settings.sources import ReadDocument
from sidecar.sources.fault import SourceFault
from sidecar.sources.kubernetes import read_answer
from sidecar.strict_json import JsonNumber, parse
from sidecar.taskdef import document
from sidecar.taskdef.render import CannotRender, RenderOptions, as_text, difference, render
from sidecar.taskdef.schema import registrable

from . import http_target, kept_target, token_target

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


def child(data: bytes) -> None:
    """A line of any child: a message, or a failure with a text; what is understood can be said again."""
    line = data.partition(b"\n")[0]
    for read, say in CHILD_LINES:
        message, failure = read_message(_Line(line), read, 0.0)
        if message is None:
            assert failure is not None
            continue
        said = say(message)
        assert say(read(said.encode())) == said


class _Line(ChildProcess):
    """A child that has written one line."""

    def __init__(self, line: bytes) -> None:
        super().__init__(pid=0, pipe=-1, spawned=False)
        self._line = line

    def read_line(self, deadline: float) -> bytes:
        del deadline
        return self._line


def _say_count(found: Decimal | SourceFault) -> str:
    if isinstance(found, SourceFault):
        return json.dumps({"reason": found.reason, "hint": found.hint})
    return json.dumps({"value": f"{found:f}"})


CHILD_LINES: Final[tuple[tuple[Callable[[bytes], Any], Callable[[Any], str]], ...]] = (
    (parse_message, lambda found: found.as_json()),
    (CheckResult.from_json, CheckResult.as_json),
    (KeptStatus.from_json, KeptStatus.as_json),
    (ProofResult.from_json, ProofResult.as_json),
    (SeatResult.from_json, SeatResult.as_json),
    (TermResult.from_json, TermResult.as_json),
    (SubmissionResult.from_json, SubmissionResult.as_json),
    (read_result, result_line),
    (read_answer, _say_count),
)
"""How the parent reads each kind of line, and how a child writes it. The settings files that a child reads are in the
targets `settings` and `manifest`."""


def _values(data: bytes) -> list[object]:
    """Return the bytes as text, and as a JSON value where they are one."""
    text = data.decode("utf-8", "surrogateescape")
    try:
        return [text, parse(text)]
    except ValueError:
        return [text]


def _load(env: Mapping[str, str], read: ReadDocument) -> None:
    def read_by_a_child(path: Path) -> Mapping[str, object]:
        said = json.dumps(dict(read(path)))
        assert json.dumps(json.loads(said)) == said
        return dict(json.loads(said))

    try:
        Settings.load(env, {}, MANIFEST, read_by_a_child, NO_SEAL)
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
    "kept": kept_target.run,
    "child": child,
    "http": http_target.run,
}
