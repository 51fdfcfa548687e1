"""Send sealed requests to AWS, one after the other. The child's job `submit`.

Invariants:
- Each result is emitted before the next request is sent.
- A failure that would hold every record (no route to AWS, no credentials, too many calls) ends the batch: the rest is
  reported as not sent, with the same code. So it is for each service by itself: MeterUsage, and License Manager for
  what is drawn from a license.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from sidecar.billing.messages import Submission, SubmissionResult
from sidecar.marketplace import sdk_environment
from sidecar.marketplace.client import LICENSES, SERVICE, Marketplace
from sidecar.marketplace.meter_usage import Metered, caller, meter_usage
from sidecar.metering.dispositions import classify, holds_all
from sidecar.metering.outcomes import Outcome, Refused, Settled
from sidecar.metering.sealed_request import SealedRequest
from sidecar.metering.states import Disposition
from sidecar.platform import ecs, eks
from sidecar.quick_dataclasses import dataclass, replace

NO_BUNDLE: Final = Refused(code="ca_bundle_unreadable", sent=False)


def run(payload: Mapping[str, Any], emit: Callable[[str], None]) -> None:
    """Send the sealed requests one after the other; emit a line for each result."""
    submission, env = Submission.from_payload(payload), dict(os.environ)
    sdk_environment.take(env, submission.endpoint_url, in_platform=ecs.on_ecs(env) or eks.in_kubernetes(env))
    for result in SubmitJob(submission=submission, env=env).results():
        emit(result.as_json())


@dataclass(kw_only=True)
class SubmitJob:
    """Submits one batch, with credentials from the environment."""

    submission: Submission
    env: Mapping[str, str]

    def results(self) -> Iterator[SubmissionResult]:
        """Yield one result for each request, after it was sent."""
        submission = self.submission
        services = {drawn: self._marketplace(LICENSES if drawn else SERVICE) for drawn in (False, True)}
        bundle = self.env.get("AWS_CA_BUNDLE")
        no_bundle = NO_BUNDLE if bundle and not os.access(bundle, os.R_OK) else None
        held: dict[bool, Refused | None] = {True: no_bundle, False: no_bundle}
        for request in submission.requests:
            drawn = request.drawdown is not None
            marketplace = services[drawn]
            if stopped := held[drawn]:
                yield SubmissionResult(outcome=stopped)
                continue
            metered = _draw_down(marketplace, request) if drawn else meter_usage(marketplace, request)
            held[drawn] = stops_batch(metered.outcome)
            yield self._result(marketplace, metered)

    def _marketplace(self, service: str) -> Marketplace:
        at = self.submission
        return Marketplace(region=at.region, endpoint_url=at.endpoint_url, env=self.env, service=service)

    def _result(self, marketplace: Marketplace, metered: Metered) -> SubmissionResult:
        who = caller(marketplace, self.submission.workload)
        return SubmissionResult(
            outcome=metered.outcome, request_id=metered.request_id, account=who.account, role=who.role
        )


def _draw_down(marketplace: Marketplace, request: SealedRequest) -> Metered:
    from sidecar.marketplace.drawdown import draw_down  # only where something is drawn

    return draw_down(marketplace, request)


def stops_batch(outcome: Outcome) -> Refused | None:
    """Return the outcome of the requests after this one, which are not sent; None where they are sent."""
    if isinstance(outcome, Settled):
        return None
    refused = outcome if isinstance(outcome, Refused) else Refused(code=outcome.code)
    row = classify(refused.code, refused.message)
    kept_from_aws = not refused.sent and row.disposition is Disposition.HOLD
    return replace(refused, sent=False) if kept_from_aws or holds_all(refused.code, refused.message) else None
