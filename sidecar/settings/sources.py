"""Collect the settings from every source, and decide which value wins.

The order of the sources: product manifest, flag, environment, file, default. Outside: flag, environment and file.

Invariants:
- Every fault is reported at once, each with the setting, the fault and an example.
- An unknown name is an error, except what Kubernetes injects (`service_variables`).
- An outside value that differs from the manifest's is an error that names both. The same value twice is none.
- A manifest or file that exists and cannot be read is an error, never skipped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Final

from sidecar.digests import sha256
from sidecar.errors import Problem, SettingsError
from sidecar.quick_dataclasses import dataclass, field
from sidecar.settings import manifest, parsers, requirements, seal, service_variables
from sidecar.settings.files import Files
from sidecar.settings.manifest import SEALED_BY_PRODUCT, Manifest, Product
from sidecar.settings.table import BY_NAME, CONFIG_VARIABLE, PREFIX, SETTINGS, PublicKey, Setting

ReadDocument = Callable[[Path], Mapping[str, object]]
KEY_NAMES: Final = ("public_key", "public_key_file", "public_key_version")


@dataclass(frozen=True, kw_only=True)
class RawValue:
    """A value as it was written, and where."""

    value: object
    name: str
    """As written: `SIDECAR_ON_DENIED`, `--on-denied`, `on_denied in /etc/x.yaml`."""
    origin: str
    """`flag`, `environment`, `file`, `manifest` or `default`."""


@dataclass(kw_only=True)
class Collected:
    """The values of all sources, parsed, with their origins and every fault."""

    values: dict[str, object] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    public_keys: tuple[PublicKey, ...] = ()
    manifest: Manifest | None = None
    problems: list[Problem] = field(default_factory=list)
    files: Files = field(default_factory=Files)


def collect(
    env: Mapping[str, str],
    flags: Mapping[str, str],
    manifest_path: Path,
    read: ReadDocument,
    seal_path: Path,
    files: Files | None = None,
) -> Collected:
    """Read every source. Faults are in `problems`."""
    found = Collected(files=Files() if files is None else files)
    read = partial(found.files.read, "document", by=read)
    sealed_fault = found.files.read("seal", manifest_path, lambda path: seal.problem(path, seal_path))
    found.problems += filter(None, [sealed_fault])
    found.manifest = _manifest(manifest_path, read, found)
    given = _read_outside(env, flags, read, found.problems)
    sealed = _sealed(found.manifest)
    for setting in SETTINGS:
        _resolve(setting, given.get(setting.name), sealed.get(setting.name), found)
    _choose_product(found, given)
    _seal_by_product(found, given)
    _choose_keys(found, given)
    _guard_endpoint(found, given)
    _complete(found, given)
    _read_token(found, given)
    return found


def _manifest(path: Path, read: ReadDocument, found: Collected) -> Manifest | None:
    try:
        if not found.files.has(path):
            return None
    except OSError as exc:
        found.problems.append(Problem(setting=str(path), fault=f"cannot be read: {exc.strerror}."))
        return None
    document = _document(path, read, found.problems)
    return manifest.read(document, path, found.problems) if document is not None else None


def _document(path: Path, read: ReadDocument, problems: list[Problem]) -> Mapping[str, object] | None:
    try:
        return read(path)
    except SettingsError as exc:
        problems.extend(exc.problems)
        return None


def _read_outside(
    env: Mapping[str, str], flags: Mapping[str, str], read: ReadDocument, problems: list[Problem]
) -> dict[str, RawValue]:
    """Return name → value of flag, environment or file, the first that has it."""
    given: dict[str, RawValue] = {}
    config = flags.get("config") or env.get(CONFIG_VARIABLE)
    if config:
        for name, value in (_document(Path(config), read, problems) or {}).items():
            if name in BY_NAME:
                given[name] = RawValue(value=value, name=f"{name} in {config}", origin="file")
            else:
                problems.append(_unknown(f"{name} in {config}", name, str))
    for variable, words in env.items():
        if not variable.startswith(PREFIX) or variable == CONFIG_VARIABLE:
            continue
        name = variable.removeprefix(PREFIX).lower()
        if name in BY_NAME and variable == BY_NAME[name].variable:
            given[name] = RawValue(value=words, name=variable, origin="environment")
        elif not service_variables.is_injected(variable, words):
            problems.append(_unknown(variable, name, lambda known: BY_NAME[known].variable))
    for name, words in flags.items():
        if name in BY_NAME:
            given[name] = RawValue(value=words, name=BY_NAME[name].flag, origin="flag")
    return given


def _unknown(written: str, name: str, spell: Callable[[str], str]) -> Problem:
    from difflib import get_close_matches

    from sidecar.settings.saas_table import SAAS_BY_NAME

    if name in SAAS_BY_NAME:
        return Problem(setting=written, fault="is a setting of `entitlement-sidecar saas` alone; remove it here.")
    near = get_close_matches(name, BY_NAME, n=1)
    fault = "is not a setting." + (f" Did you mean {spell(near[0])}?" if near else "")
    return Problem(setting=written, fault=fault, example=spell(near[0]) if near else "")


def _sealed(sealed_by: Manifest | None) -> dict[str, RawValue]:
    if sealed_by is None:
        return {}
    return {
        name: RawValue(value=value, name=f"{name} in {sealed_by.path}", origin="manifest")
        for name, value in sealed_by.sealed.items()
    }


def _resolve(setting: Setting, given: RawValue | None, sealed: RawValue | None, found: Collected) -> None:
    """Parse the winning value; refuse an outside value that contradicts a sealed one."""
    outside = _parsed(setting, given, found.problems) if given else None
    if sealed:
        value = _parsed(setting, sealed, found.problems)
        if given and outside is not None and outside != value:
            found.problems.append(_contradiction(setting, given, sealed, outside, value))
        _store(found, setting.name, value, "manifest")
    elif given:
        _store(found, setting.name, outside, given.origin)
    elif setting.default is not None:
        _store(found, setting.name, setting.parse(setting.default), "default")


def _store(found: Collected, name: str, value: object, origin: str) -> None:
    if value is not None:
        found.values[name] = value
        found.origins[name] = origin


def _parsed(setting: Setting, given: RawValue, problems: list[Problem]) -> object | None:
    try:
        return setting.parse(given.value)
    except ValueError as exc:
        problems.append(Problem(setting=given.name, fault=str(exc), example=setting.example))
        return None


def _contradiction(setting: Setting, given: RawValue, sealed: RawValue, outside: object, inside: object) -> Problem:
    """Return the problem of an outside value that differs from a sealed one; it names both."""
    return Problem(
        setting=given.name,
        fault=f"is {_shown(setting, given.value, outside)}, but the product manifest seals"
        f" {_shown(setting, sealed.value, inside)} ({sealed.name})."
        " It cannot be changed from outside; remove it here.",
    )


def _shown(setting: Setting, written: object, read: object) -> str:
    """Return a value for a message: as written, but a key as the fingerprint of what was parsed."""
    return f"a key with SHA-256 {fingerprint(str(read))}" if setting.secret else repr(written)


def fingerprint(pem: str) -> str:
    """Return the beginning of the SHA-256 of a key's PEM text."""
    return sha256(pem.strip().encode()).hexdigest()[:12] + "…"


