"""Log what an operator needs to know about the gate.

Invariants:
- Every answer is one event, named by its class, with everything a person needs beside it.
- A gate that has been shut for a minute is explained once, in full: the workload, its region, its role, the host that
  was asked, the answer, and what to do.
- A caution that stays the same is logged once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from sidecar import log
from sidecar.clock import iso
from sidecar.entitlement.answer import AnswerClass, AnsweredBy
from sidecar.entitlement.status import GateState
from sidecar.gate.messages import Report

SHUT_SECONDS: Final = 60


@dataclass(kw_only=True)
class GateEvents:
    """Says what happened to the gate."""

    product_code: str
    shut_said: bool = False
    _cautions: set[str] = field(default_factory=set)

    def answer(self, report: Report, standing: GateState, *, opened: bool, pause_seconds: float | None) -> None:
        """One answer, and the gate's opening where it opened it."""
        name, speak = self._event(report)
        fields = self._who(report) | {
            "reason": report.reason,
            "hint": report.hint if report.verdict is not AnswerClass.ACCEPTED else None,
            "status": standing.status.value,
            "public_key_version": report.public_key_version,
            "kept_refused": report.kept_refused or None,
            "retry_in_seconds": pause_seconds,
        }
        speak(name, **fields)
        self._say_cautions(report)
        if opened:
            log.event("gate.opened", reason=report.reason, workload=report.workload)

    def shut_for_long(self, seconds: float, standing: GateState, report: Report) -> None:
        """The whole story, once, when the gate has been shut for a minute."""
        if self.shut_said or standing.entitled or seconds < SHUT_SECONDS:
            return
        self.shut_said = True
        log.error(
            "gate.shut",
            status=standing.status.value,
            reason=standing.reason,
            hint=standing.hint,
            **self._who(report),
            workload_kind=report.workload_kind,
            labels=report.labels,
            region_source=report.region_source,
            partition=report.partition,
            credential_source=report.credential_source,
            role=report.role or None,
            asking_since=iso(standing.asking_since),
        )

    def _who(self, report: Report) -> dict[str, object]:
        return {
            "workload": report.workload or None,
            "product_code": self.product_code,
            "region": report.region or None,
            "host": report.host or None,
            "aws_error": report.code if report.code and report.asked != AnsweredBy.TOKEN.value else None,
            "aws_request_id": report.request_id or None,
        }

    @staticmethod
    def _event(report: Report) -> tuple[str, log.Speak]:
        if report.verdict is AnswerClass.ACCEPTED:
            return ("answer.reopened", log.warn) if report.kept else ("registration.accepted", log.event)
        if report.asked == AnsweredBy.TOKEN.value:
            return "token.rejected", log.error
        if report.verdict is AnswerClass.DENY:
            return "registration.denied", log.error
        if report.verdict is AnswerClass.CONFIG:
            return "registration.refused", log.error
        return "registration.held", log.warn

    def _say_cautions(self, report: Report) -> None:
        """What works and should still be looked at."""
        version = report.public_key_version
        if report.rotation_at:
            hint = "AWS has rotated this key: the seller should ship an image with the newer version."
            superseded_at = report.rotation_at
            self._once("public_key.superseded", public_key_version=version, superseded_at=superseded_at, hint=hint)
        if report.weak_key_bits:
            self._once("public_key.weak", public_key_version=version, bits=report.weak_key_bits)
        if report.region_disagreement:
            self._once("region.disagreed", disagreement=report.region_disagreement)

    def _once(self, name: str, **fields: object) -> None:
        caution = f"{name} {sorted(fields.items())}"
        if caution not in self._cautions:
            self._cautions.add(caution)
            log.warn(name, **fields)
