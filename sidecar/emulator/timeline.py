"""Play a script of commands at given times, read from YAML or JSON.

Elsewhere: what each verb means (`control`).

Invariants:
- A step is `{after: seconds, do: verb, …}`; what remains is the verb's admin body. `after` counts from
  the start of the emulator, not from the step before, and in real seconds.
- The whole script is parsed before its first step is played; a complaint names step and field.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import yaml

from sidecar.clock import iso
from sidecar.emulator import control_fields as read
from sidecar.emulator.control import Command, parse_command
from sidecar.emulator.refusals import BadCommand
from sidecar.emulator.state import EmulatorState


@dataclass(frozen=True, kw_only=True)
class Step:
    """One command, due some time after the start."""

    after_seconds: float
    verb: str
    body: Mapping[str, object]
    run: Command


def load(path: Path) -> list[object]:
    """Return the steps in a file, not yet parsed. Raises BadCommand."""
    try:
        steps = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as problem:
        raise BadCommand(f"timeline {path}: cannot be read: {problem.strerror}") from problem
    except (yaml.YAMLError, UnicodeDecodeError) as problem:
        raise BadCommand(f"timeline {path}: is neither YAML nor JSON") from problem
    if not isinstance(steps, list):
        raise BadCommand(f"timeline {path}: must be a list of steps")
    return steps


def read_steps(emulated: EmulatorState, steps: Iterable[object]) -> list[Step]:
    """Return the steps in the order they are due. Raises BadCommand."""
    found = [_step(emulated, number, step) for number, step in enumerate(steps, start=1)]
    return sorted(found, key=lambda step: step.after_seconds)


def play(emulated: EmulatorState, steps: Iterable[Step], stopping: threading.Event) -> None:
    """Play the steps as they fall due, telling what was done, until the end or until `stopping`."""
    began = emulated.clock.monotonic()
    for step in steps:
        while (left := step.after_seconds - (emulated.clock.monotonic() - began)) > 0:
            if stopping.wait(left):
                return
        step.run()
        at = iso(emulated.clock.now())
        emulated.tell({"event": "timeline.played", "at": at, "do": step.verb, "with": step.body})


def _step(emulated: EmulatorState, number: int, step: object) -> Step:
    if not isinstance(step, dict) or not all(isinstance(name, str) for name in step):
        raise BadCommand(f"step {number}: must read {{after: seconds, do: verb}}")
    body = {name: _as_written(value) for name, value in step.items() if name not in ("after", "do")}
    try:
        after, verb = read.number(step, "after"), read.text(step, "do")
        if after is None or after < 0:
            raise BadCommand("after: must be a number of seconds, 0 or more")
        if verb is None:
            raise BadCommand("do: is required")
        return Step(after_seconds=after, verb=verb, body=body, run=parse_command(emulated, verb, body))
    except BadCommand as complaint:
        raise BadCommand(f"step {number}: {complaint}") from None


def _as_written(value: object) -> object:
    """Return instants as text: YAML parses what looks like one, and commands take text."""
    return value.isoformat() if isinstance(value, datetime) else value
