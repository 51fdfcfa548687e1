"""Run the command `emulator`: its flags, its output, and its end.

Elsewhere: everything AWS does (`server` and what it imports, only when it runs, so that
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
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from sidecar.emulator.server import Emulator

DEFAULT_PORT: Final = 8486
PLATFORMS: Final = ("eks", "ecs", "agentcore", "none")
EXIT_UNAVAILABLE: Final = 69
EXIT_SETTINGS: Final = 78
LAST_WORDS_SECONDS: Final = 1.0
LICENSE_EXAMPLE: Final = "{sku: prod-1, entitlements: [{name: seats}]}"
CUSTOMER_EXAMPLE: Final = "{id: acme, account: '444455556666'}"

DESCRIPTION: Final = """\
A local AWS Marketplace. It answers RegisterUsage with tokens that it really signs, MeterUsage with a bill
to look at, License Manager with seats that are counted, BatchMeterUsage and ResolveCustomer for SaaS products,
and the STS exchange that an EKS pod needs, so that a sidecar or your own integration can be tried without an
AWS account. It also plays the bad days: denials,
throttling, lost connections, forged tokens; and its clock can be set and sped up.
"""

EPILOG: Final = """\
examples:
  a subscribed customer, product code demo-product
    entitlement-sidecar emulator --public-key-file /tmp/marketplace.pem
  a customer who has not subscribed, and who does after 20 seconds
    echo '[{"after": 20, "do": "subscribe"}]' > /tmp/later.json
    entitlement-sidecar emulator --unsubscribed --timeline /tmp/later.json
  AWS throttles three times, then loses one answer on its way
    entitlement-sidecar emulator --fault 'RegisterUsage:ThrottlingException*3' \\
                                 --fault 'RegisterUsage:drop_after*1'
  an hour goes by in a minute; then look at the bill
    entitlement-sidecar emulator --dimension requests --dimension gigabytes --clock-speed 60
    curl http://127.0.0.1:8486/_emulator/bill
  a contract with two seats and a pool to draw from; then look at what is out
    entitlement-sidecar emulator --license '{"sku": "prod-1", "entitlements":
        [{"name": "seats", "max_count": 2}, {"name": "credits", "max_count": 1000}]}'
    curl http://127.0.0.1:8486/_emulator/licenses
  a customer of a SaaS product, and a registration token; then the customer's bill
    entitlement-sidecar emulator --customer '{"id": "acme", "account": "444455556666"}'
    curl -X POST http://127.0.0.1:8486/_emulator/registration-token -d '{"customer": "acme"}'
    curl http://127.0.0.1:8486/_emulator/saas-bill
  AWS's quotas are kept: what comes faster is throttled
    entitlement-sidecar emulator --quotas
  every token is signed with a key that is not AWS's
    entitlement-sidecar emulator --fault 'RegisterUsage:wrong_key*forever'
  change your mind while it runs
    curl -X POST http://127.0.0.1:8486/_emulator/unsubscribe

a fault is OPERATION:KIND[=VALUE][*TIMES]
  OPERATION  RegisterUsage, MeterUsage, AssumeRoleWithWebIdentity, GetCallerIdentity, CheckoutLicense,
             CheckInLicense, ExtendLicenseConsumption, GetLicense, GetLicenseUsage, ListReceivedLicenses,
             GetAccessToken, BatchMeterUsage, ResolveCustomer, GetEntitlements, ReceiveMessage,
             DeleteMessage or *
  KIND       any AWS error code; drop_before, drop_after, slow, hang, empty_200, html_200, html_503,
             expired_token, clock_skew, missing_record_id; or a forged token: wrong_nonce, wrong_product,
             wrong_version, wrong_key, truncated, missing_signature, no_iat, iat_offset, exp_past, nbf_ahead,
             version_as_text, claims_pascal, claims_both, claims_contradicting, alg_rs256, alg_hs256, alg_none;
             or a checkout that is no grant: checkout_no_token, checkout_no_entitlements, checkout_less,
             checkout_other_name, checkout_no_expiration;
             or of BatchMeterUsage: batch_unprocessed, batch_no_results, batch_no_record_id,
             batch_unknown_status
  VALUE      seconds for slow, clock_skew and iat_offset; for an error code, x-amz-retry-after in ms
  TIMES      a number (1), or forever

exit status: 0 after SIGTERM or SIGINT, 69 when the address is taken, 78 when a flag or the timeline is wrong
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags, the description and the examples to a parser."""
    parser.description, parser.epilog = DESCRIPTION, EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="address to bind (%(default)s)")
    add("--port", type=_port, default=DEFAULT_PORT, help="port to bind; 0 takes a free one (%(default)s)")
    add("--product-code", action="append", metavar="CODE", help="a product that exists (demo-product)")
    add("--dimension", action="append", metavar="NAME", help="a usage dimension of every product (requests)")
    add("--account", default="123456789012", help="account of callers that were not defined (%(default)s)")
    add("--region", default="us-east-1", help="region of the endpoint and of callers (%(default)s)")
    add(
        "--platform", choices=("eks", "ecs", "agentcore", "none"), default="eks", help="where callers run (%(default)s)"
    )
    add("--unsubscribed", action="store_true", help="start without any subscription")
    add("--key-bits", type=int, choices=(1024, 2048, 3072, 4096), default=2048, help="RSA size (%(default)s)")
    add("--key-version", type=int, action="append", metavar="N", help="a public key version that exists (1)")
    add("--superseded", type=int, action="append", metavar="N", default=[], help="a version that is old")
    add(
        "--claims",
        choices=("camel", "pascal", "both", "contradicting"),
        default="camel",
        help="how tokens spell their claims (%(default)s)",
    )
    add("--no-iat", action="store_true", help="tokens carry no iat claim")
    add(
        "--reask",
        choices=("answers", "sticky"),
        default="answers",
        help="asked again after a denial: by today's subscription, or denied for good (%(default)s)",
    )
    add(
        "--dry-run-checks-subscription",
        action="store_true",
        help="a dry run of MeterUsage without a subscription is not entitled (it passes)",
    )
    add(
        "--quotas",
        type=float,
        nargs="?",
        const=1.0,
        default=0.0,
        metavar="TIMES",
        help="keep AWS's quotas for an account and region (RegisterUsage 5, MeterUsage and BatchMeterUsage 10 calls a"
        " second), or so many times them (no quota)",
    )
    add("--license", action="append", metavar="JSON|FILE", default=[], help="a license, or a file with some")
    add("--customer", action="append", metavar="JSON|FILE", default=[], help="a SaaS customer, or a file with some")
    add("--clock-start", metavar="ISO", help="the emulated time at the start, such as 2026-01-31T23:59:00Z (real)")
    add("--clock-speed", type=float, default=1.0, metavar="N", help="emulated seconds in a real one (%(default)s)")
    add("--fault", action="append", metavar="FAULT", default=[], help="trouble to play, in order; see below")
    add("--timeline", type=Path, metavar="FILE", help="YAML or JSON list of {after: seconds, do: verb, …}")
    add("--public-key-file", type=Path, metavar="FILE", help="write the newest public key there, PEM")
    add("--json", action="store_true", help="one JSON object first, then one per event")


def _port(text: str) -> int:
    if not text.isdigit() or int(text) > 65535:
        raise argparse.ArgumentTypeError("must be 0 to 65535")
    return int(text)


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
