"""Define the flags of the command `emulator`, with its description and examples."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

DEFAULT_PORT: Final = 8486
PLATFORMS: Final = ("eks", "ecs", "agentcore", "none")

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
    _add_listener(parser)
    _add_products(parser)
    _add_tokens(parser)
    _add_rules(parser)
    _add_contracts(parser)
    _add_course(parser)
    _add_output(parser)


def _add_listener(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--host", default="127.0.0.1", help="address to bind (%(default)s)")
    parser.add_argument(
        "--port", type=_port, default=DEFAULT_PORT, help="port to bind; 0 takes a free one (%(default)s)"
    )


def _port(text: str) -> int:
    if not text.isdigit() or int(text) > 65535:
        raise argparse.ArgumentTypeError("must be 0 to 65535")
    return int(text)


def _add_products(parser: argparse.ArgumentParser) -> None:
    """Add what is sold, and who calls from where."""
    add = parser.add_argument
    add("--product-code", action="append", metavar="CODE", help="a product that exists (demo-product)")
    add("--dimension", action="append", metavar="NAME", help="a usage dimension of every product (requests)")
    add("--account", default="123456789012", help="account of callers that were not defined (%(default)s)")
    add("--region", default="us-east-1", help="region of the endpoint and of callers (%(default)s)")
    add("--platform", choices=PLATFORMS, default="eks", help="where callers run (%(default)s)")
    add("--unsubscribed", action="store_true", help="start without any subscription")


def _add_tokens(parser: argparse.ArgumentParser) -> None:
    """Add the keys, and what a token that they sign looks like."""
    add = parser.add_argument
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


def _add_rules(parser: argparse.ArgumentParser) -> None:
    """Add the rules of AWS that are not known, or not always kept."""
    add = parser.add_argument
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


def _add_contracts(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--license", action="append", metavar="JSON|FILE", default=[], help="a license, or a file with some")
    add("--customer", action="append", metavar="JSON|FILE", default=[], help="a SaaS customer, or a file with some")


def _add_course(parser: argparse.ArgumentParser) -> None:
    """Add when things happen, and what."""
    add = parser.add_argument
    add("--clock-start", metavar="ISO", help="the emulated time at the start, such as 2026-01-31T23:59:00Z (real)")
    add("--clock-speed", type=float, default=1.0, metavar="N", help="emulated seconds in a real one (%(default)s)")
    add("--fault", action="append", metavar="FAULT", default=[], help="trouble to play, in order; see below")
    add("--timeline", type=Path, metavar="FILE", help="YAML or JSON list of {after: seconds, do: verb, …}")


def _add_output(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--public-key-file", type=Path, metavar="FILE", help="write the newest public key there, PEM")
    add("--json", action="store_true", help="one JSON object first, then one per event")
