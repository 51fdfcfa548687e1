"""Check the entitlement by RegisterUsage, or by the kept answer. Runs in the child.

Invariants:
- Key versions are asked newest first; only `InvalidPublicKeyVersion` moves on to the next.
- Each call has a fresh nonce. Where an answer does not verify, or AWS calls the credentials expired, AWS is asked once
  more with everything fresh.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from sidecar.clock import Clock, iso
from sidecar.entitlement import classify as answers
from sidecar.entitlement import kept_answer, token
from sidecar.entitlement.answer import AnsweredBy
from sidecar.entitlement.registration import (
    NONCE_BYTES,
    ProductCode,
    PublicKeyVersion,
    Registration,
    VerifiedRegistration,
    WorkloadId,
    make_nonce,
)
from sidecar.errors import TokenRejected
from sidecar.gate.messages import CheckRequest
from sidecar.gate.method import Allowed, NotAllowed
from sidecar.ledger import kept_file as answer_file
from sidecar.marketplace.client import Marketplace
from sidecar.marketplace.register_usage import Signed, register_usage
from sidecar.marketplace.sdk_errors import CallFailed
from sidecar.quick_dataclasses import dataclass
from sidecar.settings import PublicKey

TRY_NEXT_KEY: Final = "invalid_public_key_version"


@dataclass(kw_only=True)
class RegisterUsageCheck:
    """RegisterUsage with each key version, until one is answered."""

    request: CheckRequest
    workload: WorkloadId
    clock: Clock
    host_clock: Clock
    new_random: Callable[[int], bytes]

    @property
    def answer_path(self) -> Path:
        return answer_file.answer_path(Path(self.request.state_dir), self.workload)

    def ask(self, marketplace: Marketplace) -> Allowed | NotAllowed:
        found: Allowed | NotAllowed | None = None
        for key in self.request.public_keys:
            found = self._with_key(marketplace, key)
            if isinstance(found, Allowed) or found.row.reason != TRY_NEXT_KEY:
                break
        if found is None:
            raise AssertionError("settings hold at least one public key")
        return found

    def reopen(self, text: str) -> Allowed:
        product = ProductCode(self.request.product_code)
        verified = kept_answer.verify_kept(
            kept_answer.from_text(text), self.workload, product, self.request.public_keys
        )
        return Allowed(explanation=answers.KEPT_ANSWER, asked=AnsweredBy.REGISTER_USAGE, facts=_facts(verified))

    def _with_key(self, marketplace: Marketplace, key: PublicKey) -> Allowed | NotAllowed:
        """Ask with one key version, once more where the first answer may be a leftover."""
        found = self._once(marketplace, key)
        if isinstance(found, NotAllowed) and found.row.once_more:
            marketplace.refresh()
            found = self._once(marketplace, key)
        return found

    def _once(self, marketplace: Marketplace, key: PublicKey) -> Allowed | NotAllowed:
        asked = Registration(
            product_code=ProductCode(self.request.product_code),
            public_key_version=PublicKeyVersion(key.version),
            nonce=make_nonce(self.new_random(NONCE_BYTES), self.workload),
        )
        found = ask_once(marketplace, asked, key, self.clock, self.host_clock)
        return found if isinstance(found, NotAllowed) else _yes(*found)


def ask_once(
    marketplace: Marketplace, asked: Registration, key: PublicKey, clock: Clock, host_clock: Clock
) -> tuple[VerifiedRegistration, Signed] | NotAllowed:
    """Ask AWS this one question. Returns what verified, with the answer, or why nothing did.

    `clock` tells the marketplace's time, `host_clock` this host's.
    """
    try:
        public_key = token.public_key(key.pem)
        reply = register_usage(marketplace, asked, host_clock.now())
        if isinstance(reply, CallFailed):
            return NotAllowed(row=reply.row, code=reply.code, hint=reply.row.hint, reply=reply)
        return token.verify(reply.token, public_key, asked, clock.now()), reply
    except TokenRejected as exc:
        return NotAllowed(row=answers.classify(exc.reason, AnsweredBy.TOKEN), code=exc.reason, hint=exc.hint)


def _yes(verified: VerifiedRegistration, signed: Signed) -> Allowed:
    asked = verified.asked
    to_keep = kept_answer.KeptAnswer(
        product_code=asked.product_code,
        public_key_version=asked.public_key_version,
        nonce=asked.nonce,
        token=str(signed.token),
    )
    return Allowed(
        explanation=answers.ACCEPTED,
        asked=AnsweredBy.REGISTER_USAGE,
        request_id=signed.request_id,
        facts={**_facts(verified), "rotation_at": iso(signed.rotation_at) if signed.rotation_at else None},
        to_keep=to_keep.as_text(),
    )


def _facts(verified: VerifiedRegistration) -> dict[str, object]:
    return {"public_key_version": verified.asked.public_key_version, "weak_key_bits": verified.weak_key_bits}