def _choose_product(found: Collected, given: Mapping[str, RawValue]) -> None:
    """Set the product code: the one given outside, or the only one of the manifest."""
    code = found.values.get("product_code")
    setting = BY_NAME["product_code"]
    if found.manifest and found.manifest.products:
        codes = [product.code for product in found.manifest.products]
        listed = ", ".join(repr(one) for one in codes)
        if code is None and "product_code" not in given and len(codes) == 1:
            _store(found, "product_code", codes[0], "manifest")
        elif code is None and "product_code" not in given:
            fault = f"is missing, and the manifest {found.manifest.path} has several products: {listed}."
            found.problems.append(Problem(setting=setting.variable, fault=fault, example=codes[0]))
        elif code is not None and code not in codes:
            fault = f"is {code!r}, but the manifest {found.manifest.path} seals {listed}."
            found.problems.append(Problem(setting=_written("product_code", given), fault=fault, example=codes[0]))
    elif code is None and "product_code" not in given and not requirements.is_contract(found.values):
        found.problems.append(Problem(setting=setting.variable, fault="is missing.", example=setting.example))


def _written(name: str, given: Mapping[str, RawValue]) -> str:
    return given[name].name if name in given else BY_NAME[name].variable


def _choose_keys(found: Collected, given: Mapping[str, RawValue]) -> None:
    """Set the public keys, newest first: the product's sealed ones, or the one given outside."""
    product = _product(found)
    outside = _outside_key(found, given)
    if product and product.public_keys:
        _refuse_other_keys(found, given, product.public_keys, outside)
        found.public_keys = product.public_keys
        found.origins["public_keys"] = "manifest"
    elif outside:
        found.public_keys = (outside,)
        found.origins["public_keys"] = found.origins.get("public_key") or found.origins["public_key_file"]
    elif _lacks_key(found) and not any(name in given for name in KEY_NAMES[:2]):
        setting = BY_NAME["public_key"]
        fault = f"is missing, and so is {BY_NAME['public_key_file'].variable}: without the key no answer verifies."
        found.problems.append(Problem(setting=setting.variable, fault=fault, example=setting.example))


def _lacks_key(found: Collected) -> bool:
    return requirements.needs_key(found.values) and not _keys_follow(found)


def _keys_follow(found: Collected) -> bool:
    """Return whether the product code is all that is missing: each of the manifest's products has keys."""
    products = found.manifest.products if found.manifest else ()
    chosen = found.values.get("product_code") in {product.code for product in products}
    return bool(products) and not chosen and all(product.public_keys for product in products)


