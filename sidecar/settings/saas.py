"""Read the settings of `entitlement-sidecar saas`: those of the sidecar that fit, and its own.

Invariants:
- Every fault is reported at once.
- There is no manifest and no gate: dimensions are needed, and what only a sidecar reads is refused.
- The database's URL is in no message, log or repr: it may hold a password.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

from sidecar.errors import Problem, SettingsError
from sidecar.quick_dataclasses import dataclass, field, replace
from sidecar.settings import Settings, sources, yaml_file
from sidecar.settings.choices import EntitlementCheck
from sidecar.settings.files import Files
from sidecar.settings.saas_table import OF_A_SIDECAR, SAAS_BY_NAME, SAAS_SETTINGS
from sidecar.settings.setting import Setting
from sidecar.settings.table import BY_NAME, CONFIG_VARIABLE

NO_FILE: Final = Path("/nonexistent/product.yaml")
NOT_READ: Final = "is read by a sidecar, not by `saas`: there is no gate here, and usage is pushed. Remove it."
DATABASE_FILE: Final = "saas.sqlite3"


@dataclass(frozen=True, kw_only=True)
class SaasSettings:
    """Every setting of the service, parsed."""

    common: Settings
    """Listeners, dimensions, log level, endpoint …"""
    products: tuple[str, ...]
    region: str
    database_url: str = field(repr=False)
    queue_url: str | None


def load(
    env: Mapping[str, str],
    flags: Mapping[str, str],
    read: sources.ReadDocument = yaml_file.read,
    files: Files | None = None,
) -> SaasSettings:
    """Read every source: flag, environment, file, default. Raises SettingsError with every fault.

    `files`: as in `Settings.load`.
    """
    filed: dict[str, object] = {}
    problems: list[Problem] = []
    files = Files() if files is None else files
    read = partial(files.read, "document of the service", by=read)
    values = _own_values(env, flags, filed, problems, read)
    problems.extend(_not_read(env, flags, filed))
    common = _common(env, flags, values, problems, _without_own(read, filed), files)
    if common is None or problems:
        raise SettingsError(problems)
    return SaasSettings(
        common=common,
        products=values.get("saas_products") or (common.product_code,),
        region=values["saas_region"],
        database_url=values.get("database_url") or f"sqlite:///{common.state_dir / DATABASE_FILE}",
        queue_url=values.get("saas_queue_url"),
    )


def _own_values(
    env: Mapping[str, str],
    flags: Mapping[str, str],
    filed: dict[str, object],
    problems: list[Problem],
    read: sources.ReadDocument,
) -> dict[str, Any]:
    """Return name → parsed value of the service's own settings."""
    config = flags.get("config") or env.get(CONFIG_VARIABLE)
    if config:
        try:
            mine = {*SAAS_BY_NAME, *OF_A_SIDECAR}
            filed.update({name: value for name, value in read(Path(config)).items() if name in mine})
        except SettingsError:
            pass  # reported with the rest
    values: dict[str, Any] = {}
    for setting in SAAS_SETTINGS:
        given, written = _given(setting, env, flags, filed)
        if given is None:
            continue
        try:
            values[setting.name] = setting.parse(given)
        except ValueError as exc:
            problems.append(Problem(setting=written, fault=str(exc), example=setting.example))
    return values


def _given(
    setting: Setting, env: Mapping[str, str], flags: Mapping[str, str], filed: Mapping[str, object]
) -> tuple[object, str]:
    """Return the value that wins, and how its writer names the setting."""
    if setting.name in flags:
        return flags[setting.name], setting.flag
    if setting.variable in env:
        return env[setting.variable], setting.variable
    return filed.get(setting.name, setting.default), setting.name if setting.name in filed else setting.variable


def _not_read(env: Mapping[str, str], flags: Mapping[str, str], filed: Mapping[str, object]) -> list[Problem]:
    """Return a fault for each setting that only a sidecar reads, as its writer names it."""
    written: list[str] = []
    for name in OF_A_SIDECAR:
        setting = BY_NAME[name]
        written += [setting.flag] * (name in flags) + [setting.variable] * (setting.variable in env)
        written += [name] * (name in filed)
    return [Problem(setting=one, fault=NOT_READ) for one in written]


def _without_own(read: sources.ReadDocument, filed: Mapping[str, object]) -> sources.ReadDocument:
    """Return a reader of the settings file that leaves out those that are not a sidecar's and the service's alike."""
    return lambda path: {name: value for name, value in read(path).items() if name not in filed}


def _common(
    env: Mapping[str, str],
    flags: Mapping[str, str],
    values: Mapping[str, Any],
    problems: list[Problem],
    read: sources.ReadDocument,
    files: Files,
) -> Settings | None:
    """Return the settings that a sidecar has too. One that meters without a key is the nearest to this service."""
    left_out = {*SAAS_BY_NAME, *OF_A_SIDECAR}
    variables = {setting.variable for setting in SAAS_SETTINGS} | {BY_NAME[name].variable for name in OF_A_SIDECAR}
    seen = {name: value for name, value in env.items() if name not in variables}
    seen[BY_NAME["entitlement_check"].variable] = EntitlementCheck.METER_USAGE.value
    own_flags = {name: value for name, value in flags.items() if name not in left_out}
    if products := values.get("saas_products"):
        own_flags.setdefault("product_code", seen.get(BY_NAME["product_code"].variable) or products[0])
    try:
        return Settings.load(seen, own_flags, NO_FILE, read, NO_FILE, files)
    except SettingsError as exc:
        problems.extend(map(_worded, exc.problems))
        return None


def _worded(problem: Problem) -> Problem:
    """Return a problem in this service's words."""
    if problem.setting == BY_NAME["dimensions"].variable and problem.fault.startswith("is missing"):
        return replace(problem, fault="is missing: it names what customers are billed for.")
    return problem
