"""Add the parser of `usage reconcile`. What it does: `reconcile`, imported when it runs."""

from __future__ import annotations

import argparse
import sys
from datetime import date
from pathlib import Path

from sidecar.cli.commands import Commands


def add_parser(actions: Commands) -> None:
    """Add the command."""
    command = actions.add(
        "reconcile",
        _run,
        "compare exports of any number of pods with what AWS billed, and name each difference",
        "0 equal, 1 different, 65 something could not be read (stderr names it), and nothing was compared",
        "entitlement-sidecar usage reconcile pods/*.jsonl.gz --cloudtrail trail/*.json.gz --html result.html",
    )
    command.description = (
        f"{command.description} Reads `usage export`, `usage --json` and the sidecar's log, plain or gzip, once or"
        " several times each; - is stdin."
    )
    command.add_argument("exports", nargs="+", metavar="EXPORT", help="export or log of a pod; one JSON object a line")
    command.add_argument(
        "--cloudtrail", nargs="+", action="extend", default=[], metavar="F", help="CloudTrail log files, or its events"
    )
    command.add_argument(
        "--daily-usage", nargs="+", action="extend", default=[], metavar="F", help="Daily Usage data feed of the seller"
    )
    command.add_argument("--from", dest="first", type=_day, metavar="DAY", help="first UTC day to compare, 2026-11-01")
    command.add_argument("--to", dest="last", type=_day, metavar="DAY", help="last UTC day to compare, 2026-11-30")
    _add_selection(command)
    command.add_argument("--html", type=Path, metavar="F", help="write a page with the result there")
    command.add_argument(
        "--adjustments",
        type=Path,
        metavar="F",
        help="draft what BatchCreateBillingAdjustmentRequest needs; sends nothing",
    )
    command.add_argument("--json", action="store_true", help="print the result as JSON instead of tables")


def _add_selection(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--product-code",
        action="append",
        default=[],
        metavar="C",
        help="compare CloudTrail events of this product code; may be repeated (default: the codes in the exports)",
    )
    command.add_argument(
        "--product-id", default="", metavar="P", help="compare lines of this product id of the feed (default: all)"
    )
    command.add_argument(
        "--feed-account",
        default="",
        metavar="A",
        help="compare lines of this hashed account of the feed (default: all)",
    )
    command.add_argument(
        "--feed-column",
        type=_column,
        action="append",
        default=[],
        metavar="ROLE=NAME",
        help="a column of the feed that has another name: day, region, dimension, quantity, …; may be repeated",
    )


def _day(text: str) -> date:
    try:
        if len(text) == len("2026-11-01"):
            return date.fromisoformat(text)
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"{text!r} is not a day, as 2026-11-01")


def _column(text: str) -> tuple[str, str]:
    from sidecar.audit.feed import COLUMNS

    role, equals, name = text.partition("=")
    if role not in COLUMNS or not equals or not name:
        raise argparse.ArgumentTypeError(f"{text!r} is not ROLE=NAME, with a role among {', '.join(COLUMNS)}")
    return role, name


def _run(args: argparse.Namespace) -> int:
    from sidecar.audit.input_files import Period
    from sidecar.audit.reconcile import Inputs
    from sidecar.cli import reconcile

    if args.first and args.last and args.first > args.last:
        sys.stderr.write(f"usage reconcile: --from {args.first} is after --to {args.last}\n")
        return 2
    inputs = Inputs(
        exports=args.exports,
        cloudtrail=args.cloudtrail,
        daily_usage=args.daily_usage,
        period=Period(first=args.first, last=args.last),
        product_codes=frozenset(args.product_code),
        product_id=args.product_id,
        account=args.feed_account,
        columns=dict(args.feed_column),
    )
    return reconcile.run(inputs, html=args.html, adjust=args.adjustments, as_json=args.json)
