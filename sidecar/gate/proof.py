"""Answer the product's nonces with AWS's signature: one question to AWS at a time, and at most one in 15 seconds.

Invariants:
- AWS is asked only while the gate is open: the first RegisterUsage of a workload belongs to the gate. Whatever a proof
  answers, the gate stays as it is.
- Equal nonces share one question and its answer, in flight and until the 15 seconds are over; another nonce waits.
- The pause is that of proofs alone. Rechecks have their own: a product that asks for a proof as soon as the gate opens
  does not wait because the gate has just asked.
- AWS is asked in a short-lived child: no credential enters this process. A thread of HTTP waits for it, for half a
  minute at most, and at most two do, so that the routes beside this one have threads left.
- Neither a nonce nor a token is logged. One answer is held, until the next question.

Sources: AWS Marketplace API Reference, RegisterUsage ("Subsequent calls from the same … task … or pod").
"""

from __future__ import annotations

import hmac
import math
import threading
import time
from collections.abc import Callable
from typing import Final

from sidecar import log
from sidecar.api.ports import NoProof, Proof, ProofRefused, ProofSigned
from sidecar.child import process
from sidecar.child.process import CHILD_FAILED, ChildProcess, read_message
from sidecar.clock import Clock
from sidecar.entitlement import classify as answers
from sidecar.entitlement.answer import AnswerClass, AnsweredBy
from sidecar.entitlement.status import Status
from sidecar.gate.loop import EntitlementLoop
from sidecar.gate.proof_messages import ProofRequest, ProofResult
from sidecar.quick_dataclasses import dataclass, replace
from sidecar.settings import EntitlementCheck, Settings

PAUSE_SECONDS: Final = 15
"""From one question to the next."""
BUDGET_SECONDS: Final = 30.0
"""For the child: its start, credentials, and one call of at most 15 seconds."""
SHARING_MAX: Final = 1
"""Threads that wait for the answer to another's question, beside the one that asks."""
SIGNED: Final = "signed"
REFUSED: Final = "refused"
ENDING: Final = "This sidecar is ending; ask the one that follows."
AGAIN: Final = "Ask for the proof again when Retry-After says."


@dataclass(kw_only=True)
class Question:
    """A nonce that AWS was asked to sign."""

    nonce: bytes
    asked_at: float
    """Monotonic seconds."""
    answer: Proof | None = None
    """None while AWS is being asked."""
    sharing: int = 0
    """Threads that wait for the answer, beside the one that asks."""


