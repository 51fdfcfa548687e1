"""Hold the service's connections to AWS, one for each region, in the process that stays.

Invariants:
- The SDK runs with a list of environment variables and no file of a home directory (`marketplace.sdk_environment`), but
  may use the instance's role: AWS accepts any role of the seller's account.
- A client is made by one thread at a time; calls run side by side.

Sources: AWS Marketplace API Reference, BatchMeterUsage and ResolveCustomer (credentials of the account that published
the product, any supported region).
"""

from __future__ import annotations

import threading
from collections.abc import Mapping

from sidecar.marketplace.batch_meter_usage import Batched, batch_meter_usage
from sidecar.marketplace.client import Marketplace
from sidecar.marketplace.notice_queue import NoticeQueue
from sidecar.marketplace.resolve_customer import NotResolved, Resolved, resolve_customer
from sidecar.metering.batch_call import BatchRequest


class Aws:
    """Calls AWS for the service. Any thread may call it."""

    def __init__(self, env: Mapping[str, str], endpoint_url: str | None, region: str) -> None:
        """`region` is that of questions; a batch names its own."""
        self._env, self._endpoint_url, self._region = env, endpoint_url, region
        self._guard = threading.Lock()
        self._sending: dict[str, Marketplace] = {}
        self._asking = self._marketplace(region)

    def send(self, region: str, request: BatchRequest) -> Batched:
        """Send one batch. Raises nothing. Only one thread sends."""
        if region not in self._sending:
            self._sending[region] = self._marketplace(region)
        return batch_meter_usage(self._sending[region], request)

    def refresh(self, region: str) -> None:
        """Have the next batch in a region use fresh credentials."""
        if region in self._sending:
            self._sending[region].refresh()

    def resolve(self, token: str) -> Resolved | NotResolved:
        """Ask who holds a registration token. Raises nothing."""
        with self._guard:
            return resolve_customer(self._asking, token)

    def queue(self, url: str) -> NoticeQueue:
        """Return a queue of notices."""
        return NoticeQueue(url, self._marketplace(self._region))

    def _marketplace(self, region: str) -> Marketplace:
        return Marketplace(region=region, endpoint_url=self._endpoint_url, env=self._env)
