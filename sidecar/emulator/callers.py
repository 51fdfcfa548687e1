"""Keep the workload behind each access key.

Elsewhere: reading the key from a request (`sigv4`), exchanging a web identity for one (`sts`), and
what a caller may do (`metering_api`, `register_usage`).

Invariants:
- AWS derives the task or pod from the credentials: the request names neither (metering service model).
  How is not documented. Here each access key id belongs to one workload.
- A defined key keeps its definition. A key that AssumeRoleWithWebIdentity issued belongs to
  the pod of the web identity token, with account and role of the role ARN. Any other key is a workload
  of its own, named after the key.
- An issued key works only with its session token, and until it expires: UnrecognizedClientException and
  ExpiredTokenException otherwise.
- A workload started when it was set, or else when STS first issued it a key.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from sidecar.clock import iso
from sidecar.emulator import control_fields as read
from sidecar.emulator.behaviour import Behaviour, Platform
from sidecar.emulator.refusals import BadCommand, refusal
from sidecar.emulator.sigv4 import Signed

DEFAULT_ROLE: Final = "workload-role"
FIELDS: Final = ("access_key", "workload", "account", "platform", "region", "allowed", "role", "started")
"""The fields that define a caller."""


@dataclass(frozen=True, kw_only=True)
class Caller:
    """A workload as AWS sees it."""

    workload: str
    account: str
    platform: Platform
    region: str
    """Where it runs, whatever region it calls."""
    allowed: bool
    role: str
    started_at: datetime | None = None
    """When it started to run, where it was set or STS saw it first; by the emulated clock."""

    def as_json(self) -> dict[str, object]:
        return {
            "workload": self.workload,
            "account": self.account,
            "platform": self.platform.value,
            "region": self.region,
            "allowed": self.allowed,
            "role": self.role,
            **({} if self.started_at is None else {"started": iso(self.started_at)}),
        }


@dataclass(frozen=True, kw_only=True)
class IssuedKey:
    """Temporary credentials that STS issued."""

    access_key: str
    session_token: str
    workload: str
    account: str
    role: str
    issued_at: datetime
    """By the emulated clock."""
    expires_at: datetime
    """By the real one, as its holder counts."""


class Callers:
    """Access keys and the workloads behind them. Safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._defined: dict[str, Caller] = {}
        self._issued: dict[str, IssuedKey] = {}
        self._first_issued_at: dict[str, datetime] = {}

    def define(self, body: Mapping[str, object], behaviour: Behaviour) -> Caller:
        """Set who is behind an access key; what `body` leaves out stays as it is. Raises BadCommand."""
        read.only(body, FIELDS)
        access_key = read.text(body, "access_key")
        if access_key is None:
            raise BadCommand("access_key: is required")
        with self._lock:
            present = self._behind(access_key, behaviour)
            self._defined[access_key] = _amended(present, body)
            return self._defined[access_key]

    def issue(self, key: IssuedKey) -> None:
        with self._lock:
            self._issued[key.access_key] = key
            self._first_issued_at.setdefault(key.workload, key.issued_at)

    def expire_issued(self, now: datetime) -> int:
        """End every key issued so far; return how many."""
        with self._lock:
            live = [key for key in self._issued.values() if key.expires_at > now]
            for key in live:
                self._issued[key.access_key] = replace(key, expires_at=now)
        return len(live)

    def authenticate(self, signed: Signed, behaviour: Behaviour, now: datetime) -> Caller:
        """Return the caller who signed. Raises Refusal."""
        with self._lock:
            issued = self._issued.get(signed.access_key)
            if issued is not None:
                if issued.session_token != signed.session_token:
                    raise refusal("UnrecognizedClientException")
                if behaviour.issued_keys_expired or issued.expires_at <= now:
                    raise refusal("ExpiredTokenException")
            return self._behind(signed.access_key, behaviour)

    def workload(self, access_key: str, behaviour: Behaviour) -> str:
        """Return the workload an access key belongs to, without judging it."""
        with self._lock:
            return self._behind(access_key, behaviour).workload

    def as_json(self, behaviour: Behaviour) -> list[dict[str, object]]:
        """Return keys that were defined or issued, each with its caller."""
        with self._lock:
            return [
                {"access_key": key, "issued": key in self._issued, **self._behind(key, behaviour).as_json()}
                for key in {**self._issued, **self._defined}
            ]

    def _behind(self, access_key: str, behaviour: Behaviour) -> Caller:
        defined, issued = self._defined.get(access_key), self._issued.get(access_key)
        if defined is not None:
            return defined
        return Caller(
            workload=access_key if issued is None else issued.workload,
            account=behaviour.account if issued is None else issued.account,
            role=DEFAULT_ROLE if issued is None else issued.role,
            platform=behaviour.platform,
            region=behaviour.region,
            allowed=behaviour.allowed,
            started_at=None if issued is None else self._first_issued_at.get(issued.workload),
        )


def _amended(present: Caller, body: Mapping[str, object]) -> Caller:
    platform, allowed = read.choice(body, "platform", Platform), read.flag(body, "allowed")
    return Caller(
        workload=read.text(body, "workload") or present.workload,
        account=read.text(body, "account") or present.account,
        platform=present.platform if platform is None else platform,
        region=read.text(body, "region") or present.region,
        allowed=present.allowed if allowed is None else allowed,
        role=read.text(body, "role") or present.role,
        started_at=read.instant(body, "started") or present.started_at,
    )
