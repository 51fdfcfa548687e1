"""Define how this AWS behaves: settings, each with the default that AWS documents or is seen to follow.

Elsewhere: what each setting does (`tokens`, `register_usage`, `meter_usage`, `callers`).

Invariants:
- Where AWS's pages disagree or are silent, a setting follows each reading: claim casing (the API Reference and
  the seller guide print PascalCase, AWS's Java example and shipping code read camelCase), `iat` (in the
  guide, not in the API Reference's example), asking again after a denial (documented for the first call
  only). So for MeterUsage: the lateness window, changed allocations, client tokens, tags, dry runs.
- The rest are forgeries and faults of the answer that a verifier has to refuse.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from enum import Enum
from typing import Any, Final, Self

from sidecar.emulator import control_fields as read
from sidecar.emulator.license_behaviour import LicenseBehaviour
from sidecar.emulator.refusals import BadCommand
from sidecar.emulator.saas_behaviour import SaasBehaviour

DEFAULT_ACCOUNT: Final = "123456789012"
DEFAULT_REGION: Final = "us-east-1"


class Platform(Enum):
    """Where AWS sees a workload run."""

    EKS = "eks"
    ECS = "ecs"
    AGENTCORE = "agentcore"
    """Bedrock AgentCore Runtime: many records an hour, told apart by their client token; no RegisterUsage."""
    NONE = "none"


class Claims(Enum):
    """How the token spells its claims."""

    CAMEL = "camel"
    PASCAL = "pascal"
    BOTH = "both"
    CONTRADICTING = "contradicting"


class Algorithm(Enum):
    """How the token is signed; AWS uses PS256 alone."""

    PS256 = "PS256"
    RS256 = "RS256"
    HS256 = "HS256"
    NONE = "none"


class Body(Enum):
    """What the body of a successful answer holds."""

    SIGNED = "signed"
    MISSING_SIGNATURE = "missing_signature"
    MISSING_RECORD_ID = "missing_record_id"
    EMPTY = "empty"
    HTML = "html"


class Reask(Enum):
    """Asked again after a denial: answered by today's subscription, or denied for good?"""

    ANSWERS = "answers"
    STICKY = "sticky"


class OffPlatform(Enum):
    """What MeterUsage says outside ECS and EKS; the model names no error for it."""

    PLATFORM_NOT_SUPPORTED = "PlatformNotSupportedException"
    NOT_ENTITLED = "CustomerNotEntitledException"
    ACCESS_DENIED = "AccessDeniedException"


class LateFrom(Enum):
    """Where the lateness of a timestamp is counted from: now, or the hour that now is in."""

    NOW = "now"
    HOUR = "hour"


class OtherAllocations(Enum):
    """The hour's quantity again, split differently: a duplicate, or taken for a repeat?"""

    DUPLICATE = "duplicate"
    IDEMPOTENT = "idempotent"


class TagCharacters(Enum):
    """The model's pattern `[a-zA-Z0-9+ -=._:\\/@]`: a list of characters, or with the range it spells?"""

    LISTED = "listed"
    RANGE = "range"


class DryRunStatus(Enum):
    """HTTP status of DryRunOperation; 412 is what EC2 answers."""

    BAD_REQUEST = 400
    PRECONDITION_FAILED = 412


@dataclass(frozen=True, kw_only=True)
class Behaviour(LicenseBehaviour, SaasBehaviour):
    """Every setting, those of License Manager and of SaaS products with them.

    Those about callers hold for each access key that was not defined.
    """

    account: str = DEFAULT_ACCOUNT
    region: str = DEFAULT_REGION
    """The region of this endpoint, and where undefined callers run."""
    platform: Platform = Platform.EKS
    allowed: bool = True
    """Whether the callers' role may call; false answers AccessDeniedException."""
    disabled: bool = False
    """DisabledApiException for every RegisterUsage."""
    quotas: float = 0.0
    """How many times AWS's published quotas are kept, in real time; 0: none is."""
    reask: Reask = Reask.ANSWERS
    superseded: tuple[int, ...] = ()
    """Public key versions that still answer, with PublicKeyRotationTimestamp set."""
    issued_keys_expired: bool = False
    """Keys from AssumeRoleWithWebIdentity count as expired, although STS says otherwise."""
    claims: Claims = Claims.CAMEL
    iat: bool = True
    iat_offset_seconds: float = 0.0
    exp_past: bool = False
    """Whether tokens have an `exp`, and it is an hour ago."""
    nbf_ahead: bool = False
    """Whether tokens have an `nbf`, and it is an hour ahead."""
    version_as_text: bool = False
    wrong_nonce: bool = False
    wrong_product: bool = False
    wrong_version: bool = False
    wrong_key: bool = False
    algorithm: Algorithm = Algorithm.PS256
    truncated: bool = False
    body: Body = Body.SIGNED
    meter_off_platform: OffPlatform = OffPlatform.PLATFORM_NOT_SUPPORTED
    dry_run_status: DryRunStatus = DryRunStatus.BAD_REQUEST
    dry_run_checks_subscription: bool = False
    late_seconds_max: float = 21600.0
    late_from: LateFrom = LateFrom.NOW
    early_seconds_max: float = 900.0
    """How far in the future a timestamp may be."""
    refuse_before_start: bool = False
    """Whether a timestamp before the workload's start, where that is known, is out of bounds."""
    other_allocations: OtherAllocations = OtherAllocations.DUPLICATE
    refuse_decimal_quantity: bool = False
    """Whether the decimal fields are a ValidationException."""
    refuse_integer_quantity: bool = False
    """Whether the deprecated integer fields are one."""
    allocations_max: int = 2500
    client_token_checked: bool = True
    tag_characters: TagCharacters = TagCharacters.LISTED
    tag_keys_max: int = 5
    """Distinct keys across all allocations of a request."""
    empty_tag_values: bool = False

    def changed(self, body: Mapping[str, object]) -> Self:
        """Return a copy with the settings that `body` names changed. Raises BadCommand, which names the setting."""
        read.only(body, {field.name for field in fields(self)})
        for name, value in body.items():
            if value is None:
                raise BadCommand(f"{name}: must not be null")
        if (read.number(body, "quotas") or 0) < 0:
            raise BadCommand("quotas: must not be negative; 0 keeps no quota")
        return replace(self, **{name: self._parsed(body, name) for name in body})

    def as_json(self) -> dict[str, object]:
        """Return every setting by its name, as `changed` takes it."""
        return {name: value.value if isinstance(value, Enum) else value for name, value in asdict(self).items()}

    def _parsed(self, body: Mapping[str, object], name: str) -> Any:
        """Return the setting's new value, of the type of its present value."""
        present = getattr(self, name)
        if isinstance(present, Enum):
            return read.choice(body, name, type(present))
        if isinstance(present, bool):
            return read.flag(body, name)
        if isinstance(present, int):
            return read.whole(body, name, least=1)
        if isinstance(present, float):
            return read.number(body, name)
        if isinstance(present, tuple):
            return read.whole_list(body, name, least=1)
        return read.text(body, name)
