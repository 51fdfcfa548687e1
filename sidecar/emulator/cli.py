"""Run the command `emulator`: its output, and its end.

Elsewhere: its flags (`flags`); everything AWS does (`server` and what it imports, only when it runs, so that
the help of the whole program stays cheap).

Invariants:
- It ends with 0 on SIGTERM and SIGINT, as process 1 too; 69 when its address cannot be had; 78 when a flag
  or the timeline is wrong.
- With `--json` the first line of stdout is one object with all a script needs to aim at it, and each
  later line is an event. They need no reader: a slow reader delays no answer.
- It says nothing secret but what AWS publishes too: public keys.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import sys
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from sidecar.emulator.server import Emulator

EXIT_UNAVAILABLE: Final = 69
EXIT_SETTINGS: Final = 78
LAST_WORDS_SECONDS: Final = 1.0
LICENSE_EXAMPLE: Final = "{sku: prod-1, entitlements: [{name: seats}]}"
CUSTOMER_EXAMPLE: Final = "{id: acme, account: '444455556666'}"


def run(args: argparse.Namespace) -> int:
    """Answer until SIGTERM or SIGINT; return the exit status."""
    from sidecar.emulator import greeting
    from sidecar.emulator.end_signals import EndSignals
    from sidecar.emulator.refusals import BadCommand

    with _Narrator(as_json=args.json) as narrator, EndSignals() as signals:
        try:
            emulator = _emulator(args, narrator)
        except (BadCommand, ValueError) as complaint:
            return _fail(EXIT_SETTINGS, str(complaint))
        try:
            emulator.bind()
        except OSError as problem:
            return _fail(EXIT_UNAVAILABLE, f"port {args.port} on {args.host} cannot be had: {problem.strerror}")
        try:
            # After the port is ours: the file of an emulator that has it already stays as it is.
            if args.public_key_file is not None:
                args.public_key_file.write_text(emulator.public_key(), encoding="ascii")
        except OSError as problem:
            emulator.stop()
            return _fail(EXIT_SETTINGS, f"--public-key-file {args.public_key_file}: {problem.strerror}")
        narrator.say(greeting.lines(emulator, args))
        emulator.start()
        signals.wait()
        emulator.stop()
    return 0


def _emulator(args: argparse.Namespace, narrator: _Narrator) -> Emulator:
    """Return the emulator that the flags describe. Raises BadCommand."""
    from sidecar.emulator import control_fields, faults, object_flags, timeline
    from sidecar.emulator.behaviour import Behaviour
    from sidecar.emulator.refusals import BadCommand
    from sidecar.emulator.server import Emulator
    from sidecar.emulator.state import DEFAULT_DIMENSION, DEFAULT_PRODUCT_CODE, OPERATIONS

    versions = args.key_version or (1,)
    for version in args.superseded:
        if version not in versions:
            raise BadCommand(f"--superseded {version}: there is no such --key-version")
    behaviour = Behaviour().changed(
        {
            "account": args.account,
            "region": args.region,
            "platform": args.platform,
            "claims": args.claims,
            "iat": not args.no_iat,
            "reask": args.reask,
            "superseded": args.superseded,
            "dry_run_checks_subscription": args.dry_run_checks_subscription,
            "quotas": args.quotas,
        }
    )
    emulator = Emulator(
        product_codes=args.product_code or (DEFAULT_PRODUCT_CODE,),
        dimensions=args.dimension or (DEFAULT_DIMENSION,),
        subscribed=not args.unsubscribed,
        behaviour=behaviour,
        key_versions=versions,
        key_bits=args.key_bits,
        host=args.host,
        port=args.port,
        clock_start=control_fields.instant({"--clock-start": args.clock_start}, "--clock-start"),
        clock_speed=args.clock_speed,
        timeline=() if args.timeline is None else timeline.load(args.timeline),
        on_event=narrator.say_event,
    )
    for given in args.license:
        for each in object_flags.load_objects("--license", given, LICENSE_EXAMPLE):
            emulator.define_license(**each)
    for given in args.customer:
        for each in object_flags.load_objects("--customer", given, CUSTOMER_EXAMPLE):
            emulator.saas.define_customer(**each)
    for order in args.fault:
        emulator.faults.add(faults.from_text(order, OPERATIONS))
    return emulator


def _fail(status: int, complaint: str) -> int:
    sys.stderr.write(f"emulator: {complaint}\n")
    return status


class _Narrator:
    """Prints lines on a separate thread, so that no answer waits for a reader."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._speak, name="narrator", daemon=True)

    def __enter__(self) -> _Narrator:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._lines.put(None)
        self._thread.join(timeout=LAST_WORDS_SECONDS)

    def say(self, line: str) -> None:
        self._lines.put(line)

    def say_event(self, event: Mapping[str, object]) -> None:
        """An event, as JSON or as a sentence."""
        self.say(json.dumps(event) if self._as_json else _sentence(event))

    def _speak(self) -> None:
        try:
            while (line := self._lines.get()) is not None:
                sys.stdout.write(line + "\n")
                sys.stdout.flush()
        except OSError:
            # The reader of stdout is gone; the emulator goes on answering. What is left in
            # the buffer goes nowhere, or the interpreter would end with an error of its own.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _sentence(event: Mapping[str, Any]) -> str:
    if event["event"] == "timeline.played":
        details = f" {json.dumps(event['with'])}" if event["with"] else ""
        return f"{event['at']}  timeline: {event['do']}{details}"
    return f"{event['at']}  {event['operation']} by {event['workload'] or 'an unknown caller'}: {event['answer']}"
