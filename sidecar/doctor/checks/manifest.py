"""Check the product manifest: that it can be used, is the one the image was sealed with, and allows no other AWS."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from sidecar.doctor.context import Context
from sidecar.doctor.finding import Finding, failed, passed, skipped, warned
from sidecar.errors import Problem, SettingsError
from sidecar.settings import manifest, seal, yaml_file
from sidecar.settings.manifest import Manifest

RULE: Final = "A product manifest is well-formed, is the one that the image was sealed with, and allows no other AWS."
UNSEALED: Final = "its digest is not recorded in the image"
OVERRIDE: Final = "it allows an endpoint override"
FIXES: Final[Mapping[str, str]] = {
    "it cannot be used, or is not the one that was sealed": "{problem}",
    UNSEALED: "The seller adds to the Dockerfile, after the manifest is copied: RUN entitlement-sidecar manifest seal"
    " {path}",
    OVERRIDE: "The seller removes allow_endpoint_override from {path} in the image that customers get: with it another"
    " server can answer in place of AWS.",
}


def check(context: Context) -> Finding:
    """Return what the manifest seals, or every fault of it. Skipped where the image has none."""
    path = context.manifest_path
    problems = list(filter(None, [seal.problem(path, context.seal_path)]))
    found = _read(path, problems)
    if problems:
        names = ", ".join(dict.fromkeys(problem.setting for problem in problems))
        return failed(RULE, f"{path}: {len(problems)} wrong: {names}", "\n".join(map(str, problems)))
    if found is None:
        return skipped(RULE, f"there is none at {path}: anyone who may change the settings may change the product")
    return _judged(found, context.seal_path.exists())


def _read(path: Path, problems: list[Problem]) -> Manifest | None:
    """Return the manifest; None where there is none, or it cannot be read."""
    try:
        return manifest.read(yaml_file.read(path), path, problems) if path.exists() else None
    except OSError as exc:
        problems.append(Problem(setting=str(path), fault=f"cannot be read: {exc.strerror}."))
    except SettingsError as exc:
        problems.extend(exc.problems)
    return None


def _judged(found: Manifest, sealed: bool) -> Finding:
    seen = _seen(found, sealed)
    faults = ([OVERRIDE] if found.allow_endpoint_override else []) + ([] if sealed else [UNSEALED])
    if not faults:
        return passed(RULE, seen)
    fixes = [FIXES[fault].format(path=found.path) for fault in faults]
    return warned(RULE, f"{seen}; {', and '.join(faults)}", "\n".join(fixes))


def _seen(found: Manifest, sealed: bool) -> str:
    digest = hashlib.sha256(found.path.read_bytes()).hexdigest()[:12]
    products = ", ".join(
        f"product {product.code} with public key {', '.join(str(key.version) for key in product.public_keys) or 'none'}"
        for product in found.products
    )
    opened = ", ".join(manifest.open_settings(found))
    return f"{found.path}, SHA-256 {digest}…{', sealed' if sealed else ''}: {products}; open to outside: {opened}"
