"""Check one product manifest, named by its path, as `manifest check` does.

Invariants:
- The rules are those of `settings.manifest` and `settings.manifest_risks`; there are no others here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from sidecar.errors import Problem, SettingsError
from sidecar.listing.finding import Checked, Finding
from sidecar.listing.manifest import rules
from sidecar.settings import manifest, yaml_file
from sidecar.settings.manifest import Manifest
from sidecar.settings.manifest_risks import Risk, RiskKind, of_manifest, of_product

PLACES: Final = {RiskKind.ENDPOINT_OVERRIDE: "allow_endpoint_override", RiskKind.UNSIGNED: "entitlement_check"}
"""The key that a risk of the manifest as a whole is about."""


def check(name: str) -> Checked:
    """Return what is wrong with the manifest in the file `name`, and what it leaves open."""
    path = Path(name)
    try:
        content = yaml_file.content(path)
    except SettingsError as exc:
        return Checked(findings=[_invalid(one, name, {}) for one in exc.problems], complete=False)
    found = list(findings(content, path))
    return Checked(findings=found, complete=all(one.rule is not rules.VALID for one in found))


def findings(content: bytes, path: Path) -> Iterator[Finding]:
    """Yield the findings of a manifest's text. `path` is for messages alone."""
    problems: list[Problem] = []
    lines = yaml_file.key_lines(content)
    try:
        found = manifest.read(yaml_file.parse(content, path), path, problems)
    except SettingsError as exc:
        problems += exc.problems
        found = Manifest(path=path)
    if problems:
        yield from (_invalid(one, str(path), lines) for one in problems)
        return
    yield from (_open(one, PLACES.get(one.kind, ""), path, lines) for one in of_manifest(found))
    for at, product in enumerate(found.products):
        yield from (_open(one, f"products[{at}]", path, lines) for one in of_product(product, found))
    names = manifest.open_settings(found)
    yield Finding(rule=rules.OPEN_SETTINGS, file=str(path), message=f"open: {', '.join(names)}.", seen=", ".join(names))


def _invalid(problem: Problem, name: str, lines: Mapping[str, int]) -> Finding:
    place = problem.setting.removesuffix(f" in {name}")
    place = "" if place == name else place
    line = yaml_file.nearest_line(place, lines)
    return Finding(rule=rules.VALID, file=name, line=line, place=place, message=problem.text)


def _open(risk: Risk, place: str, path: Path, lines: Mapping[str, int]) -> Finding:
    rule = rules.OF_RISK[risk.kind]
    line = yaml_file.nearest_line(place, lines)
    return Finding(rule=rule, file=str(path), line=line, place=place, message=f"{risk.text}.")
