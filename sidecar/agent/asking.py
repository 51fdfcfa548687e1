"""How is AWS asked once, from finding out who we are to keeping the answer? Runs in the child.

Rules kept here:
- Key versions are asked newest first; only `InvalidPublicKeyVersion` moves on to the next.
- Each call has a fresh nonce. An answer that does not verify, and credentials said to be expired, are
  asked once more with everything fresh before they are believed.
- Only where AWS could not be reached is a kept answer looked at.
- The report is handed out before anything is written: a stuck disk does not hold up the gate.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from sidecar.agent.exchange import Keeping, Question, Report
from sidecar.clock import Clock, iso
from sidecar.entitlement import answers, kept, token
from sidecar.entitlement.answers import Asked, Row
from sidecar.entitlement.registration import (
    NONCE_BYTES,
    ProductCode,
    PublicKeyVersion,
    Registration,
    VerifiedRegistration,
    WorkloadId,
    make_nonce,
)
from sidecar.errors import PlatformError, SettingsError, TokenRejected
from sidecar.ledger import answer as answer_file
from sidecar.marketplace.client import Marketplace
from sidecar.marketplace.register import Refused, Signed, register_usage
from sidecar.platform import ecs, eks, imds, place
from sidecar.settings import PublicKey

TRY_NEXT_KEY: Final = "invalid_public_key_version"


@dataclass(kw_only=True)
class Asking:
    """One question, from the environment to the report."""

    question: Question
    env: Mapping[str, str]
    """As the SDK sees it (`marketplace.environment`)."""
    clock: Clock
    new_random: Callable[[int], bytes] = os.urandom

    def report(self) -> tuple[Report, Callable[[], Keeping] | None]:
        """The report, and how to keep its answer where there is one to keep."""
        try:
            task = ecs.read_task(self.env) if ecs.on_ecs(self.env) else None
            workload = place.workload(eks.read_pod(self.env), task, self.question.workload_id, self._nameless)
        except PlatformError as exc:
            row = answers.classify("metadata_unreadable", Asked.SDK)
            return _refused(row, "metadata_unreadable", f"{exc.hint} {row.hint}"), None
        except SettingsError as exc:
            fault = "\n".join(str(problem) for problem in exc.problems)
            return replace(_refused(answers.UNKNOWN, "", fault), reason="bad_settings", settings_fault=fault), None
        region = place.region(self.env, task, lambda: imds.read_region(self.env))
        who = Report(answer="", reason="", hint="", workload=workload.id, workload_kind=workload.kind)
        who = replace(who, labels=workload.labels)
        if region is None:
            return self._stand_in(workload, answers.classify("NoRegionError", Asked.SDK), "NoRegionError", who, {})
        who = replace(who, region=region.name, region_source=region.source, region_disagreement=region.disagreement)
        bundle = self.env.get("AWS_CA_BUNDLE")
        if bundle and not os.access(bundle, os.R_OK):
            row = answers.classify("ca_bundle_unreadable", Asked.SDK)
            return self._stand_in(workload, row, "ca_bundle_unreadable", who, {})
        return self._ask(workload, region.name, who)

    def _nameless(self) -> str:
        try:
            return answer_file.nameless_id(Path(self.question.state_dir))
        except OSError:
            return self.question.spare_workload_id

    def _ask(self, workload: place.Workload, region: str, who: Report) -> tuple[Report, Callable[[], Keeping] | None]:
        marketplace = Marketplace(region=region, endpoint_url=self.question.endpoint_url, env=self.env)
        found: _Accepted | _Refusal | None = None
        for key in self.question.public_keys:
            found = self._with_key(marketplace, workload, key)
            if isinstance(found, _Accepted) or found.row.reason != TRY_NEXT_KEY:
                break
        who = _seen(who, marketplace, found)
        if isinstance(found, _Accepted):
            return self._accepted(workload, found, who)
        if found is None:
            raise AssertionError("settings hold at least one public key")
        return self._stand_in(workload, found.row, found.code, who, _facts(who, marketplace, found), found)

    def _with_key(self, marketplace: Marketplace, workload: place.Workload, key: PublicKey) -> _Accepted | _Refusal:
        """Ask with one key version, once more where the first answer may be a leftover."""
        found = self._once(marketplace, workload, key)
        if isinstance(found, _Refusal) and found.row.once_more:
            marketplace.refresh()
            found = self._once(marketplace, workload, key)
        return found

    def _once(self, marketplace: Marketplace, workload: place.Workload, key: PublicKey) -> _Accepted | _Refusal:
        asked = Registration(
            product_code=ProductCode(self.question.product_code),
            public_key_version=PublicKeyVersion(key.version),
            nonce=make_nonce(self.new_random(NONCE_BYTES), WorkloadId(workload.id)),
        )
        try:
            public_key = token.public_key(key.pem)
            reply = register_usage(marketplace, asked, self.clock.now())
            if isinstance(reply, Refused):
                return _Refusal(row=reply.row, code=reply.code, hint=reply.row.hint, reply=reply)
            verified = token.verify(reply.token, public_key, asked, self.clock.now())
        except TokenRejected as exc:
            return _Refusal(row=answers.classify(exc.reason, Asked.TOKEN), code=exc.reason, hint=exc.hint)
        return _Accepted(verified=verified, signed=reply)

    def _accepted(
        self, workload: place.Workload, found: _Accepted, who: Report
    ) -> tuple[Report, Callable[[], Keeping] | None]:
        reason, hint = answers.ACCEPTED
        report = replace(
            who,
            answer=answers.Answer.ACCEPTED.value,
            reason=reason,
            hint=hint,
            asked=Asked.REGISTER_USAGE.value,
            request_id=found.signed.request_id,
            public_key_version=found.verified.asked.public_key_version,
            rotation_at=iso(found.signed.rotation_at) if found.signed.rotation_at else None,
            weak_key_bits=found.verified.weak_key_bits,
        )
        if not workload.keeps_answers:
            return report, None
        return report, lambda: self._keep(workload, found)

    def _keep(self, workload: place.Workload, found: _Accepted) -> Keeping:
        asked = found.verified.asked
        text = kept.KeptAnswer(
            product_code=asked.product_code,
            public_key_version=asked.public_key_version,
            nonce=asked.nonce,
            token=str(found.signed.token),
        ).as_text()
        try:
            answer_file.replace(answer_file.answer_path(Path(self.question.state_dir), workload.id), text)
        except OSError as exc:
            return Keeping(kept=False, fault=f"{self.question.state_dir}: {exc.strerror}")
        return Keeping(kept=True)

    def _stand_in(
        self,
        workload: place.Workload,
        row: Row,
        code: str,
        who: Report,
        facts: Mapping[str, str],
        found: _Refusal | None = None,
    ) -> tuple[Report, None]:
        """A refusal, unless AWS was out of reach and a kept answer speaks for this workload."""
        hint = answers.filled(found.hint if found else row.hint, {**facts, "code": code})
        report = replace(
            who,
            answer=row.answer.value,
            reason=row.reason,
            hint=f"{hint} {who.credential_caution}".strip(),
            code=code,
            asked=found.reply.asked.value if found and found.reply else row.asked[0].value if row.asked else "",
            request_id=found.reply.request_id if found and found.reply else "",
            retry_after_seconds=found.reply.retry_after_seconds if found and found.reply else None,
        )
        if not row.unreachable or not workload.keeps_answers:
            return report, None
        return self._reopened(workload, report), None

    def _reopened(self, workload: place.Workload, report: Report) -> Report:
        try:
            text = answer_file.read(answer_file.answer_path(Path(self.question.state_dir), workload.id))
            if text is None:
                return report
            verified = kept.reopen(
                kept.from_text(text),
                WorkloadId(workload.id),
                ProductCode(self.question.product_code),
                self.question.public_keys,
            )
        except OSError:
            return replace(report, kept_refused="kept_unreadable")
        except TokenRejected as exc:
            return replace(report, kept_refused=exc.reason)
        reason, hint = answers.KEPT
        return replace(
            report,
            answer=answers.Answer.ACCEPTED.value,
            reason=reason,
            hint=f"{hint} Last fault: {report.reason}.",
            kept=True,
            public_key_version=verified.asked.public_key_version,
            weak_key_bits=verified.weak_key_bits,
        )


@dataclass(frozen=True, kw_only=True)
class _Accepted:
    verified: VerifiedRegistration
    signed: Signed


@dataclass(frozen=True, kw_only=True)
class _Refusal:
    row: Row
    code: str
    hint: str
    reply: Refused | None = None
    """None where AWS answered and the answer did not verify."""


def _refused(row: Row, code: str, hint: str) -> Report:
    return Report(answer=row.answer.value, reason=row.reason, hint=hint, code=code)


def _seen(who: Report, marketplace: Marketplace, found: _Accepted | _Refusal | None) -> Report:
    """The report with whom was called, and as whom."""
    credentials = marketplace.credential_source()
    caller = found.reply.caller if isinstance(found, _Refusal) and found.reply else ""
    return replace(
        who,
        host=marketplace.host(),
        partition=marketplace.partition(),
        credential_source=credentials.name,
        credential_caution=credentials.caution,
        role=credentials.role or caller,
    )


def _facts(who: Report, marketplace: Marketplace, found: _Refusal) -> Mapping[str, str]:
    """What a hint's places are filled with."""
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
    }
