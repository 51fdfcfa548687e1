"""Which usage command is meant? The parsers of `report` and of `usage` with what stands below it.

Leaves to others what they do (`usage_commands`), which is imported when one of them runs.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

Add = Callable[..., argparse.ArgumentParser]
"""Makes a command: name, run, what it does, how it ends, an example and, below another, that one's parsers."""


def add_parsers(add: Add) -> None:
    """Every command about usage, with its help."""
    _add_report(add)
    usage = add(
        "usage",
        _show,
        "show the usage records: what each hour owes for each dimension, and how far that is",
        "0 shown, 69 no sidecar answers",
        "entitlement-sidecar usage | column -t -s $'\\t'",
    )
    usage.add_argument("--json", action="store_true", help="print the records as JSON instead of a table")
    actions = usage.add_subparsers(dest="action", metavar="ACTION", required=False)
    _add_retry(add, actions)
    _add_export(add, actions)
    _add_test_records(add, actions)


def _add_report(add: Add) -> None:
    report = add(
        "report",
        _report,
        "report usage of the product, kept on disk before this ends",
        "0 kept, 65 refused (stderr says why), 69 no sidecar answers or its ledger cannot keep it",
        "entitlement-sidecar report requests 7 --id import-42",
    )
    report.add_argument("dimension", metavar="DIMENSION", help="the unit the listing prices")
    report.add_argument("quantity", metavar="QUANTITY", help="plain decimal digits: 7, 0.25")
    report.add_argument(
        "--id", metavar="I", help="the same id counts once, for a day at least (default: one of its own)"
    )
    report.add_argument(
        "--tag", metavar="K=V", type=_tag, action=_Tags, default={}, help="split the bill by this; may be repeated"
    )
    report.add_argument("--at", metavar="T", help="when it was used: ISO 8601 with an offset or Z (default: now)")
    report.add_argument("--key", metavar="K", help="what a unique dimension counts: a user, a device")


def _add_retry(add: Add, actions: object) -> None:
    retry = add(
        "retry",
        _retry,
        "decide about records that wait for a person: rejected and disputed ones",
        "0 done, 65 refused (stderr says why), 69 no sidecar answers",
        "entitlement-sidecar usage retry --hour 2026-11-20T10:00:00Z --dimension requests",
        actions,
    )
    retry.add_argument("--hour", metavar="H", help="start of the hour in UTC (default: all that wait)")
    retry.add_argument("--dimension", metavar="D", help="only this one (default: all that wait)")
    act = retry.add_mutually_exclusive_group()
    act.add_argument(
        "--roll-forward",
        action="store_true",
        help="bill it in the open hour instead; where AWS has billed the first hour after all, this bills twice",
    )
    act.add_argument(
        "--confirm", metavar="RECORD_ID", help="AWS has it: its metering record id; takes --hour and --dimension"
    )


def _add_export(add: Add, actions: object) -> None:
    add(
        "export",
        _export,
        "print the audit copy of the ledger as JSON Lines: what was accepted, sealed, sent and answered",
        "0 all of it, 69 no sidecar answers or it stopped in between",
        "entitlement-sidecar usage export > usage.jsonl",
        actions,
    )


def _add_test_records(add: Add, actions: object) -> None:
    command = add(
        "test-records",
        _test_records,
        "send AWS one real record of quantity 1 for each dimension, as it asks of a seller before the launch",
        "0 AWS took all, 1 not, 78 bad settings",
        "entitlement-sidecar usage test-records --yes",
        actions,
    )
    command.description = (
        f"{command.description} They are billed. Run it in a pod or task of its own, with the settings, the service"
        " account or the task role of the product: beside a running sidecar the hour is that one's to report."
    )
    command.add_argument("--yes", action="store_true", help="send them without asking")
    command.add_argument("--json", action="store_true", help="print the records as JSON instead of a table")


class _Tags(argparse.Action):
    """Tags by key. A key given twice is refused, as it is in a push: neither value is the one that was meant."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, *_: Any) -> None:
        name, value = values
        before: dict[str, str] = getattr(namespace, self.dest)
        if name in before:
            parser.error(f"argument --tag: {name!r} is given twice")
        setattr(namespace, self.dest, {**before, name: value})


def _tag(words: str) -> tuple[str, str]:
    name, equals, value = words.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(f"{words!r} is not K=V")
    return name, value


def _report(args: argparse.Namespace) -> int:
    from sidecar.cli import usage as usage_commands

    given = {"id": args.id, "at": args.at, "key": args.key, "tags": args.tag or None}
    event = {"dimension": args.dimension, "quantity": args.quantity}
    return usage_commands.report(event | {name: value for name, value in given.items() if value is not None})


def _show(args: argparse.Namespace) -> int:
    from sidecar.cli import usage as usage_commands

    return usage_commands.show(args.json)


def _retry(args: argparse.Namespace) -> int:
    from sidecar.cli import usage as usage_commands

    act = "confirm" if args.confirm is not None else "roll_forward" if args.roll_forward else "retry"
    given = {"hour": args.hour, "dimension": args.dimension, "metering_record_id": args.confirm}
    return usage_commands.retry({"act": act} | {name: value for name, value in given.items() if value is not None})


def _test_records(args: argparse.Namespace) -> int:
    import os

    from sidecar.cli import launch_records
    from sidecar.settings import Settings

    settings = Settings.load(os.environ, {}, args.manifest_path)
    return launch_records.run(settings, args.yes, args.json)


def _export(_: argparse.Namespace) -> int:
    from sidecar.cli import usage as usage_commands

    return usage_commands.export()