class Proofs:
    """An `api.ports.ProofPort`."""

    def __init__(
        self,
        settings: Settings,
        gate: EntitlementLoop,
        clock: Clock,
        counts: dict[str, int],
        start_child: Callable[[ProofRequest], ChildProcess] = process.spawn,
    ) -> None:
        """`counts`: questions by outcome, for `/metrics`; counted up here."""
        self._settings, self._gate, self._clock, self._counts = settings, gate, clock, counts
        self._start_child = start_child
        self._answered = threading.Condition()
        self._question: Question | None = None
        self._child: ChildProcess | None = None
        self._stopping = False

    def prove(self, nonce: str) -> Proof:
        """Return AWS's signature over this nonce, or why there is none. Waits for AWS, at most half a minute."""
        refused = self._not_to_ask()
        if refused:
            return refused
        with self._answered:
            question, mine = self._turn(nonce.encode())
            if question is None:
                return self._too_soon()
            if not mine:
                return self._shared(question)
        answer = self._asked(nonce)
        with self._answered:
            question.answer = answer
            self._answered.notify_all()
        return self._with_wait(answer)

    def stop(self) -> None:
        """Ask no more, and kill the child that asks. Returns at once."""
        with self._answered:
            self._stopping = True
            if self._child:
                self._child.kill()

    def _not_to_ask(self) -> ProofRefused | None:
        """Return why AWS is not asked now, whatever the nonce."""
        check, state = self._settings.entitlement_check, self._gate.state
        if check is not EntitlementCheck.REGISTER_USAGE:
            hint = f"AWS signs RegisterUsage alone; SIDECAR_ENTITLEMENT_CHECK is {check.value}. Ask /entitled instead."
            return ProofRefused(why=NoProof.NOTHING_SIGNED, reason="nothing_signed", hint=hint)
        if state.entitled:
            return None
        if state.status is Status.DENIED:
            return ProofRefused(why=NoProof.DENIED, reason=state.reason, hint=state.hint)
        after = self._gate.retry_after_seconds()
        return ProofRefused(why=NoProof.UNAVAILABLE, reason=state.reason, hint=state.hint, retry_after_seconds=after)

    def _turn(self, nonce: bytes) -> tuple[Question | None, bool]:
        """Return the question about this nonce and whether it is new; None where another's turn is not over."""
        last = self._question
        if last is not None and (last.answer is None or self._pause_left() > 0):
            return (last, False) if hmac.compare_digest(last.nonce, nonce) else (None, False)
        self._question = Question(nonce=nonce, asked_at=self._clock.monotonic())
        return self._question, True

    def _shared(self, question: Question) -> Proof:
        """Return the answer to another's question about the same nonce, once it is there."""
        if question.answer is None and question.sharing >= SHARING_MAX:
            return self._too_soon()
        question.sharing += 1
        self._answered.wait_for(lambda: question.answer is not None, BUDGET_SECONDS)
        question.sharing -= 1
        return self._with_wait(question.answer) if question.answer else self._too_soon()

    def _pause_left(self) -> int:
        """Return whole seconds until AWS may be asked again, at least 0."""
        if self._question is None:
            return 0
        return max(0, math.ceil(self._question.asked_at + PAUSE_SECONDS - self._clock.monotonic()))

    def _too_soon(self) -> ProofRefused:
        after = max(1, self._pause_left())
        hint = (
            f"AWS was asked for a proof a moment ago, at most once in {PAUSE_SECONDS} s; ask again in {after} s."
            " The same nonce again has the same answer."
        )
        return ProofRefused(why=NoProof.TOO_SOON, reason="asked_just_now", hint=hint, retry_after_seconds=after)

    def _with_wait(self, answer: Proof) -> Proof:
        """Return an answer with the seconds until AWS may be asked again, where asking again may help."""
        if isinstance(answer, ProofSigned) or answer.why is NoProof.DENIED:
            return answer
        return replace(answer, retry_after_seconds=max(1, self._pause_left()))

    # -- asking

    def _asked(self, nonce: str) -> Proof:
        """Ask AWS in a child. Raises nothing: others wait for the answer."""
        began = self._clock.monotonic()
        try:
            result = self._result(nonce)
        except Exception as exc:  # the outermost edge: each request that shares the question must have an answer
            log.error("child.failed", code=CHILD_FAILED, crash=type(exc).__name__)
            result = _missing(CHILD_FAILED)
        found = _proof(result)
        self._log(found, result, round(self._clock.monotonic() - began, 3))
        return found

    def _result(self, nonce: str) -> ProofResult:
        region, version = self._gate.identity.region, self._gate.result.public_key_version
        if not region:
            return _missing("NoRegionError")
        child = self._start_child(ProofRequest.of(self._settings, nonce, region, version))
        try:
            with self._answered:
                self._child = child
                if self._stopping:
                    child.kill()
            result, failure = read_message(child, ProofResult.from_json, time.monotonic() + BUDGET_SECONDS)
        finally:
            with self._answered:
                self._child = None
            child.close()
        if result is not None:
            return result
        if self._stopping:
            return ProofResult(answer=AnswerClass.RETRY.value, reason="shutting_down", hint=ENDING)
        code = failure.code if failure else CHILD_FAILED
        log.error("child.failed", code=code, crash=failure.crash if failure else None)
        return _missing(code)

    def _log(self, found: Proof, result: ProofResult, seconds: float) -> None:
        signed = isinstance(found, ProofSigned)
        self._counts[SIGNED if signed else REFUSED] += 1
        if signed:
            log.event("proof.signed", aws_request_id=result.request_id or None, seconds=seconds)
            return
        log.warn(
            "proof.refused",
            reason=result.reason,
            hint=result.hint,
            aws_error=result.code if result.code and result.asked != AnsweredBy.TOKEN.value else None,
            aws_request_id=result.request_id or None,
            seconds=seconds,
        )


def _proof(result: ProofResult) -> Proof:
    """Return what the routes answer for a result."""
    if result.verdict is AnswerClass.ACCEPTED:
        return ProofSigned(token=result.token)
    if result.asked == AnsweredBy.TOKEN.value:
        return ProofRefused(why=NoProof.UNVERIFIED, reason=result.reason, hint=result.hint)
    if result.verdict is AnswerClass.DENY:
        return ProofRefused(why=NoProof.DENIED, reason=result.reason, hint=result.hint)
    return ProofRefused(why=NoProof.UNAVAILABLE, reason=result.reason, hint=f"{result.hint} {AGAIN}")


def _missing(code: str) -> ProofResult:
    """Return a result where no child gave one."""
    row = answers.classify(code, AnsweredBy.SDK)
    return ProofResult(answer=row.answer.value, reason=row.reason, hint=answers.fill_hint(row.hint, {}), code=code)
