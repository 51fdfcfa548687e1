"""Check once whether this workload may run, from identifying it to keeping the answer. The child's job `check`.

How AWS is asked is in `register_usage`, `dry_run` and `checkout_license`.

Invariants:
- The workload's identity is emitted before AWS is asked: a slow AWS delays nothing that needs only that.
- Only where AWS could not be reached is a kept answer considered.
- The result is emitted before anything is written: a stuck disk does not delay the gate.
- Of a workload without a name no answer is kept, but the seats that it holds: they open nothing, and the next check
  would be locked out by them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sidecar.clock import Clock, SystemClock
from sidecar.entitlement import classify as answers
from sidecar.entitlement.answer import AnswerClass, AnsweredBy, ErrorRow
from sidecar.entitlement.registration import WorkloadId
from sidecar.errors import PlatformError, SettingsError, TokenRejected
from sidecar.gate.hint_facts import answer_facts, caller_of, hint_facts
from sidecar.gate.messages import CheckRequest, CheckResult, KeptStatus, WorkloadIdentity
from sidecar.gate.method import Allowed, CheckMethod, NotAllowed
from sidecar.ledger import kept_file as answer_file
from sidecar.marketplace import sdk_environment
from sidecar.marketplace.client import LICENSES, Marketplace
from sidecar.marketplace.client import SERVICE as METERING
from sidecar.platform import ecs, eks, identity, imds
from sidecar.quick_dataclasses import dataclass, replace
from sidecar.remote_clock import clock_for
from sidecar.settings import EntitlementCheck

Keep = Callable[[], KeptStatus]


def run(payload: Mapping[str, Any], emit: Callable[[str], None]) -> None:
    """Ask AWS once; emit the workload's identity, the result, and whether it was kept."""
    request, env = CheckRequest.from_payload(payload), dict(os.environ)
    sdk_environment.take(env, request.endpoint_url, in_platform=ecs.on_ecs(env) or eks.in_kubernetes(env))
    job = CheckJob(
        request=request,
        env=env,
        clock=clock_for(request.clock_url),
        host_clock=SystemClock(),
        identified=lambda identity: emit(identity.as_json()),
    )
    result, keep = job.check()
    emit(result.as_json())
    if keep:
        emit(keep().as_json())


