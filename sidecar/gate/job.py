"""Check once whether this workload may run, from identifying it to keeping the answer. The child's job `check`.

How AWS is asked is in `register_usage` and `dry_run`.

Invariants:
- The workload's identity is emitted before AWS is asked: a slow AWS delays nothing that needs only that.
- Only where AWS could not be reached is a kept answer considered.
- The result is emitted before anything is written: a stuck disk does not delay the gate.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sidecar.clock import Clock, SystemClock
from sidecar.entitlement import classify as answers
from sidecar.entitlement.answer import AnswerClass, AnsweredBy, ErrorRow
from sidecar.entitlement.registration import WorkloadId
from sidecar.errors import PlatformError, SettingsError, TokenRejected
from sidecar.gate.messages import CheckRequest, KeptStatus, Report
from sidecar.gate.method import Allowed, CheckMethod, NotAllowed
from sidecar.ledger import kept_file as answer_file
from sidecar.marketplace import sdk_environment
from sidecar.marketplace.client import Marketplace
from sidecar.platform import ecs, eks, identity, imds
from sidecar.remote_clock import clock_for
from sidecar.settings import EntitlementCheck

Keep = Callable[[], KeptStatus]


def run(payload: Mapping[str, Any], emit: Callable[[str], None]) -> None:
    """Ask AWS once; emit the workload's identity, the result, and whether it was kept."""
    question, env = CheckRequest.from_payload(payload), dict(os.environ)
    sdk_environment.take(env, question.endpoint_url, in_platform=ecs.on_ecs(env) or eks.in_kubernetes(env))
    asking = CheckJob(
        question=question,
        env=env,
        clock=clock_for(question.clock_url),
        host_clock=SystemClock(),
        placed=lambda report: emit(report.as_json()),
    )
    report, keep = asking.report()
    emit(report.as_json())
    if keep:
        emit(keep().as_json())


@dataclass(kw_only=True)
class CheckJob:
    """One question, from the environment to the report."""

    question: CheckRequest
    env: Mapping[str, str]
    """As the SDK sees it (`marketplace.environment`)."""
    clock: Clock
    """Tells the marketplace's time."""
    host_clock: Clock | None = None
    """This host's own, where `clock` follows another one."""
    new_random: Callable[[int], bytes] = os.urandom
    placed: Callable[[Report], None] | None = None
    """Told who asks from where, before AWS is asked."""

    def report(self) -> tuple[Report, Keep | None]:
        """Return the report, and how to keep its answer where there is one to keep."""
        try:
            task = ecs.read_task(self.env) if ecs.on_ecs(self.env) else None
            workload = identity.identify_workload(
                eks.read_pod(self.env), task, self.question.workload_id, self._nameless
            )
        except PlatformError as exc:
            row = answers.classify("metadata_unreadable", AnsweredBy.SDK)
            return _refused(row, "metadata_unreadable", f"{exc.hint} {row.hint}"), None
        except SettingsError as exc:
            fault = "\n".join(str(problem) for problem in exc.problems)
            return replace(_refused(answers.UNKNOWN, "", fault), reason="bad_settings", settings_fault=fault), None
        region = identity.find_region(self.env, task, lambda: imds.read_region(self.env))
        who = Report(answer=AnswerClass.RETRY.value, reason="asking", hint="")
        who = replace(who, workload=workload.id, workload_kind=workload.kind, labels=workload.labels)
        if region is None:
            return self._not_asked(workload, "NoRegionError", who), None
        who = replace(who, region=region.name, region_source=region.source, region_disagreement=region.disagreement)
        if self.placed:
            self.placed(replace(who, placed_only=True))
        bundle = self.env.get("AWS_CA_BUNDLE")
        if bundle and not os.access(bundle, os.R_OK):
            return self._not_asked(workload, "ca_bundle_unreadable", who), None
        return self._ask(workload, region.name, who)

    def _nameless(self) -> str:
        try:
            return answer_file.spare_workload_id(Path(self.question.state_dir))
        except OSError:
            return self.question.spare_workload_id

    def _way(self, workload: identity.Workload) -> CheckMethod:
        """Return each is imported where it is used: one needs no token verification, the other no metering."""
        host_clock, name = self.host_clock or self.clock, WorkloadId(workload.id)
        if self.question.entitlement_check == EntitlementCheck.METER_USAGE.value:
            from sidecar.gate.dry_run import DryRunCheck

            return DryRunCheck(question=self.question, workload=name, clock=self.clock, host_clock=host_clock)
        from sidecar.gate.register_usage import RegisterUsageCheck

        return RegisterUsageCheck(
            question=self.question,
            workload=name,
            clock=self.clock,
            host_clock=host_clock,
            new_random=self.new_random,
        )

    def _ask(self, workload: identity.Workload, region: str, who: Report) -> tuple[Report, Keep | None]:
        marketplace = Marketplace(region=region, endpoint_url=self.question.endpoint_url, env=self.env)
        way = self._way(workload)
        found = way.ask(marketplace)
        who = _seen(who, marketplace, found)
        if isinstance(found, NotAllowed):
            return self._stand_in(workload, way, found, who, _facts(who, marketplace, found)), None
        keep = (lambda: self._keep(way.kept, found.to_keep)) if workload.keeps_answers else None
        return _accepted(who, found), keep

    def _keep(self, path: Path, text: str) -> KeptStatus:
        try:
            answer_file.replace(path, text)
        except OSError as exc:
            return KeptStatus(kept=False, fault=f"{self.question.state_dir}: {exc.strerror}")
        return KeptStatus(kept=True)

    def _not_asked(self, workload: identity.Workload, code: str, who: Report) -> Report:
        """Return a mistake here, found before AWS was asked."""
        row = answers.classify(code, AnsweredBy.SDK)
        return self._stand_in(workload, self._way(workload), NotAllowed(row=row, code=code, hint=row.hint), who, {})

    def _stand_in(
        self, workload: identity.Workload, way: CheckMethod, found: NotAllowed, who: Report, facts: Mapping[str, str]
    ) -> Report:
        """Return a refusal, unless AWS was out of reach and a kept answer speaks for this workload."""
        row, reply = found.row, found.reply
        hint = answers.fill_hint(found.hint, {**facts, "code": found.code})
        report = replace(
            who,
            answer=row.answer.value,
            reason=row.reason,
            hint=f"{hint} {who.credential_caution}".strip(),
            code=found.code,
            asked=reply.asked.value if reply else row.asked[0].value if row.asked else "",
            request_id=reply.request_id if reply else "",
            retry_after_seconds=reply.retry_after_seconds if reply else None,
        )
        return _reopened(way, report) if row.unreachable and workload.keeps_answers else report


