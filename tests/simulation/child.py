"""Run the jobs of child processes in this process: the real jobs, with AWS behind them simulated.

Invariants:
- Lines go through the real messages, as JSON; a child that dies leaves those that it wrote.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from typing import Any

import botocore.session

from sidecar.billing.job import SubmitJob
from sidecar.billing.messages import Submission
from sidecar.gate.job import CheckJob
from sidecar.gate.messages import CheckRequest
from sidecar.marketplace.client import Marketplace
from sidecar.marketplace.credentials import CredentialSource
from sidecar.quick_dataclasses import dataclass
from tests.simulation.aws import REGION, Aws, ChildDied, key_of
from tests.simulation.clock import HostClock


class Child:
    """A child as its parent sees it: lines that come one after the other."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines = lines
        self.ended = False

    def read_line(self, deadline: float) -> bytes | None:
        """Return the next line; None once there is none."""
        try:
            return next(self._lines).encode()
        except (StopIteration, ChildDied):
            self.ended = True
            return None

    def kill(self) -> None:
        self.ended = True

    def close(self) -> None:
        self.ended = True


@functools.cache
def service_model() -> Any:
    """Return the SDK's model of the service, which says what fields there are."""
    return botocore.session.get_session().get_service_model("meteringmarketplace")


class Meta:
    """What the SDK says of a client."""

    @property
    def service_model(self) -> Any:
        return service_model()


class Client:
    """The SDK's client of metering."""

    meta = Meta()

    def __init__(self, aws: Aws, workload: str) -> None:
        self._aws, self._workload = aws, workload

    def meter_usage(self, **wire: Any) -> dict[str, object]:
        return self._aws.meter(self._workload, wire)

    def register_usage(self, **body: Any) -> dict[str, object]:
        return self._aws.register(self._workload, body)


@dataclass(kw_only=True)
class SimulatedMarketplace(Marketplace):
    """The SDK as far as a call needs it."""

    aws: Aws
    workload: str

    def _client(self, service: str, region: str) -> Any:
        return Client(self.aws, self.workload)

    def fetch_credentials(self) -> None:
        self.aws.credentials()

    def credential_source(self) -> CredentialSource:
        return CredentialSource(name="simulated", role="", caution="")

    def partition(self) -> str:
        return "aws"

    def _would_call(self, service: str) -> str:
        return f"{service}.{self.region}"


class SimulatedSubmit(SubmitJob):
    """The job `submit` before a simulated AWS."""

    aws: Aws

    def _marketplace(self, service: str) -> Marketplace:
        at = self.submission
        return SimulatedMarketplace(
            region=at.region, endpoint_url=None, env={}, service=service, aws=self.aws, workload=at.workload
        )


def submit(aws: Aws, submission: Submission) -> Child:
    """Return a child that sends sealed requests."""
    payload = json.loads(submission.as_json())
    del payload["job"]
    if aws.disk.fault is not None:  # what AWS answers may not be kept
        aws.doubtful |= {key_of(submission.workload, one.as_wire(decimal_fields=True)) for one in submission.requests}

    def lines() -> Iterator[str]:
        job = SimulatedSubmit(submission=Submission.from_payload(payload), env={})
        job.aws = aws
        for result in job.results():
            yield result.as_json()

    return Child(lines())


def check(aws: Aws, clock: HostClock, request: CheckRequest, workload: str) -> Child:
    """Return a child that asks whether the workload may run. `sidecar.gate.job.Marketplace` is the simulated one."""
    payload = json.loads(request.as_json())
    del payload["job"]

    def lines() -> Iterator[str]:
        job = CheckJob(
            request=CheckRequest.from_payload(payload),
            env={"POD_UID": workload, "AWS_REGION": REGION},
            clock=clock,
            new_random=aws.chance.randbytes,
        )
        found: list[str] = []
        job.identified = lambda identity: found.append(identity.as_json())
        try:
            result, keep = job.check()
        except ChildDied:
            yield from found
            return
        yield from found
        yield result.as_json()
        if keep:
            yield keep().as_json()

    return Child(lines())
