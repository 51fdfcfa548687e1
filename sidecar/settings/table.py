"""Define every setting in one table: name, meaning, default, parser, example.

docs/reference/settings.md, `settings --markdown`, the JSON Schemas and the flags of `run` are made from it.

Invariants:
- A setting has one name: `SIDECAR_` + upper case in the environment, lower case in a file and in the manifest,
  `--with-dashes` as a flag.
- Region is not a setting: AWS wants the region the workload runs in, so it is found (see `platform`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from sidecar.quick_dataclasses import dataclass, field
from sidecar.settings import addresses, dimensions, licenses, parsers, socket_access
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
from sidecar.settings.setting import PREFIX, Kind, Setting

__all__ = ["BY_NAME", "CONFIG_VARIABLE", "MANIFEST_PATH", "PREFIX", "SETTINGS", "Kind", "PublicKey", "Setting"]


def _seconds(name: str, meaning: str, default: int, low: int = 0) -> Setting:
    return Setting(
        name=name,
        meaning=meaning,
        example=str(default),
        default=str(default),
        parse=parsers.seconds(low),
        kind=Kind.INTEGER,
        bounds=(low, parsers.SECONDS_MAX),
    )


def _read_pull_sources(value: object) -> object:
    from sidecar.settings import pull_source_reader  # only where something is pulled

    return pull_source_reader.read_pull_sources(value)


SETTINGS: Final[tuple[Setting, ...]] = (
    Setting(
        name="product_code",
        meaning="AWS Marketplace product code, as shown on the listing; one of the manifest's where there"
        " is a manifest",
        example="8f7k2m1q9w3e5r7t0y2u4i6o8",
        default_text="required, unless the manifest has one product; with `checkout_license` only for dimensions that"
        " no license draws down",
        parse=parsers.product_code,
    ),
    Setting(
        name="public_key",
        meaning="AWS Marketplace public key of the product: PEM, or base64 of PEM",
        example="LS0tLS1CRUdJTiBQVUJMSUMgS0VZLS0tLS0K…",
        default_text="this or `public_key_file` is required for `register_usage`",
        parse=parsers.public_key,
        secret=True,
    ),
    Setting(
        name="public_key_file",
        meaning="file that holds that key",
        example="/etc/entitlement-sidecar/public-key.pem",
        default_text="this or `public_key` is required for `register_usage`",
        parse=parsers.absolute_path,
    ),
    Setting(
        name="public_key_version",
        meaning="version of that key, as AWS Marketplace numbers it",
        example="1",
        default="1",
        parse=parsers.whole(1, 2**31 - 1),
        kind=Kind.INTEGER,
        bounds=(1, 2**31 - 1),
    ),
    Setting(
        name="entitlement_check",
        meaning="how AWS is asked: `register_usage` (products priced by the hour or the month), `meter_usage`"
        " (products priced by custom dimensions: a dry run of each at start), `checkout_license` (products sold by"
        " contract: AWS License Manager)",
        example="register_usage",
        default=EntitlementCheck.REGISTER_USAGE.value,
        parse=parsers.choice(EntitlementCheck),
        choices=EntitlementCheck,
    ),
    Setting(
        name="dimensions",
        meaning="what is metered: comma-separated names, or a list of `{name, aggregation, scale, decimals, tags,"
        " report_zero, scope}` as JSON or YAML",
        example="requests,gb_hours",
        default_text="none: nothing is metered",
        parse=dimensions.read_dimensions,
        kind=Kind.DIMENSIONS,
    ),
    Setting(
        name="sources",
        meaning="where usage is pulled from, besides what the product pushes: a list of `{kind, dimension, …}` as JSON,"
        " or YAML in the file. Kinds: `prometheus` (a counter or gauge of a page), `heartbeat` (a quantity an hour"
        " while entitled), `kubernetes` (nodes, pods or their CPUs)",
        example='[{"kind": "heartbeat", "dimension": "pod_hours"}]',
        default_text="none: nothing is pulled",
        parse=_read_pull_sources,
        kind=Kind.SOURCES,
    ),
    Setting(
        name="product_sku",
        meaning="with `checkout_license`: product ID of the listing (`prod-…` or a UUID), not its product code",
        example="prod-4kq7example2x",
        default_text="required for `checkout_license`",
        parse=licenses.product_sku,
    ),
    Setting(
        name="licenses",
        meaning="with `checkout_license`: what the contract must hold, as a list of `{name, unit, value, take, any_of,"
        " dimension}` in JSON or YAML. `take`: `check` (checked in at once), `seat` (held while the workload lives),"
        " `drawdown` (the use of a dimension is drawn from the license)",
        example='[{"name": "pro", "take": "check"}]',
        default_text="required for `checkout_license`",
        parse=licenses.read_licenses,
        kind=Kind.LICENSES,
    ),
    Setting(
        name="on_seat_lost",
        meaning="when a held seat ran out and could not be taken again: `hold` the gate open, or `shut` it",
        example="shut",
        default=OnSeatLost.HOLD.value,
        parse=parsers.choice(OnSeatLost),
        choices=OnSeatLost,
    ),
    Setting(
        name="state_dir",
        meaning="where the usage ledger and the last verified answer are kept; a local volume that outlives the"
        " container",
        example="/var/lib/entitlement-sidecar",
        default="/var/lib/entitlement-sidecar",
        parse=parsers.absolute_path,
    ),
    Setting(
        name="probe_bind",
        meaning="probe listener: `HOST:PORT`, `[IPV6]:PORT` or `:PORT` (every address), comma-separated; port 0 is any"
        " free one",
        example=":8484",
        default=":8484",
        default_text="`:8484`: every address, IPv6 and IPv4",
        parse=addresses.tcp_addresses,
    ),
    Setting(
        name="api_bind",
        meaning="the product's listener, in the same form, or `unix:/PATH` for a Unix socket",
        example="127.0.0.1:8485",
        default="127.0.0.1:8485,[::1]:8485",
        default_text="`127.0.0.1:8485`, and `[::1]:8485` where there is IPv6",
        parse=addresses.addresses,
    ),
    Setting(
        name="api_socket_mode",
        meaning="permissions of that socket, octal; who may connect needs write permission",
        example="0666",
        default="0660",
        parse=socket_access.file_mode,
    ),
    Setting(
        name="api_socket_group",
        meaning="group of that socket, number or name, among those the sidecar runs with",
        example="2000",
        default_text="none: that of the process, or of a directory with the setgid bit",
        parse=socket_access.group,
    ),
    Setting(
        name="address_file",
        meaning="file that gets the addresses of both listeners, as JSON, in a volume that the product mounts too: for"
        " ports that are 0, any free one",
        example="/run/gate/addresses.json",
        default_text="none; `addresses-….json` in the state directory, for our own commands, where a port is 0",
        parse=parsers.absolute_path,
    ),
    Setting(
        name="api_hosts",
        meaning="names and addresses, comma-separated and without ports, that clients may use for the product's"
        " listener, besides loopback and its own address; a request with another `Host` is refused",
        example="entitlement-sidecar",
        default_text="none",
        parse=addresses.hosts,
    ),
    Setting(
        name="api_token_file",
        meaning="file with a token of at least 16 characters; every route of the product's listener but the probes"
        " then needs `Authorization: Bearer`. Read at the start",
        example="/etc/entitlement-sidecar-token/token",
        default_text="none: no token is needed",
        parse=parsers.absolute_path,
    ),
    Setting(
        name="on_denied",
        meaning="`hold`: stay up with the gate shut and ask again; `exit`: end with 77",
        example="exit",
        default=OnDenied.HOLD.value,
        parse=parsers.choice(OnDenied),
        choices=OnDenied,
    ),
    Setting(
        name="on_first_meter_denied",
        meaning='with `meter_usage`, when AWS answers the first real record with "not entitled": `alert` or `shut` the'
        " gate",
        example="alert",
        default=OnFirstMeterDenied.SHUT.value,
        parse=parsers.choice(OnFirstMeterDenied),
        choices=OnFirstMeterDenied,
    ),
    Setting(
        name="on_metering_overdue",
        meaning="when nothing could be reported for `metering_overdue_seconds`: `alert`, `not_ready` (`/readyz` 503,"
        " on ECS the health check) or `shut` the gate",
        example="not_ready",
        default=OnMeteringOverdue.ALERT.value,
        parse=parsers.choice(OnMeteringOverdue),
        choices=OnMeteringOverdue,
    ),
    _seconds(
        "metering_overdue_seconds",
        "how long usage may wait for AWS before it counts as overdue; at least two hours, as AWS advises",
        7200,
        7200,
    ),
    Setting(
        name="on_ledger_unusable",
        meaning="where dimensions are set and the ledger could not be opened once: `shut` (the gate opens only once"
        " usage can be stored) or `alert`",
        example="alert",
        default=OnLedgerUnusable.SHUT.value,
        parse=parsers.choice(OnLedgerUnusable),
        choices=OnLedgerUnusable,
    ),
    Setting(
        name="on_dispute",
        meaning="when AWS holds another quantity for an hour: `hold` the record for a person, or `roll_forward`: bill"
        " it again in a later hour, right where state was lost; where another reporter billed it, it is billed twice",
        example="hold",
        default=OnDispute.HOLD.value,
        parse=parsers.choice(OnDispute),
        choices=OnDispute,
    ),
    Setting(
        name="quantity_field",
        meaning="field of MeterUsage for quantities: `auto` (the decimal field, and the integer field where AWS refuses"
        " a whole quantity in it), `decimal` or `integer`",
        example="auto",
        default=QuantityField.AUTO.value,
        parse=parsers.choice(QuantityField),
        choices=QuantityField,
    ),
    _seconds(
        "startup_retry_seconds",
        "how long transient failures count as `pending` before `unavailable`; the sidecar keeps asking",
        1800,
    ),
    _seconds("reask_seconds", "pause before asking again after a denial; 0: never", 300),
    _seconds("flush_seconds", "time to stop after SIGTERM, in which the last usage is sent", 10, 1),
    Setting(
        name="grace_seconds",
        meaning="time the pod or task has to end in, as chart and task definition hand it in; after `pre-stop` the last"
        " usage is sent `flush_seconds` before it is over, even where the product still runs",
        example="45",
        default_text="none: the last usage is sent after SIGTERM",
        parse=parsers.seconds(1),
        kind=Kind.INTEGER,
        bounds=(1, parsers.SECONDS_MAX),
    ),
    Setting(
        name="log_level",
        meaning="least severe event that is logged",
        example="debug",
        default=LogLevel.INFO.value,
        parse=parsers.choice(LogLevel),
        choices=LogLevel,
    ),
    Setting(
        name="endpoint_url",
        meaning="AWS endpoint, for tests; refused where a manifest does not have `allow_endpoint_override`",
        example="http://127.0.0.1:8486",
        default_text="none: the region's own endpoint",
        parse=parsers.url,
    ),
    Setting(
        name="clock_url",
        meaning="emulator whose clock is followed, for tests; only beside `endpoint_url`",
        example="http://127.0.0.1:8486",
        default_text="none: this machine's clock",
        parse=parsers.url,
    ),
    Setting(
        name="workload_id",
        meaning="id of the metered workload, where neither `POD_UID` nor an ECS task has one; another value than"
        " theirs is an error",
        example="vm-17",
        default_text="found",
        parse=parsers.workload_id,
    ),
    Setting(
        name="platform",
        meaning="`agentcore` on Amazon Bedrock AgentCore Runtime, which is never guessed: AWS tells records apart by"
        " their client token there, so usage is sent within seconds and not by the hour",
        example="agentcore",
        default=Platform.FOUND.value,
        parse=parsers.choice(Platform),
        choices=Platform,
    ),
    Setting(
        name="termination_log",
        meaning="file that gets the reason when the process ends by itself; written only where it exists"
        " already, as Kubernetes makes it",
        example="/dev/termination-log",
        default="/dev/termination-log",
        parse=parsers.absolute_path,
    ),
)

BY_NAME: Final[Mapping[str, Setting]] = {setting.name: setting for setting in SETTINGS}
"""Name → setting. `config` is none: it names the settings file, and is read before the rest."""

CONFIG_VARIABLE: Final = PREFIX + "CONFIG"
MANIFEST_PATH: Final = Path("/etc/entitlement-sidecar/product.yaml")
"""The product manifest in the seller's image. No setting moves it: what could be moved would not be sealed."""


@dataclass(frozen=True, kw_only=True)
class PublicKey:
    """A public key and the version AWS knows it by."""

    version: int
    pem: str = field(repr=False)
