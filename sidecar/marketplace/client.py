"""Call AWS Marketplace metering and License Manager through the SDK, in one region.

Invariants:
- Region, endpoint and timeouts are given, never guessed by the SDK.
- One attempt per call: the retry loop is ours, and a retried RegisterUsage has a fresh nonce.
- Only the models of three services are looked at; the SDK's own walk through all of them costs more than the call.
- botocore, not boto3: the resource layer that boto3 adds is not used, and costs each check 13 ms.
- The service models and endpoint rules are those that botocore ships.
- What cannot leave this host is refused before it is sent (`request_guard`).
- License Manager may have to be asked in another region than the workload's: its clients share the credentials.
- The host that was called is remembered, whatever FIPS, dual-stack or an override made of it.

Sources: AWS SDKs and Tools reference guide; botocore's Config.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from io import BytesIO
from typing import Any, Final
from urllib.parse import urlsplit

import botocore.session
from botocore import UNSIGNED
from botocore.awsrequest import AWSResponse
from botocore.config import Config
from botocore.exceptions import BotoCoreError, IncompleteReadError, NoRegionError
from botocore.loaders import Loader
from botocore.parsers import ResponseParserError

from sidecar.marketplace import license_access
from sidecar.marketplace.credentials import CredentialSource, source
from sidecar.marketplace.request_guard import guard
from sidecar.quick_dataclasses import dataclass, field

SERVICE: Final = "meteringmarketplace"
LICENSES: Final = "license-manager"
SERVICES: Final = (SERVICE, LICENSES, "sts")
EVENTS_OF: Final = frozenset([*SERVICES, "marketplace-metering", "*"])
"""How the SDK's events name these services, or all."""
CONNECT_SECONDS: Final = 5
READ_SECONDS: Final = 10
"""RegisterUsage answers in well under a second; after ten the path is broken."""


class NarrowLoader(Loader):  # type: ignore[misc]
    """botocore's model loader, for three services of the hundreds it ships.

    It does not walk through all of them, and it makes the table of endpoints from the partitions alone:
    the endpoint itself comes from each service's rule set. A test compares every region's endpoints,
    FIPS and dual-stack included, with those of the full loader. It reads what botocore ships and nothing else:
    botocore's own looks into `~/.aws/models` first, where a rule set could name another host.
    """

    def __init__(self) -> None:
        super().__init__(extra_search_paths=[Loader.BUILTIN_DATA_PATH], include_default_search_paths=False)

    def list_available_services(self, type_name: str) -> list[str]:
        return [service for service in SERVICES if self._has(service, type_name)]

    def load_data_with_path(self, name: str) -> Any:
        if name != "endpoints":
            return super().load_data_with_path(name)
        partitions, path = super().load_data_with_path("partitions")
        return {"version": 3, "partitions": [_endpoints(one) for one in partitions["partitions"]]}, path

    def _has(self, service: str, type_name: str) -> bool:
        return any(
            self.file_loader.exists(os.path.join(path, service, version, type_name))
            for path in self.search_paths
            if os.path.isdir(os.path.join(path, service))
            for version in os.listdir(os.path.join(path, service))
        )


def _endpoints(partition: Mapping[str, Any]) -> dict[str, Any]:
    """Return a partition as `endpoints.json` would have it, with no service of its own."""
    outputs = partition["outputs"]
    variants = [
        {"tags": ["fips"], "hostname": "{service}-fips.{region}.{dnsSuffix}", "dnsSuffix": outputs["dnsSuffix"]},
        {
            "tags": ["dualstack"],
            "hostname": "{service}.{region}.{dnsSuffix}",
            "dnsSuffix": outputs["dualStackDnsSuffix"],
        },
        {
            "tags": ["dualstack", "fips"],
            "hostname": "{service}-fips.{region}.{dnsSuffix}",
            "dnsSuffix": outputs["dualStackDnsSuffix"],
        },
    ]
    return {
        "partition": partition["id"],
        "dnsSuffix": outputs["dnsSuffix"],
        "regionRegex": partition["regionRegex"],
        "regions": partition["regions"],
        "defaults": {
            "hostname": "{service}.{region}.{dnsSuffix}",
            "protocols": ["https"],
            "signatureVersions": ["v4"],
            "variants": variants,
        },
        "services": {},
    }


DRY_CALLS: Final[Mapping[str, Callable[[Any], object]]] = {
    SERVICE: lambda client: client.register_usage(ProductCode="x", PublicKeyVersion=1),
    LICENSES: lambda client: client.check_in_license(LicenseConsumptionToken="x"),
    "sts": lambda client: client.assume_role_with_web_identity(
        RoleArn="arn:aws:iam::000000000000:role/x", RoleSessionName="xx", WebIdentityToken="xxxx"
    ),
}
"""Return a request of each service, for the host it would go to."""


class NarrowSession(botocore.session.Session):  # type: ignore[misc]
    """botocore's session without most of the handlers it has for other services: to register a hundred takes 4 ms."""

    def register(self, event_name: str, handler: Any, *given: Any, **named: Any) -> None:
        if _is_ours(event_name):
            super().register(event_name, handler, *given, **named)


def _is_ours(event_name: str) -> bool:
    """Return whether an event can happen here: `what`, or `what.SERVICE` and more; `docs` is for documentation."""
    what, _, rest = event_name.partition(".")
    return what != "docs" and (not rest or rest.partition(".")[0] in EVENTS_OF)


