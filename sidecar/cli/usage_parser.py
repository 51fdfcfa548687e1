"""Add the parsers of `report`, and of `usage` with its actions.

What they do: `usage` and `launch_records`, imported when one of them runs.
"""

from __future__ import annotations

import argparse
from typing import Any

from sidecar.cli import reconcile_parser
from sidecar.cli.commands import Commands


def add_parsers(commands: Commands) -> None:
    """Add every command about usage."""
    _add_report(commands)
    usage = commands.add(
        "usage",
        _show,
        "show the usage records: what each hour owes for each dimension, and how far that is",
        "0 shown, 69 no sidecar answers",
        "entitlement-sidecar usage | column -t -s $'\\t'",
    )
    usage.add_argument("--json", action="store_true", help="print the records as JSON instead of a table")
    actions = Commands(usage, "action", required=False)
    _add_retry(actions)
    _add_export(actions)
    _add_test_records(actions)
    reconcile_parser.add_parser(actions)


def _add_report(commands: Commands) -> None:
    report = commands.add(
        "report",
        _report,
        "report usage of the product, kept on disk before this ends",
        "0 kept, 65 refused (stderr says why), 69 no sidecar answers or its ledger cannot keep it",
        "entitlement-sidecar report requests 7 --id import-42",
    )
    report.add_argument("dimension", metavar="DIMENSION", help="the unit the listing prices")
    report.add_argument("quantity", metavar="QUANTITY", help="plain decimal digits: 7, 0.25")
    report.add_argument("--id", metavar="I", help="the same id counts once, for a day at least (default: a new one)")
    report.add_argument(
        "--tag", metavar="K=V", type=_tag, action=_Tags, default={}, help="split the bill by this; may be repeated"
    )
    report.add_argument("--at", metavar="T", help="when it was used: ISO 8601 with an offset or Z (default: now)")
    report.add_argument("--key", metavar="K", help="what a unique dimension counts: a user, a device")


def _add_retry(actions: Commands) -> None:
    retry = actions.add(
        "retry",
        _retry,
        "decide about records that wait for a person: rejected and disputed ones",
        "0 done, 65 refused (stderr says why), 69 no sidecar answers",
        "entitlement-sidecar usage retry --hour 2026-11-20T10:00:00Z --dimension requests",
    )
    retry.add_argument("--hour", metavar="H", help="start of the hour in UTC (default: all that wait)")
    retry.add_argument("--dimension", metavar="D", help="only this one (default: all that wait)")
    retry.add_argument(
        "--workload",
        metavar="W",
        help="those that this workload, which is gone, left on the volume (default: our own)",
    )
    act = retry.add_mutually_exclusive_group()
    act.add_argument(
        "--roll-forward",
        action="store_true",
        help="bill it in the open hour instead; where AWS has billed the first hour after all, this bills twice",
    )
    act.add_argument(
        "--confirm", metavar="RECORD_ID", help="AWS has it: its metering record id; takes --hour and --dimension"
    )
    act.add_argument(
        "--accept-aws",
        metavar="QUANTITY",
        help="AWS billed this much, and that is right: settled so, the difference written off; takes --hour and"
        " --dimension",
    )


def _add_export(actions: Commands) -> None:
    actions.add(
        "export",
        _export,
        "print the audit copy of the ledger as JSON Lines: what was accepted, sealed, sent and answered",
        "0 complete, 69 no sidecar answers or it stopped in between",
        "entitlement-sidecar usage export > usage.jsonl",
    )


def _add_test_records(actions: Commands) -> None:
    command = actions.add(
        "test-records",
        _test_records,
        "send AWS one real record of quantity 1 for each dimension, as it asks of a seller before the launch",
        "0 AWS took all, 1 not, 78 bad settings",
        "entitlement-sidecar usage test-records --yes",
    )
    command.description = (
        f"{command.description} They are billed. Run it in a separate pod or task, with the settings, the service"
        " account or the task role of the product: where a sidecar runs, that sidecar reports the hour."
    )
    command.add_argument("--yes", action="store_true", help="send them without asking")
    command.add_argument("--json", action="store_true", help="print the records as JSON instead of a table")


class _Tags(argparse.Action):
    """Collects tags by key. A key given twice is refused, as in a push: it is unknown which value is meant."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, *_: Any) -> None:
        name, value = values
        tags: dict[str, str] = getattr(namespace, self.dest)
        if name in tags:
            parser.error(f"argument --tag: {name!r} is given twice")
        setattr(namespace, self.dest, {**tags, name: value})


def _tag(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not K=V")
    return name, value


def _report(args: argparse.Namespace) -> int:
    from sidecar.cli import usage

    given = {"id": args.id, "at": args.at, "key": args.key, "tags": args.tag or None}
    event = {"dimension": args.dimension, "quantity": args.quantity}
    return usage.report(event | {name: value for name, value in given.items() if value is not None})


def _show(args: argparse.Namespace) -> int:
    from sidecar.cli import usage

    return usage.show(args.json)


def _retry(args: argparse.Namespace) -> int:
    from sidecar.cli import usage

    act = "confirm" if args.confirm is not None else "roll_forward" if args.roll_forward else "retry"
    act = act if args.accept_aws is None else "accept_aws"
    given = {"hour": args.hour, "dimension": args.dimension, "metering_record_id": args.confirm}
    given |= {"workload": args.workload, "quantity": args.accept_aws}
    return usage.retry({"act": act} | {name: value for name, value in given.items() if value is not None})


def _test_records(args: argparse.Namespace) -> int:
    import os

    from sidecar.cli import launch_records
    from sidecar.settings import Settings

    settings = Settings.load(os.environ, {}, args.manifest_path)
    return launch_records.run(settings, args.yes, args.json)


def _export(_: argparse.Namespace) -> int:
    from sidecar.cli import usage

    return usage.export()
