"""Gather what the checks look at: the environment, the settings, the task, the region, and a sidecar that runs here.

Invariants:
- Each thing is read once, when a check first asks for it; what cannot be read is a fault beside it, not an exception.
- No lock is taken and nothing of a sidecar is changed: one may run beside it.
- The SDK is asked in the environment that it has under `run` (`marketplace.sdk_environment`), and asks the same
  hosts.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from sidecar.clock import SystemClock
from sidecar.doctor.network import Network
from sidecar.errors import PlatformError, Problem, SettingsError
from sidecar.marketplace import sdk_environment
from sidecar.marketplace.client import LICENSES, SERVICE, Marketplace
from sidecar.marketplace.license_access import VARIABLES
from sidecar.platform import ecs, eks, identity, imds
from sidecar.pod_status.access import API_MOUNT
from sidecar.printable import one_line
from sidecar.quick_dataclasses import dataclass, field
from sidecar.remote_clock import clock_for
from sidecar.settings import MANIFEST_PATH, Dimension, EntitlementCheck, PublicKey, Settings, Take, sources, yaml_file
from sidecar.settings.seal import SEAL_PATH

STS: Final = "sts"
PORTS: Final[Mapping[str, int]] = {"https": 443, "http": 80}
FIRST: Final[Mapping[EntitlementCheck, tuple[str, ...]]] = {
    EntitlementCheck.REGISTER_USAGE: ("RegisterUsage",),
    EntitlementCheck.CHECKOUT_LICENSE: ("CheckoutLicense",),
}
"""Check → what it asks; MeterUsage's dry run counts as MeterUsage."""
IRSA_VARIABLES: Final = ("AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE")


@dataclass(frozen=True, kw_only=True)
class AwsHost:
    """A host of AWS that this configuration asks."""

    service: str
    """`meteringmarketplace`, `license-manager` or `sts`."""
    url: str
    """Scheme and host, with a port where the URL has one."""

    @property
    def scheme(self) -> str:
        """`https`; `http` only for an endpoint override."""
        return urlsplit(self.url).scheme

    @property
    def host(self) -> str:
        """The name or address, without brackets."""
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        parts = urlsplit(self.url)
        return parts.port or PORTS.get(parts.scheme, 443)


@dataclass(frozen=True, kw_only=True)
class RunningSidecar:
    """A sidecar that answers on the product's listener of these settings."""

    status: Mapping[str, object] | None
    """Its `GET /v1/status`; None where none answers."""
    fault: str = ""
    """Why there is none."""

    def section(self, name: str) -> Mapping[str, object]:
        """Return a part of the status document, such as `entitlement`; empty where there is none."""
        found = (self.status or {}).get(name)
        return found if isinstance(found, dict) else {}


def _no_sidecar() -> Mapping[str, object]:
    raise OSError("not asked")


def _no_gate() -> tuple[int, Mapping[str, object]]:
    raise OSError("not asked")