@dataclass(kw_only=True)
class CheckJob:
    """One check, from the environment to the result."""

    request: CheckRequest
    env: Mapping[str, str]
    """As the SDK sees it (`marketplace.sdk_environment`)."""
    clock: Clock
    """Tells the marketplace's time."""
    host_clock: Clock | None = None
    """This host's own, where `clock` follows another one."""
    new_random: Callable[[int], bytes] = os.urandom
    identified: Callable[[WorkloadIdentity], None] = lambda identity: None
    """Called with the workload's identity, before AWS is asked."""

    def check(self) -> tuple[CheckResult, Keep | None]:
        """Return the result, and how to keep its answer where there is one to keep."""
        try:
            task = ecs.read_task(self.env) if ecs.on_ecs(self.env) else None
            workload = identity.identify_workload(
                eks.bound_pod(self.env), task, self.request.workload_id, self._nameless
            )
        except PlatformError as exc:
            row = answers.classify("metadata_unreadable", AnsweredBy.SDK)
            return _refused(row, "metadata_unreadable", f"{exc.hint} {row.hint}"), None
        except SettingsError as exc:
            fault = "\n".join(str(problem) for problem in exc.problems)
            return replace(_refused(answers.UNKNOWN, "", fault), reason="bad_settings", settings_fault=fault), None
        region = identity.find_region(self.env, task, lambda: imds.read_region(self.env))
        who = WorkloadIdentity(workload=workload.id, workload_kind=workload.kind, labels=workload.labels)
        if region is None:
            self.identified(who)
            return self._not_asked(workload, "NoRegionError"), None
        who = replace(who, region=region.name, region_source=region.source, region_disagreement=region.disagreement)
        self.identified(who)
        bundle = self.env.get("AWS_CA_BUNDLE")
        if bundle and not os.access(bundle, os.R_OK):
            return self._not_asked(workload, "ca_bundle_unreadable"), None
        return self._ask(workload, region.name)

    def _nameless(self) -> str:
        try:
            return answer_file.spare_workload_id(Path(self.request.state_dir))
        except OSError:
            return self.request.spare_workload_id

    def _method(self, workload: identity.Workload) -> CheckMethod:
        """Return how AWS is asked. Imported here: one needs no token verification, the other no metering."""
        host_clock, name = self.host_clock or self.clock, WorkloadId(workload.id)
        if self.request.entitlement_check == EntitlementCheck.METER_USAGE.value:
            from sidecar.gate.dry_run import DryRunCheck

            return DryRunCheck(request=self.request, workload=name, clock=self.clock, host_clock=host_clock)
        if self.request.entitlement_check == EntitlementCheck.CHECKOUT_LICENSE.value:
            from sidecar.gate.checkout_license import CheckoutLicenseCheck

            return CheckoutLicenseCheck(request=self.request, workload=name, clock=self.clock, host_clock=host_clock)
        from sidecar.gate.register_usage import RegisterUsageCheck

        return RegisterUsageCheck(
            request=self.request,
            workload=name,
            clock=self.clock,
            host_clock=host_clock,
            new_random=self.new_random,
        )

    def _ask(self, workload: identity.Workload, region: str) -> tuple[CheckResult, Keep | None]:
        contract = self.request.entitlement_check == EntitlementCheck.CHECKOUT_LICENSE.value
        marketplace = Marketplace(
            region=region,
            endpoint_url=self.request.endpoint_url,
            env=self.env,
            service=LICENSES if contract else METERING,
        )
        method = self._method(workload)
        found = method.ask(marketplace)
        caller = caller_of(marketplace, found.reply if isinstance(found, NotAllowed) else None)
        if isinstance(found, NotAllowed):
            facts = answer_facts(region, caller, marketplace, found)
            return self._stand_in(workload, method, found, facts, caller), None
        answer = {method.answer_path: found.to_keep} if workload.keeps_answers else {}
        files = {**answer, **found.also_keep}
        if not files:
            found.when_kept()
            return _accepted(found, caller), None
        return _accepted(found, caller), lambda: self._keep(files, found.when_kept)

    def _keep(self, files: Mapping[Path, str], when_kept: Callable[[], None]) -> KeptStatus:
        try:
            for path, text in files.items():
                answer_file.replace(path, text)
        except OSError as exc:
            return KeptStatus(kept=False, fault=f"{self.request.state_dir}: {exc.strerror}")
        finally:
            when_kept()
        return KeptStatus(kept=True)

    def _not_asked(self, workload: identity.Workload, code: str) -> CheckResult:
        """Return the result of a mistake here, found before AWS was asked."""
        row = answers.classify(code, AnsweredBy.SDK)
        return self._stand_in(workload, self._method(workload), NotAllowed(row=row, code=code, hint=row.hint), {}, {})

    def _stand_in(
        self,
        workload: identity.Workload,
        method: CheckMethod,
        found: NotAllowed,
        facts: Mapping[str, str],
        caller: Mapping[str, str],
    ) -> CheckResult:
        """Return a refusal, unless AWS was out of reach and a kept answer stands in for it."""
        row, reply = found.row, found.reply
        here = hint_facts(self.env, self.request.on_denied, self.request.reask_seconds)
        hint = answers.fill_hint(found.hint, {**here, **facts, "code": found.code})
        result = CheckResult(
            answer=row.answer.value,
            reason=row.reason,
            hint=f"{hint} {caller.get('credential_caution', '')}".strip(),
            code=found.code,
            asked=reply.asked.value if reply else row.asked[0].value if row.asked else "",
            request_id=reply.request_id if reply else "",
            retry_after_seconds=reply.retry_after_seconds if reply else None,
            **caller,  # type: ignore[arg-type]
            **found.facts,  # type: ignore[arg-type]
        )
        return _reopened(method, result) if row.unreachable and workload.keeps_answers else result


def _reopened(method: CheckMethod, result: CheckResult) -> CheckResult:
    try:
        text = answer_file.read(method.answer_path)
        if text is None:
            return result
        found = method.reopen(text)
    except OSError:
        return replace(result, kept_refused="kept_unreadable")
    except TokenRejected as exc:
        return replace(result, kept_refused=exc.reason)
    reason, hint = found.explanation
    accepted = replace(result, answer=AnswerClass.ACCEPTED.value, reason=reason, from_kept_answer=True, **found.facts)  # type: ignore[arg-type]
    return replace(accepted, hint=f"{hint} Last fault: {result.reason}.")


def _accepted(found: Allowed, caller: Mapping[str, str]) -> CheckResult:
    reason, hint = found.explanation
    accepted = CheckResult(answer=AnswerClass.ACCEPTED.value, reason=reason, hint=hint, **found.facts, **caller)  # type: ignore[arg-type]
    return replace(accepted, asked=found.asked.value, request_id=found.request_id)


def _refused(row: ErrorRow, code: str, hint: str) -> CheckResult:
    return CheckResult(answer=row.answer.value, reason=row.reason, hint=hint, code=code)
