"""How is AWS called? An SDK client for one service in one region.

Rules kept here:
- Region, endpoint and timeouts are given, never guessed by the SDK.
- One attempt per call: the retry loop is ours, and a retried RegisterUsage has a fresh nonce.
- Only the models of the two services are looked at; the SDK's own walk through all of them costs more
  than the call.
- botocore, not boto3: the resource layer boto3 adds is not used, and costs each question 13 ms.
- The host that was really called is remembered, whatever FIPS, dual-stack or an override made of it.

Source: AWS SDKs and Tools reference guide; botocore's Config.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError
from botocore.loaders import Loader

from sidecar.marketplace.credentials import CredentialSource, source

SERVICE: Final = "meteringmarketplace"
SERVICES: Final = (SERVICE, "sts")
CONNECT_SECONDS: Final = 5
READ_SECONDS: Final = 10
"""RegisterUsage answers in well under a second; ten is a broken path."""


class NarrowLoader(Loader):  # type: ignore[misc]
    """botocore's model loader, for two services of the hundreds it ships.

    It does not walk through all of them, and it makes the table of endpoints from the partitions alone:
    the endpoint itself comes from each service's rule set. A test compares every region's endpoints,
    FIPS and dual-stack included, with those of the full loader.
    """

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
    """A partition as `endpoints.json` would have it, with no service of its own."""
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


@dataclass(kw_only=True)
class Marketplace:
    """AWS Marketplace metering in one region, as this workload may call it."""

    region: str
    endpoint_url: str | None
    env: Mapping[str, str]
    hosts: dict[str, str] = field(default_factory=dict)
    """Service → host really called."""
    _client: Any = None
    _session: Any = None

    def metering(self) -> Any:
        """The client. Raises what the SDK raises."""
        if self._client is None:
            config = Config(
                connect_timeout=CONNECT_SECONDS,
                read_timeout=READ_SECONDS,
                retries={"total_max_attempts": 1, "mode": "standard"},
                user_agent_extra="entitlement-sidecar",
            )
            session = botocore.session.get_session()
            session.register_component("data_loader", NarrowLoader(extra_search_paths=[]))
            session.set_default_client_config(config)
            session.register("before-send", self._remember_host)
            self._session = session
            self._client = session.create_client(SERVICE, region_name=self.region, endpoint_url=self.endpoint_url)
        return self._client

    def refresh(self) -> None:
        """Forget client and credentials, so that the next call reads them anew."""
        self._client = self._session = None

    def credential_source(self) -> CredentialSource:
        """Where the credentials come from. Resolves them where that is possible; never raises."""
        try:
            found = self._session.get_credentials() if self._session else None
        except (BotoCoreError, OSError, ValueError):  # the call itself meets the same fault, and is classified
            found = None
        return source(found.method if found else None, self.env)

    def host(self) -> str:
        """The metering host: the one called, or the one that would be."""
        if SERVICE in self.hosts:
            return self.hosts[SERVICE]
        url = self._client.meta.endpoint_url if self._client is not None else ""
        return urlsplit(url).netloc or f"metering.marketplace.{self.region}.amazonaws.com"

    def sts_host(self) -> str:
        return self.hosts.get("sts") or f"sts.{self.region}.{self._suffix()}"

    def partition(self) -> str:
        """`aws`, `aws-us-gov`, `aws-cn` …"""
        try:
            return str(self._session.get_partition_for_region(self.region))
        except (AttributeError, BotoCoreError):  # no session, or a region nobody knows: only hints want it
            return "aws-cn" if self.region.startswith("cn-") else "aws"

    def _suffix(self) -> str:
        return "amazonaws.com.cn" if self.region.startswith("cn-") else "amazonaws.com"

    def _remember_host(self, request: Any, event_name: str = "", **_: Any) -> None:
        service = "sts" if ".sts." in f"{event_name}." else SERVICE
        self.hosts[service] = urlsplit(request.url).netloc