@dataclass(frozen=True, kw_only=True)
class Context:
    """What the checks look at. Properties are read once, on first use."""

    env: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    """The whole environment of this process, as it was at the start."""
    manifest_path: Path = MANIFEST_PATH
    seal_path: Path = SEAL_PATH
    read_status: Callable[[], Mapping[str, object]] = _no_sidecar
    """Asks a running sidecar for its status. Raises OSError, ValueError or SettingsError where none answers."""
    read_gate: Callable[[], tuple[int, Mapping[str, object]]] = _no_gate
    """Asks the probe listener for `/entitled`: status and body. Raises what `read_status` raises."""
    now: Callable[[], datetime] = field(default_factory=lambda: SystemClock().now)
    """This host's time."""
    read_instance_region: Callable[[Mapping[str, str]], str | None] = imds.read_region
    tokens: tuple[Path, ...] = eks.TOKENS
    """Where the pod's service-account tokens are mounted."""
    api_mount: Path = API_MOUNT
    """Where the token for the cluster's API is mounted, if it is."""

    # -- settings ----------------------------------------------------------------------------------

    @property
    def settings(self) -> Settings | None:
        """The settings; None where any of them is wrong."""
        return self._settings[0]

    @property
    def settings_problems(self) -> tuple[Problem, ...]:
        """Everything that is wrong with the settings."""
        return self._settings[1]

    @cached_property
    def _settings(self) -> tuple[Settings | None, tuple[Problem, ...]]:
        try:
            return Settings.load(self.env, manifest_path=self.manifest_path, seal_path=self.seal_path), ()
        except SettingsError as exc:
            return None, exc.problems

    @property
    def public_keys(self) -> tuple[PublicKey, ...]:
        """The public keys, newest first, as far as they can be read; also where another setting is wrong."""
        return self._collected.public_keys

    @property
    def entitlement_check(self) -> object:
        """The check that is set, also where another setting is wrong; None where this one is."""
        return self._collected.values.get("entitlement_check")

    @cached_property
    def _collected(self) -> sources.Collected:
        return sources.collect(self.env, {}, self.manifest_path, yaml_file.read, self.seal_path)

    @property
    def operations(self) -> tuple[str, ...]:
        """The operations that `run` asks: RegisterUsage or CheckoutLicense, and MeterUsage for dimensions."""
        settings = self.settings
        if settings is None:
            return ()
        found = FIRST.get(settings.entitlement_check, ())
        return (*found, "MeterUsage") if self.metered_dimensions else found

    @property
    def by_contract(self) -> bool:
        """Whether License Manager is asked whether the product may run."""
        return self.settings is not None and self.settings.entitlement_check is EntitlementCheck.CHECKOUT_LICENSE

    @property
    def metered_dimensions(self) -> tuple[Dimension, ...]:
        """The dimensions that MeterUsage takes: all but those that are drawn from a license."""
        settings = self.settings
        if settings is None:
            return ()
        drawn = {one.dimension for one in settings.licenses if one.take is Take.DRAWDOWN}
        return tuple(one for one in settings.dimensions if one.name not in drawn)

    # -- where this is -----------------------------------------------------------------------------

    @property
    def in_platform(self) -> bool:
        """Whether this is a pod or an ECS task."""
        return ecs.on_ecs(self.env) or eks.in_kubernetes(self.env)

    @property
    def task(self) -> ecs.Task | None:
        """The ECS task; None elsewhere, and where the agent does not say."""
        return self._task[0]

    @property
    def task_fault(self) -> PlatformError | None:
        """Why the ECS task cannot be told."""
        return self._task[1]

    @cached_property
    def _task(self) -> tuple[ecs.Task | None, PlatformError | None]:
        if not ecs.on_ecs(self.env):
            return None, None
        try:
            return ecs.read_task(self.env), None
        except PlatformError as exc:
            return None, exc

    @cached_property
    def region(self) -> identity.Region | None:
        """The region in which AWS is asked, and its source."""
        if self.task_fault:
            return None
        return identity.find_region(self.env, self.task, lambda: self.read_instance_region(self.env))

    # -- AWS ---------------------------------------------------------------------------------------

    def sdk_environment(self) -> AbstractContextManager[None]:
        """Return a context in which this process's environment is the one that the SDK has under `run`.

        Every call of the SDK belongs in one.
        """
        endpoint = self.settings.endpoint_url if self.settings else None
        return sdk_environment.applied(self.env, endpoint, self.in_platform)

    @cached_property
    def marketplace(self) -> Marketplace:
        """The client as `run` makes it. Use it inside `sdk_environment()`, where settings and region are known."""
        settings, region = self.settings, self.region
        env = sdk_environment.for_sdk(self.env, settings.endpoint_url if settings else None, self.in_platform)
        return Marketplace(
            region=region.name if region else "",
            endpoint_url=settings.endpoint_url if settings else None,
            env=env | {name: self.env[name] for name in VARIABLES if name in self.env},
            service=LICENSES if self.by_contract else SERVICE,
        )

    @property
    def irsa(self) -> bool:
        """Whether the environment holds what IRSA injects, so that `run` asks STS for credentials."""
        return all(self.env.get(name) for name in IRSA_VARIABLES)

    @property
    def by_license_token(self) -> bool:
        """Whether a license's refresh token may give the credentials, by way of STS."""
        return self.by_contract and any(self.env.get(name) for name in VARIABLES)

    @cached_property
    def aws_hosts(self) -> tuple[AwsHost, ...]:
        """The hosts that `run` asks: metering or License Manager, and STS where IRSA or a license's token is used.

        FIPS, dual-stack and an endpoint override count as they do under `run`. Empty where settings or region are not
        known.
        """
        if self.settings is None or self.region is None:
            return ()
        metering = (SERVICE,) if self.metered_dimensions or not self.by_contract else ()
        services = ((LICENSES,) if self.by_contract else ()) + metering
        if self.irsa or self.by_license_token:
            services = (*services, STS)
        with self.sdk_environment():
            found = {service: self._endpoint(service) for service in services}
        return tuple(AwsHost(service=service, url=url) for service, url in found.items() if url)

    def _endpoint(self, service: str) -> str:
        parts = urlsplit(self.marketplace.endpoint(service))
        return f"{parts.scheme}://{parts.netloc}" if parts.netloc else ""

    @cached_property
    def network(self) -> Network:
        """The lookups and connections of this diagnosis; each is made once."""
        return Network()

    def marketplace_now(self) -> datetime:
        """Return AWS's time as `run` takes it: this host's, or an emulator's where the settings name its clock."""
        settings = self.settings
        return clock_for(settings.clock_url).now() if settings and settings.clock_url else self.now()

    # -- a sidecar that runs here ------------------------------------------------------------------

    @cached_property
    def running(self) -> RunningSidecar:
        """The sidecar that runs beside this command, if one does."""
        try:
            return RunningSidecar(status=self.read_status())
        except (OSError, ValueError, SettingsError) as exc:
            return RunningSidecar(status=None, fault=one_line(str(exc)))
