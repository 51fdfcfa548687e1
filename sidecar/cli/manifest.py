"""Check a product manifest while the seller builds the image, or print its JSON Schema."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from sidecar.cli.commands import Commands
from sidecar.errors import Problem, SettingsError
from sidecar.settings import describe, manifest, yaml_file


def add_parsers(commands: Commands) -> None:
    """Add the command `manifest` with its actions."""
    checks = commands.add_group("manifest", "work on a product manifest").add(
        "check",
        check,
        "check a product manifest, while the image is built",
        "0 good, 78 not",
        "RUN entitlement-sidecar manifest check /etc/entitlement-sidecar/product.yaml",
    )
    checks.add_argument("file", metavar="FILE", nargs="?", help="the manifest")
    checks.add_argument("--schema", action="store_true", help="print the manifest's JSON Schema instead")


def check(args: argparse.Namespace) -> int:
    """Print what the manifest seals, and warn of what it leaves open. Raises SettingsError."""
    if args.schema:
        sys.stdout.write(json.dumps(describe.manifest_schema(), indent=2, ensure_ascii=False) + "\n")
        return 0
    if not args.file:
        raise SettingsError([Problem(setting="FILE", fault="is missing.", example="product.yaml")])
    problems: list[Problem] = []
    path = Path(args.file)
    found = manifest.read(yaml_file.read(path), path, problems)
    if problems:
        raise SettingsError(problems)
    for product in found.products:
        versions = ", ".join(str(key.version) for key in product.public_keys) or "none"
        sys.stdout.write(f"product {product.code}: public key versions {versions}\n")
        if not product.public_keys:
            sys.stderr.write(f"warning: no key is sealed for {product.code}; the settings may then give any\n")
    sys.stdout.write(f"sealed: {', '.join(sorted(found.sealed)) or 'nothing else'}\n")
    return 0
