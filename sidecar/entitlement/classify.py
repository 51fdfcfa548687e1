"""Look up what an answer of AWS or the SDK means for the gate.

`marketplace` gets the answer; `status` decides what the gate does with its class.

Invariants:
- Codes are matched on the string, case-sensitively; never on the HTTP status alone, since AWS's pages give several for
  the same code.
- `ExpiredTokenException` is decided by operation: botocore maps it to one class for all of them.
- An unknown code is a mistake in the configuration: the gate is shut, the code is in the hint, AWS is asked again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from sidecar.entitlement.answer import AnswerClass, AnsweredBy, ErrorRow
from sidecar.entitlement.error_table import ROWS

TABLE: Final[Mapping[tuple[str, AnsweredBy], ErrorRow]] = {
    (code, asked): row for row in ROWS for code in row.codes for asked in row.asked
}

UNKNOWN: Final = ErrorRow(
    codes=(),
    asked=(),
    answer=AnswerClass.CONFIG,
    reason="unknown_error",
    hint="AWS or its SDK answered {code}, which this version does not know. Look it up, and report it to the"
    " product's vendor; it is asked again.",
)

CLOCK_WORDS: Final = re.compile(r"expired|not yet current|earlier than|later than|skew", re.IGNORECASE)
"""How AWS words a signature refused for its date."""

ACCEPTED: Final = ("registered", "AWS Marketplace confirmed this workload; its answer verified.")
KEPT_ANSWER: Final = (
    "kept_answer",
    "AWS cannot be reached; an answer AWS gave this same workload before verified again. It is asked on.",
)
DRY_RUN_PASSED: Final = (
    "dry_run_passed",
    "AWS Marketplace would take usage of every dimension from this workload.",
)
KEPT_PASS: Final = (
    "kept_pass",
    "AWS cannot be reached; it took usage of every dimension from this same workload before. It is asked on.",
)
LICENSES_ALLOWED: Final = (
    "licenses_allowed",
    "AWS License Manager allows this workload every license that it needs.",
)
KEPT_CONTRACT: Final = (
    "kept_contract",
    "AWS License Manager cannot be reached; it allowed this same workload its licenses before. It is asked on.",
)


def classify(code: str, asked: AnsweredBy, message: str = "") -> ErrorRow:
    """Return the row for a code. `message` only tells a bad clock from a bad signature."""
    if CLOCK_WORDS.search(message) and (clock := TABLE.get((f"{code}:clock", asked))):
        return clock
    return TABLE.get((code, asked), UNKNOWN)


def classify_exception(names: tuple[str, ...], message: str = "") -> tuple[str, ErrorRow]:
    """Return the row for an SDK exception, given its class names from most to least specific."""
    for name in names:
        if CLOCK_WORDS.search(message) and (clock := TABLE.get((f"{name}:clock", AnsweredBy.SDK))):
            return name, clock
        if (name, AnsweredBy.SDK) in TABLE:
            return name, TABLE[name, AnsweredBy.SDK]
    return names[0], UNKNOWN


def fill_hint(hint: str, facts: Mapping[str, str]) -> str:
    """Return a hint with its placeholders filled in; an unknown fact becomes a phrase."""
    if facts.get("metering_host") == facts.get("sts_host") is not None:
        hint = hint.replace("{metering_host} and {sts_host}", "{metering_host}")
    for place, otherwise in PLACES.items():
        hint = hint.replace("{" + place + "}", facts.get(place) or otherwise)
    return hint.strip()


PLACES: Final[Mapping[str, str]] = {
    "host": "the AWS Marketplace metering endpoint",
    "metering_host": "the AWS Marketplace metering endpoint",
    "sts_host": "the STS endpoint",
    "region": "this region",
    "role": "the workload's role",
    "partition": "unknown",
    "code": "an unknown code",
    "license": "what the settings name",
    "dimension": "one of the dimensions",
    "skew": "",
    "again": "the sidecar asks again by itself, or at once with `entitlement-sidecar recheck`",
    "service_account": "the service account",
    "subject": "system:serviceaccount: with namespace and name of the pod's service account",
    "region_fix": "Set AWS_REGION.",
}
