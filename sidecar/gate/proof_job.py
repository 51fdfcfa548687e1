"""Ask AWS once to sign the product's nonce, and verify what it signed. The child's job `proof`.

Invariants:
- One RegisterUsage call and no second one: the pause between questions to AWS is the worker's to keep.
- The workload has registered before: the worker asks only while the gate is open.
- What does not verify for this product, key version and nonce is not in the result.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, Final

from sidecar.clock import Clock, SystemClock
from sidecar.entitlement import classify as answers
from sidecar.entitlement.answer import AnswerClass, AnsweredBy
from sidecar.entitlement.registration import ProductCode, PublicKeyVersion, Registration
from sidecar.gate.hint_facts import answer_facts, caller_of, hint_facts
from sidecar.gate.method import NotAllowed
from sidecar.gate.proof_messages import ProofRequest, ProofResult
from sidecar.gate.register_usage import ask_once
from sidecar.marketplace import sdk_environment
from sidecar.marketplace.client import Marketplace
from sidecar.platform import ecs, eks
from sidecar.remote_clock import clock_for
from sidecar.settings import OnDenied

HINT_MAX: Final = 2048
AGAIN: Final = "then ask for the proof again"


def run(payload: Mapping[str, Any], emit: Callable[[str], None]) -> None:
    """Ask AWS once; emit the result."""
    request, env = ProofRequest.from_payload(payload), dict(os.environ)
    sdk_environment.take(env, request.endpoint_url, in_platform=ecs.on_ecs(env) or eks.in_kubernetes(env))
    emit(ask(request, env, clock_for(request.clock_url), SystemClock()).as_json())


def ask(request: ProofRequest, env: Mapping[str, str], clock: Clock, host_clock: Clock) -> ProofResult:
    """Return AWS's signature over the nonce, verified, or why there is none. `env`: as the SDK sees it."""
    asked = Registration(
        product_code=ProductCode(request.product_code),
        public_key_version=PublicKeyVersion(request.public_key.version),
        nonce=request.nonce,
    )
    marketplace = Marketplace(region=request.region, endpoint_url=request.endpoint_url, env=env)
    found = ask_once(marketplace, asked, request.public_key, clock, host_clock)
    if isinstance(found, NotAllowed):
        return _refused(request, env, marketplace, found)
    _, signed = found
    reason, hint = answers.ACCEPTED
    return ProofResult(
        answer=AnswerClass.ACCEPTED.value,
        reason=reason,
        hint=hint,
        asked=AnsweredBy.REGISTER_USAGE.value,
        request_id=signed.request_id,
        token=str(signed.token),
    )


def _refused(request: ProofRequest, env: Mapping[str, str], marketplace: Marketplace, found: NotAllowed) -> ProofResult:
    row, reply = found.row, found.reply
    here = hint_facts(env, OnDenied.HOLD.value, 1) | {"again": AGAIN}
    facts = answer_facts(request.region, caller_of(marketplace, reply), marketplace, found)
    hint = answers.fill_hint(found.hint, {**here, **facts, "code": found.code})
    return ProofResult(
        answer=row.answer.value,
        reason=row.reason,
        hint=hint[:HINT_MAX],
        code=found.code[:HINT_MAX],
        asked=reply.asked.value if reply else row.asked[0].value if row.asked else "",
        request_id=reply.request_id if reply else "",
    )
