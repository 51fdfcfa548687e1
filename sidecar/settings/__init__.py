"""Read the settings once, from every source, and report every fault at once.

`Settings.load` is the entry point. Sources and their order: `sources`; the table: `table`; parsing: `parsers`; what the
image seals: `manifest`; output: `describe`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from sidecar.errors import SettingsError
from sidecar.quick_dataclasses import dataclass, field
from sidecar.settings import seal, sources, yaml_file
from sidecar.settings.addresses import Address, UnixSocket
from sidecar.settings.choices import (
    EntitlementCheck,
    LogLevel,
    OnDenied,
    OnDispute,
    OnFirstMeterDenied,
    OnLedgerUnusable,
    OnMeteringOverdue,
    OnSeatLost,
    Platform,
    QuantityField,
)
from sidecar.settings.dimensions import Dimension
from sidecar.settings.files import Files
from sidecar.settings.licenses import License, Take
from sidecar.settings.socket_access import FileMode
from sidecar.settings.sources import ReadDocument
from sidecar.settings.table import MANIFEST_PATH, SETTINGS, PublicKey, Setting

if TYPE_CHECKING:
    from sidecar.settings.pull_sources import PullSource

__all__ = [
    "ENDPOINTS",
    "MANIFEST_PATH",
    "SETTINGS",
    "Address",
    "Dimension",
    "EntitlementCheck",
    "License",
    "LogLevel",
    "OnDenied",
    "OnDispute",
    "OnFirstMeterDenied",
    "OnLedgerUnusable",
    "OnMeteringOverdue",
    "OnSeatLost",
    "Platform",
    "PublicKey",
    "QuantityField",
    "Setting",
    "Settings",
    "Take",
    "UnixSocket",
]


ENDPOINTS: Final = "AWS_ENDPOINT_URL"
IGNORED: Final = (
    ENDPOINTS,
    *("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "BOTO_CONFIG"),
    *("AWS_CREDENTIAL_FILE", "AWS_DATA_PATH", "REQUESTS_CA_BUNDLE", "BOTOCORE_EXPERIMENTAL__PLUGINS"),
    "AWS_EC2_METADATA_SERVICE_ENDPOINT",  # and its _MODE
)
"""Beginnings of names. The SDK does not see these variables (`marketplace.sdk_environment`), and `run` logs what is set
of them: its user expects something of it."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Every setting, parsed. Meanings, units and defaults: `table.SETTINGS`."""

    product_code: str = ""
    """Empty: sold by contract, and no dimension is metered by MeterUsage."""
    public_keys: tuple[PublicKey, ...]
    """Newest version first; at least one where the check is `register_usage`."""
    entitlement_check: EntitlementCheck
    state_dir: Path
    probe_bind: tuple[Address, ...]
    api_bind: tuple[Address | UnixSocket, ...]
    api_socket_mode: FileMode
    on_denied: OnDenied
    on_first_meter_denied: OnFirstMeterDenied
    on_metering_overdue: OnMeteringOverdue
    metering_overdue_seconds: int
    on_ledger_unusable: OnLedgerUnusable
    on_dispute: OnDispute
    on_seat_lost: OnSeatLost
    quantity_field: QuantityField = QuantityField.AUTO
    startup_retry_seconds: int
    reask_seconds: int
    flush_seconds: int
    log_level: LogLevel
    termination_log: Path
    platform: Platform = Platform.FOUND
    api_socket_group: str | None = None
    """Number or name."""
    address_file: Path | None = None
    api_hosts: tuple[str, ...] = ()
    api_token_file: Path | None = None
    api_token: str | None = field(default=None, repr=False)
    """The content of `api_token_file`."""
    dimensions: tuple[Dimension, ...] = ()
    """Empty: nothing is metered. Those that a license draws down are among them."""
    sources: tuple[PullSource, ...] = ()
    """Empty: usage is pushed alone."""
    product_sku: str = ""
    """Product ID; empty unless the check is `checkout_license`, as is the next."""
    licenses: tuple[License, ...] = ()
    endpoint_url: str | None = None
    clock_url: str | None = None
    workload_id: str | None = None
    grace_seconds: int | None = None
    """The pod's or task's whole time to end in."""
    origins: Mapping[str, str]
    """Setting name → flag, environment, file, manifest or default."""
    api_bind_given: bool = False
    """True where `api_bind` was set; the default may silently lack an address family."""
    manifest: Path | None = None
    ignored: tuple[str, ...] = ()
    """Variables of the AWS SDK that are set and ignored; `run` logs them."""

    @property
    def product(self) -> str:
        """Return what names the product: its code, or its product ID where it has no code here."""
        return self.product_code or self.product_sku

    @classmethod
    def load(
        cls,
        env: Mapping[str, str],
        flags: Mapping[str, str] | None = None,
        manifest_path: Path = MANIFEST_PATH,
        read: ReadDocument = yaml_file.read,
        seal_path: Path = seal.SEAL_PATH,
        files: Files | None = None,
    ) -> Self:
        """Read every source. Raises SettingsError with every fault, not just the first.

        `files`: takes what is in them; where it has that already, no file is read.
        """
        found = sources.collect(env, flags or {}, manifest_path, read, seal_path, files)
        if found.problems:
            raise SettingsError(found.problems)
        given: dict[str, Any] = {name: value for name, value in found.values.items() if name not in sources.KEY_NAMES}
        return cls(
            **given,
            public_keys=found.public_keys,
            origins=found.origins,
            api_bind_given=found.origins.get("api_bind") != "default",
            manifest=found.manifest.path if found.manifest else None,
            ignored=_ignored(env),
        )


def _ignored(env: Mapping[str, str]) -> tuple[str, ...]:
    """Return the AWS SDK's variables that are set and that a client in production must not follow."""
    return tuple(sorted(name for name in env if name.startswith(IGNORED) and env[name]))
