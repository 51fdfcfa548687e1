"""Log what an operator needs to know about the gate.

Invariants:
- Every answer is one event, named by its class, with everything a person needs beside it.
- A gate that has been shut for a minute is explained in full, once each time it shuts: the workload, its region, its
  role, the host that was asked, the answer, what to do, and the command that finds out more.
- A caution that stays the same is logged once.
"""

from __future__ import annotations

from typing import Final

from sidecar import log
from sidecar.clock import iso
from sidecar.entitlement.answer import AnswerClass, AnsweredBy
from sidecar.entitlement.status import GateState
from sidecar.gate.messages import CheckResult, WorkloadIdentity
from sidecar.quick_dataclasses import dataclass, field

SHUT_SECONDS: Final = 60
DOCTOR: Final = "entitlement-sidecar doctor"
"""The command to run in the sidecar's container: it checks everything that can keep a gate shut."""

NOT_RETURNED: Final = (
    "It comes back by itself when it runs out. Until then another copy of the product may find no free seat."
)


@dataclass(kw_only=True)
class GateEvents:
    """Logs what happened to the gate."""

    product_code: str
    """Empty where there is none."""
    product_sku: str = ""
    shut_since: float | None = None
    """When the gate shut, by the monotonic clock; None while it is open."""
    _explained: bool = False
    _logged: set[str] = field(default_factory=set)

    def answer(
        self,
        identity: WorkloadIdentity,
        result: CheckResult,
        state: GateState,
        *,
        opened: bool,
        retry_in_seconds: float | None,
    ) -> None:
        """Log one answer, and that it opened the gate where it did."""
        name, speak = self._event(result)
        fields = self._who(identity, result) | {
            "reason": result.reason,
            "hint": result.hint if result.verdict is not AnswerClass.ACCEPTED else None,
            "status": state.status.value,
            "public_key_version": result.public_key_version,
            "kept_refused": result.kept_refused or None,
            "retry_in_seconds": retry_in_seconds,
        }
        speak(name, **fields)
        self._cautions_of(identity, result)
        for license in result.not_returned:
            log.warn("license.check_in_failed", license=license, hint=NOT_RETURNED)
        if opened:
            log.event("gate.opened", reason=result.reason, workload=identity.workload)

    def explains_at(self) -> float | None:
        """Return when a gate that stays shut is explained; None where it is open, or was explained."""
        return None if self.shut_since is None or self._explained else self.shut_since + SHUT_SECONDS

    def shut_for_long(self, now: float, state: GateState, identity: WorkloadIdentity, result: CheckResult) -> None:
        """Log everything known, once, when the gate has been shut for a minute. `now`: by the monotonic clock."""
        if state.entitled:
            self.shut_since, self._explained = None, False
            return
        if self.shut_since is None:
            self.shut_since = now
        if self._explained or now - self.shut_since < SHUT_SECONDS:
            return
        self._explained = True
        log.error(
            "gate.shut",
            status=state.status.value,
            reason=state.reason,
            hint=state.hint,
            command=DOCTOR,
            **self._who(identity, result),
            workload_kind=identity.workload_kind,
            labels=identity.labels,
            region_source=identity.region_source,
            partition=result.partition,
            credential_source=result.credential_source,
            role=result.role or None,
            asking_since=iso(state.asking_since),
        )

    def _who(self, identity: WorkloadIdentity, result: CheckResult) -> dict[str, object]:
        return {
            "workload": identity.workload or None,
            "product_code": self.product_code or None,
            "product_sku": self.product_sku or None,
            "region": identity.region or None,
            "host": result.host or None,
            "aws_error": result.code if result.code and result.asked != AnsweredBy.TOKEN.value else None,
            "aws_request_id": result.request_id or None,
        }

    @staticmethod
    def _event(result: CheckResult) -> tuple[str, log.Speak]:
        if result.verdict is AnswerClass.ACCEPTED:
            return ("answer.reopened", log.warn) if result.from_kept_answer else ("registration.accepted", log.event)
        if result.asked == AnsweredBy.TOKEN.value:
            return "token.rejected", log.error
        if result.verdict is AnswerClass.DENY:
            return "registration.denied", log.error
        if result.verdict is AnswerClass.CONFIG:
            return "registration.refused", log.error
        return "registration.held", log.warn

    def _cautions_of(self, identity: WorkloadIdentity, result: CheckResult) -> None:
        """Log what works now and should be changed all the same."""
        version = result.public_key_version
        if result.rotation_at:
            hint = "AWS has rotated this key: the seller should ship an image with the newer version."
            superseded_at = result.rotation_at
            self._once("public_key.superseded", public_key_version=version, superseded_at=superseded_at, hint=hint)
        if result.weak_key_bits:
            self._once("public_key.weak", public_key_version=version, bits=result.weak_key_bits)
        if identity.region_disagreement:
            self._once("region.disagreed", disagreement=identity.region_disagreement)

    def _once(self, name: str, **fields: object) -> None:
        caution = f"{name} {sorted(fields.items())}"
        if caution not in self._logged:
            self._logged.add(caution)
            log.warn(name, **fields)
