"""Define how SaaS operations behave where AWS's pages are silent or disagree: settings of `Behaviour`.

Elsewhere: what each setting does (`batch_meter_usage`, `resolve_customer`, `get_entitlements`, `notices`).

Invariants:
- Each default is what the service model says, or the plainest reading of it; the other values are the other readings.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class SameRecord(Enum):
    """The status of a record that is sent again with its quantity: the model's, or that of AWS's own skill."""

    SUCCESS = "Success"
    DUPLICATE = "DuplicateRecord"


class BothIds(Enum):
    """A product code beside a license: refused, or billed twice?"""

    REJECT = "reject"
    DOUBLE = "double"


class MalformedCode(Enum):
    """The code of a request that the model forbids; it names none."""

    VALIDATION = "ValidationException"
    PARAMETER = "InvalidParameterException"


class UnknownIdentifier(Enum):
    """A CustomerIdentifier that does not exist: the whole call is refused, or its record is."""

    WHOLE_CALL = "InvalidCustomerIdentifierException"
    RECORD = "CustomerNotSubscribed"


class EndedLicense(Enum):
    """A license whose subscription has ended: its record is refused, or the whole call is."""

    RECORD = "CustomerNotSubscribed"
    WHOLE_CALL = "InvalidLicenseException"


class MonthGrace(Enum):
    """The six hours of a new month: a limit beside the 24 hours, or more time after them?"""

    LIMIT = "limit"
    EXTENSION = "extension"


class FinalHour(Enum):
    """Where the hour for the last records begins: when the end is announced, or at the end."""

    PENDING = "pending"
    ENDED = "ended"


class TokenAgain(Enum):
    """A registration token that is redeemed again."""

    ANSWERED = "answered"
    INVALID = "InvalidTokenException"
    EXPIRED = "ExpiredTokenException"


class NoticeLicense(Enum):
    """How an event names a license: as ResolveCustomer does, or without `arn:` as AWS's examples of events do."""

    ARN = "arn"
    BARE = "bare"


class BatchAnswer(Enum):
    """What BatchMeterUsage's answer lacks or changes; what it accepted is on the bill."""

    WHOLE = "whole"
    NO_RESULTS = "no_results"
    NO_RECORD_ID = "no_record_id"
    UNKNOWN_STATUS = "unknown_status"


@dataclass(frozen=True, kw_only=True)
class SaasBehaviour:
    """The settings of the operations for SaaS products."""

    saas_disabled: bool = False
    """DisabledApiException for every BatchMeterUsage and ResolveCustomer."""
    saas_calls_per_second: float = 0.0
    """BatchMeterUsage's quota for an account and region, in real time; 0 for none. AWS's is 10."""
    saas_malformed: MalformedCode = MalformedCode.VALIDATION
    saas_both_ids: BothIds = BothIds.REJECT
    saas_same_record: SameRecord = SameRecord.SUCCESS
    saas_unknown_identifier: UnknownIdentifier = UnknownIdentifier.WHOLE_CALL
    saas_ended_license: EndedLicense = EndedLicense.RECORD
    saas_account_with_product: bool = True
    """Whether a product code may come with an account in place of the older identifier."""
    saas_late_seconds_max: float = 86_400.0
    saas_early_seconds_max: float = 900.0
    saas_grace_seconds: float = 21_600.0
    """How long into a month usage of the month before is taken."""
    saas_month_grace: MonthGrace = MonthGrace.LIMIT
    saas_final_seconds: float = 3600.0
    saas_final_hour: FinalHour = FinalHour.PENDING
    saas_unprocessed_share: float = 0.0
    """Of the records of a call, 0 to 1: chosen at random, returned as UnprocessedRecords and not billed."""
    saas_shuffled: bool = True
    """Whether results come in another order than the records."""
    saas_answer: BatchAnswer = BatchAnswer.WHOLE
    saas_token_seconds: float = 14_400.0
    saas_token_again: TokenAgain = TokenAgain.ANSWERED
    saas_nulls: bool = False
    """Whether ResolveCustomer's absent members are null."""
    saas_notice_license: NoticeLicense = NoticeLicense.ARN
    entitlements_empty_page: bool = False
    """Whether GetEntitlements begins with an empty page that has a NextToken."""
    entitlements_absent: bool = True
    """Whether an empty list of entitlements is left out."""
