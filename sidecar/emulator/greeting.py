"""Write the first output of `emulator`: where it is, and what to export to point a sidecar at it.

Invariants:
- Each line that begins with `export` can be pasted into a shell.
"""

from __future__ import annotations

import argparse
import json
import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sidecar.emulator.server import Emulator


def lines(emulator: Emulator, args: argparse.Namespace) -> str:
    """Return the first output: where the emulator is, and the variables that point a sidecar at it."""
    if args.json:
        keys, codes = emulator.public_keys(), list(emulator.product_codes)
        about = {"url": emulator.url, "product_codes": codes, "dimensions": list(emulator.dimensions)}
        return json.dumps({**about, "public_keys": keys})
    version = emulator.keys.newest()
    said = [
        f"A local AWS Marketplace answers at {emulator.url}; Ctrl-C ends it.",
        f"Subscribed: {_subscriptions(emulator)}.",
        "",
        "To try a sidecar against it:",
        "",
        f"export SIDECAR_ENDPOINT_URL={emulator.url}",
        f"export SIDECAR_PRODUCT_CODE={emulator.product_codes[0]}",
        f"export SIDECAR_PUBLIC_KEY_VERSION={version}",
        _key_export(emulator, args),
        f"export AWS_REGION={args.region}",
        "export AWS_ACCESS_KEY_ID=my-pod        # any name: it becomes the workload",
        "export AWS_SECRET_ACCESS_KEY=unchecked",
        "",
        *_contract_exports(emulator),
        *_agent_exports(emulator, args),
        f"For anything else that uses an AWS SDK: export AWS_ENDPOINT_URL={emulator.url}",
        f"What it knows: curl {emulator.url}/_emulator/state",
        f"What it would bill: curl {emulator.url}/_emulator/bill (dimensions: {', '.join(emulator.dimensions)})",
        "",
    ]
    return "\n".join(said)


def _contract_exports(emulator: Emulator) -> list[str]:
    """Return what a sidecar is told besides where its product is sold by contract; of the newest license."""
    granted = emulator.licenses.granted(emulator.behaviour.account)
    if not granted:
        return []
    license = granted[0][0]
    first = license.entitlements[0]
    wanted = {"name": first.name, **({"unit": first.unit} if first.unit != "Count" else {}), "take": "check"}
    return [
        "By contract, besides:",
        "",
        "export SIDECAR_ENTITLEMENT_CHECK=checkout_license",
        f"export SIDECAR_PRODUCT_SKU={shlex.quote(license.sku)}",
        f"export SIDECAR_LICENSES={shlex.quote(json.dumps([wanted]))}        # take: check, seat or drawdown",
        "",
    ]


def _agent_exports(emulator: Emulator, args: argparse.Namespace) -> list[str]:
    """Return what a sidecar is told besides on AgentCore Runtime."""
    if args.platform != "agentcore":
        return []
    return [
        "On AgentCore Runtime, besides:",
        "",
        "export SIDECAR_PLATFORM=agentcore SIDECAR_ENTITLEMENT_CHECK=meter_usage",
        f"export SIDECAR_DIMENSIONS={shlex.quote(','.join(emulator.dimensions))}",
        "",
    ]


def _key_export(emulator: Emulator, args: argparse.Namespace) -> str:
    if args.public_key_file is not None:
        return f"export SIDECAR_PUBLIC_KEY_FILE={args.public_key_file.absolute()}"
    return f'export SIDECAR_PUBLIC_KEY="{emulator.public_key().strip()}"'


def _subscriptions(emulator: Emulator) -> str:
    pairs = [f"account {account} to {product}" for account, product in sorted(emulator.subscriptions)]
    return ", ".join(pairs) or f"no account ({emulator.behaviour.account} is not subscribed)"