def _product(found: Collected) -> Product | None:
    return found.manifest.product(str(found.values.get("product_code"))) if found.manifest else None


def _seal_by_product(found: Collected, given: Mapping[str, RawValue]) -> None:
    """Set what the manifest seals for the chosen product; it wins over every other source."""
    product = _product(found)
    if product is None or found.manifest is None:
        return
    for name in SEALED_BY_PRODUCT:
        sealed = getattr(product, name)
        if sealed is None:
            continue
        outside = found.values.get(name)
        if name in given and outside is not None and outside != sealed:
            scalar = getattr(sealed, "value", sealed)
            written = ",".join(map(str, sealed)) or "[]" if isinstance(sealed, tuple) else scalar
            in_manifest = RawValue(value=written, name=f"product {product.code} in {found.manifest.path}", origin="")
            found.problems.append(_contradiction(BY_NAME[name], given[name], in_manifest, outside, sealed))
        _store(found, name, sealed, "manifest")


def _complete(found: Collected, given: Mapping[str, RawValue]) -> None:
    """Report what the check needs, add the dimensions that licenses draw down, and compare sources with dimensions."""
    found.problems += list(requirements.problems(found.values, found.origins, found.problems))
    if requirements.is_contract(found.values):
        found.values["dimensions"] = requirements.with_drawdowns(found.values)
    if found.values.get("sources") and not any("dimensions" in one.setting.lower() for one in found.problems):
        from sidecar.settings import pull_sources  # only where something is pulled

        found.problems += pull_sources.problems(found.values, _written("sources", given))


def _outside_key(found: Collected, given: Mapping[str, RawValue]) -> PublicKey | None:
    pem, file = found.values.get("public_key"), found.values.get("public_key_file")
    if pem and file:
        fault = f"and {_written('public_key_file', given)} are both given; give one."
        found.problems.append(Problem(setting=_written("public_key", given), fault=fault))
        return None
    if isinstance(file, Path):
        pem = _key_from(file, _written("public_key_file", given), found)
    version = found.values.get("public_key_version")
    return PublicKey(version=int(str(version)), pem=str(pem)) if pem and version is not None else None


def _key_from(file: Path, written: str, found: Collected) -> str | None:
    try:
        return parsers.public_key_in(file, partial(found.files.read, "key", by=parsers.key_text))
    except ValueError as exc:
        found.problems.append(Problem(setting=written, fault=str(exc), example=BY_NAME["public_key_file"].example))
        return None


def _read_token(found: Collected, given: Mapping[str, RawValue]) -> None:
    """Set the bearer token of the product's listener, where a file is named."""
    file = found.values.get("api_token_file")
    if not isinstance(file, Path):
        return
    from sidecar.settings import api_token

    try:
        found.values["api_token"] = found.files.read("token", file, api_token.read)
    except ValueError as exc:
        found.problems.append(Problem(setting=_written("api_token_file", given), fault=str(exc)))


def _refuse_other_keys(
    found: Collected, given: Mapping[str, RawValue], sealed: tuple[PublicKey, ...], outside: PublicKey | None
) -> None:
    """Report an outside key, or key version, that is none of the sealed ones."""
    named = [name for name in KEY_NAMES if name in given]
    unreadable = outside is None and any(name in named for name in KEY_NAMES[:2])
    if not named or not found.manifest or unreadable:
        return  # nothing outside, or its fault is reported already
    if outside is None and "public_key_version" in named:
        outside_version = found.values.get("public_key_version")
        fits = outside_version in {key.version for key in sealed}
    else:
        fits = outside is None or outside in sealed
    if not fits:
        setting = BY_NAME[named[0]]
        versions = ", ".join(str(key.version) for key in sealed)
        mine = _shown(setting, given[named[0]].value, outside.pem if outside else "")
        fault = (
            f"is {mine}, but the product manifest {found.manifest.path} seals the keys of version {versions}, with"
            f" SHA-256 {', '.join(fingerprint(key.pem) for key in sealed)}. Remove it here."
        )
        found.problems.append(Problem(setting=given[named[0]].name, fault=fault))


def _guard_endpoint(found: Collected, given: Mapping[str, RawValue]) -> None:
    for name in manifest.ENDPOINT_OVERRIDES:
        url = found.values.get(name)
        if url and found.manifest and not found.manifest.allow_endpoint_override:
            fault = (
                f"is {url!r}, but the product manifest {found.manifest.path} has allow_endpoint_override: false."
                " Remove it here."
            )
            found.problems.append(Problem(setting=_written(name, given), fault=fault))
    if found.values.get("clock_url") and "endpoint_url" not in given:
        fault = f"is given without {BY_NAME['endpoint_url'].variable}: only an emulator of AWS has a clock."
        found.problems.append(Problem(setting=_written("clock_url", given), fault=fault))