def _reopened(way: CheckMethod, report: Report) -> Report:
    try:
        text = answer_file.read(way.kept)
        if text is None:
            return report
        found = way.reopen(text)
    except OSError:
        return replace(report, kept_refused="kept_unreadable")
    except TokenRejected as exc:
        return replace(report, kept_refused=exc.reason)
    reason, hint = found.explanation
    accepted = replace(report, answer=AnswerClass.ACCEPTED.value, reason=reason, kept=True, **found.facts)  # type: ignore[arg-type]
    return replace(accepted, hint=f"{hint} Last fault: {report.reason}.")


def _accepted(who: Report, found: Allowed) -> Report:
    reason, hint = found.explanation
    accepted = replace(who, answer=AnswerClass.ACCEPTED.value, reason=reason, hint=hint, **found.facts)  # type: ignore[arg-type]
    return replace(accepted, asked=found.asked.value, request_id=found.request_id)


def _refused(row: ErrorRow, code: str, hint: str) -> Report:
    return Report(answer=row.answer.value, reason=row.reason, hint=hint, code=code)


def _seen(who: Report, marketplace: Marketplace, found: Allowed | NotAllowed) -> Report:
    """Return the report with whom was called, and as whom."""
    credentials = marketplace.credential_source()
    caller = found.reply.caller if isinstance(found, NotAllowed) and found.reply else ""
    return replace(
        who,
        host=marketplace.host(),
        partition=marketplace.partition(),
        credential_source=credentials.name,
        credential_caution=credentials.caution,
        role=credentials.role or caller,
    )


def _facts(who: Report, marketplace: Marketplace, found: NotAllowed) -> Mapping[str, str]:
    """Return what a hint's places are filled with."""
    skew = found.reply.skew_seconds if found.reply else None
    direction = "ahead of" if skew and skew > 0 else "behind"
    return {
        "host": marketplace.last_host(),
        "metering_host": who.host,
        "sts_host": marketplace.sts_host(),
        "region": who.region,
        "role": who.role,
        "partition": who.partition,
        "skew": f"This host is {abs(skew)} s {direction} AWS." if skew else "",
        "dimension": found.dimension,
    }
