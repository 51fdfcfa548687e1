"""Define the words of the error table: the class of an answer, who gave it, and a row.

The rows are in `aws_errors` and `client_errors`, the look-up in `classify`.
"""

from __future__ import annotations

from enum import Enum
from typing import Self

from sidecar.quick_dataclasses import dataclass


class AnswerClass(Enum):
    """The class of an answer."""

    ACCEPTED = "accepted"
    DENY = "deny"
    """Final: the customer may not run it, or the answer is not AWS's."""
    CONFIG = "config"
    """A person must change something here."""
    RETRY = "retry"
    """Transient."""
    RETRY_THEN_CONFIG = "retry_then_config"
    """Transient at first; once the start-up budget is spent, a mistake."""


class AnsweredBy(Enum):
    """Who gave the answer."""

    REGISTER_USAGE = "RegisterUsage"
    METER_USAGE = "MeterUsage"
    """A dry run: would AWS take usage of a dimension from us?"""
    CHECKOUT_LICENSE = "CheckoutLicense"
    CHECK_IN_LICENSE = "CheckInLicense"
    EXTEND_LICENSE = "ExtendLicenseConsumption"
    GET_LICENSE = "GetLicense"
    STS = "AssumeRoleWithWebIdentity"
    ACCESS_TOKEN = "GetAccessToken"  # noqa: S105 - an operation, not a secret
    LICENSE_ROLE = "AssumeRoleWithWebIdentity by license token"
    """The same operation of STS, with what GetAccessToken gave: a refusal means something else."""
    SDK = "client"
    """No service answered: credentials, names, routes, TLS."""
    TOKEN = "token"  # noqa: S105 - a place, not a secret
    """AWS answered, and the answer does not verify."""


@dataclass(frozen=True, kw_only=True)
class ErrorRow:
    """One line of the table."""

    codes: tuple[str, ...]
    asked: tuple[AnsweredBy, ...]
    answer: AnswerClass
    reason: str
    hint: str
    once_more: bool = False
    """Asked again at once, with everything fresh, before it is believed."""
    unreachable: bool = False
    """AWS could not say yes or no: a kept answer may stand in for it."""

    @classmethod
    def of(
        cls,
        codes: str,
        asked: tuple[AnsweredBy, ...],
        answer: AnswerClass,
        reason: str,
        hint: str,
        *,
        once_more: bool = False,
        unreachable: bool | None = None,
    ) -> Self:
        """Return a row. `codes` are separated by blanks; `unreachable` follows the class unless it is given."""
        transient = answer in (AnswerClass.RETRY, AnswerClass.RETRY_THEN_CONFIG)
        return cls(
            codes=tuple(codes.split()),
            asked=asked,
            answer=answer,
            reason=reason,
            hint=hint,
            once_more=once_more,
            unreachable=transient if unreachable is None else unreachable,
        )