def _session(config: Any) -> Any:
    session = NarrowSession()
    session.register_component("data_loader", NarrowLoader())
    session.set_default_client_config(config)
    return session


def _whole(response_dict: Mapping[str, Any], **_: Any) -> None:
    """Refuse a truncated answer: the SDK takes half a body for a body without the fields."""
    announced = response_dict["headers"].get("content-length", "")
    body = response_dict.get("body")
    if announced.isdigit() and isinstance(body, bytes) and len(body) < int(announced):
        raise IncompleteReadError(actual_bytes=len(body), expected_bytes=int(announced))


@dataclass(kw_only=True)
class Marketplace:
    """AWS Marketplace metering or License Manager, as this workload may call it."""

    region: str
    endpoint_url: str | None
    env: Mapping[str, str]
    service: str = SERVICE
    """The service that is asked, for hints: SERVICE or LICENSES."""
    hosts: dict[str, str] = field(default_factory=dict)
    """Service → host that was called."""
    _clients: dict[tuple[str, str], Any] = field(default_factory=dict)
    _session: Any = None

    def metering(self) -> Any:
        """Return the client of metering. Raises what the SDK raises."""
        return self._client(SERVICE, self.region)

    def licenses(self, region: str = "") -> Any:
        """Return the client of License Manager in a region, by default the workload's. Raises what the SDK raises."""
        return self._client(LICENSES, region or self.region)

    def _client(self, service: str, region: str) -> Any:
        if not region:
            raise NoRegionError()  # with an endpoint given, the SDK would sign for no region
        if (service, region) not in self._clients:
            client = self.session().create_client(service, region_name=region, endpoint_url=self.endpoint_url)
            self._clients[service, region] = client
        return self._clients[service, region]

    def session(self) -> Any:
        """Return the SDK's session, which has the credentials. Raises what the SDK raises."""
        if self._session is None:
            config = Config(
                connect_timeout=CONNECT_SECONDS,
                read_timeout=READ_SECONDS,
                retries={"total_max_attempts": 1, "mode": "standard"},
                user_agent_extra="entitlement-sidecar",
            )
            session = _session(config)
            session.register("before-send", self._remember_host)
            session.register("before-send", guard)
            session.register("before-parse", _whole)
            if self.service == LICENSES:
                license_access.add_to(session, self.env, self.region, self.endpoint_url)
            self._session = session
        return self._session

    def ready(self) -> Any:
        """Return the client of metering, its credentials fetched where there are any. Raises what the SDK raises."""
        self.fetch_credentials()
        return self.metering()

    def fetch_credentials(self) -> None:
        """Fetch the credentials where there are any. Raises what the SDK raises.

        A client of the workload's region is made first: the SDK asks STS in the region of its first client.
        """
        self._client(self.service, self.region)
        credentials = self.session().get_credentials()
        if credentials:
            credentials.get_frozen_credentials()

    def refresh(self) -> None:
        """Drop clients and credentials, so that the next call reads them again."""
        self._clients, self._session = {}, None

    def credential_source(self) -> CredentialSource:
        """Return where the credentials come from. Resolves them where that is possible; never raises."""
        try:
            found = self._session.get_credentials() if self._session else None
        except Exception:  # whatever it is, the call met it too, and was classified
            found = None
        return source(found.method if found else None, self.env, metering=self.service == SERVICE)

    def host(self) -> str:
        """Return the host of the service that is asked: the one called, or the one that would be."""
        return self.hosts.get(self.service) or self._would_call(self.service)

    def sts_host(self) -> str:
        """Return the STS host: the one called, or the one that would be."""
        return self.hosts.get("sts") or self._would_call("sts")

    def last_host(self) -> str:
        """Return the host of the last request sent, whether it answered or not."""
        return next(reversed(self.hosts.values()), "") or self.host()

    def _would_call(self, service: str) -> str:
        """Return the host the SDK resolves."""
        return urlsplit(self.endpoint(service)).netloc or f"the {service} endpoint of {self.region}"

    def endpoint(self, service: str) -> str:
        """Return the URL the SDK resolves, found by an unsigned request that is kept from leaving; empty: none."""
        found: list[str] = []

        def stop(request: Any, **_: Any) -> Any:
            found.append(str(request.url))
            return AWSResponse(request.url, 200, {}, BytesIO(b"{}"))

        try:
            session = _session(Config(signature_version=UNSIGNED))
            session.register("before-send", stop)
            client = session.create_client(service, region_name=self.region, endpoint_url=self.endpoint_url)
            DRY_CALLS[service](client)
        except (BotoCoreError, ResponseParserError, OSError, ValueError, AttributeError):
            pass  # the request was seen, or the region is beyond what the SDK knows
        return found[0] if found else ""

    def partition(self) -> str:
        """Return `aws`, `aws-us-gov`, `aws-cn` …"""
        try:
            return str(self._session.get_partition_for_region(self.region))
        except (AttributeError, BotoCoreError):  # no session, or an unknown region: only hints want it
            return "aws-cn" if self.region.startswith("cn-") else "aws"

    def knows_region(self) -> bool:
        """Return whether the SDK's rules know the region, or a pattern that it fits."""
        try:
            self.session().get_partition_for_region(self.region)
        except BotoCoreError:
            return False
        return True

    def _remember_host(self, request: Any, event_name: str = "", **_: Any) -> None:
        service = next((one for one in (LICENSES, "sts") if f".{one}." in f"{event_name}."), SERVICE)
        self.hosts.pop(service, None)  # the last one called stands last
        self.hosts[service] = urlsplit(request.url).netloc
