"""Check or seal a product manifest while the seller builds the image, or print its JSON Schema."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from sidecar.cli.commands import Commands
from sidecar.errors import Problem, SettingsError
from sidecar.settings import describe, manifest, manifest_risks, seal, yaml_file
from sidecar.settings.manifest import Manifest, Product


def add_parsers(commands: Commands) -> None:
    """Add the command `manifest` with its actions."""
    group = commands.add_group("manifest", "work on a product manifest")
    checks = group.add(
        "check",
        check,
        "check a product manifest, while the image is built",
        "0 good, 78 not",
        "RUN entitlement-sidecar manifest check /etc/entitlement-sidecar/product.yaml",
    )
    checks.add_argument("file", metavar="FILE", nargs="?", help="the manifest")
    checks.add_argument("--schema", action="store_true", help="print the manifest's JSON Schema instead")
    seals = group.add(
        "seal",
        seal_manifest,
        "check a product manifest and record its digest in the image, which then starts with no other",
        "0 sealed, 78 not",
        "RUN entitlement-sidecar manifest seal /etc/entitlement-sidecar/product.yaml",
    )
    seals.add_argument("file", metavar="FILE", help="the manifest, where the image has it")


def check(args: argparse.Namespace) -> int:
    """Print what the manifest seals and leaves open, and warn of risky settings left open. Raises SettingsError."""
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
        _print_product(product, found)
    sys.stdout.write(f"sealed: {', '.join(sorted(found.sealed)) or 'nothing else'}\n")
    sys.stdout.write(f"open: {', '.join(manifest.open_settings(found))}\n")
    for risk in manifest_risks.of_manifest(found):
        _warn(risk.text)
    return 0


def seal_manifest(args: argparse.Namespace, seal_path: Path = seal.SEAL_PATH) -> int:
    """Check the manifest as `check` does, then record its digest. Raises SettingsError. Only tests move `seal_path`."""
    check(argparse.Namespace(file=args.file, schema=False))
    sys.stdout.write(f"sealed {args.file} with SHA-256 {seal.record(Path(args.file), seal_path)}\n")
    return 0


def _print_product(product: Product, found: Manifest) -> None:
    """Print what is sealed of one product, and warn of open settings that change whether it runs or what is billed."""
    versions = ", ".join(str(key.version) for key in product.public_keys) or "none"
    check = manifest_risks.check_of(product, found) or "open"
    sys.stdout.write(f"product {product.code}: public key versions {versions}, entitlement check {check}\n")
    for risk in manifest_risks.of_product(product, found):
        _warn(risk.text)


def _warn(text: str) -> None:
    sys.stderr.write(f"warning: {text}\n")
