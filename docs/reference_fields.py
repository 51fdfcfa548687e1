"""Hold the meaning of each field of `GET /v1/status` and of the audit copy.

Invariants:
- Keys are the code's own words; `tests/test_docs.py` compares them with the code both ways.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

STATUS_FIELDS: Final[Mapping[str, str]] = {
    "version": "version of the sidecar",
    "started_at": "when this worker started",
    "entitlement": "the gate",
    "entitlement.entitled": "whether the gate is open",
    "entitlement.status": "[status](statuses.md)",
    "entitlement.reason": "[reason](reasons.md)",
    "entitlement.hint": "the next step",
    "entitlement.checked_at": "when AWS was asked last",
    "entitlement.asking_since": "when the first check began",
    "entitlement.product_code": "product code",
    "entitlement.entitlement_check": "`register_usage`, `meter_usage` or `checkout_license`",
    "entitlement.public_key_version": "version of the public key that was asked for",
    "entitlement.public_key_superseded_at": "since when AWS has a newer key",
    "entitlement.public_key_weak_bits": "size of the key, if it is shorter than 2048 bits",
    "entitlement.kept_answer": "whether the gate is open on a kept answer",
    "entitlement.aws_error": "error code of AWS or its SDK",
    "entitlement.aws_request_id": "AWS's id of the request, for AWS Support",
    "workload": "who is metered",
    "workload.id": "uid of the pod, ARN of the task, or another id",
    "workload.kind": "`pod`, `task`, `named` (`SIDECAR_WORKLOAD_ID`) or `nameless`",
    "workload.*": "`pod`, `namespace`, `service_account` and `node`, or `cluster`, `launch_type` and `account`",
    "aws": "where AWS is asked, and as whom",
    "aws.region": "region",
    "aws.region_source": "what the region was found in",
    "aws.region_disagreement": "another source that names another region",
    "aws.partition": "partition, such as `aws` or `aws-cn`",
    "aws.host": "host of the metering endpoint",
    "aws.credential_source": "kind of the credentials",
    "aws.credential_caution": "why AWS may refuse these credentials",
    "aws.role": "role that they belong to",
    "licenses": "the contract; `null` where none is checked ([Hold seats](../howto/hold-seats.md))",
    "licenses.product_sku": "product ID",
    "licenses.license_arn": "license that AWS named",
    "licenses.ends_at": "end of the contract, where AWS tells it",
    "licenses.end_unknown": "why its end is not known: [reason](reasons.md), or `not_read_yet`",
    "licenses.granted": "licenses that AWS allowed: name, unit, value and `take`",
    "licenses.on_seat_lost": "what follows where a seat is lost",
    "licenses.seats": "each seat: its license, `expires_at`, when it was extended, since when it is lost, when AWS is"
    " asked next, and why that failed",
    "metering": "usage; `null` where no dimension is set",
    "metering.dimensions": "names of the dimensions",
    "metering.ledger": "the ledger",
    "metering.ledger.path": "its file",
    "metering.ledger.writable": "whether usage can be kept",
    "metering.ledger.reason": "why not: [reason](push-refusals.md)",
    "metering.ledger.hint": "the next step",
    "metering.ledger.bytes": "size of the file and its log",
    "metering.open_hour": "start of the hour in which usage counts now",
    "metering.records": "number of records in each [state](records.md)",
    "metering.oldest_unsettled_hour": "start of the oldest hour that AWS has not accepted",
    "metering.last_settled_at": "when AWS accepted a record last",
    "metering.overdue_since": "since when usage is overdue",
    "metering.passed_at": "when the metering loop last ran",
    "metering.quantities": "quantities of each dimension, as exact decimals; accepted = settled + waiting",
    "metering.quantities.*.accepted": "what the product reported",
    "metering.quantities.*.settled": "what AWS accepted",
    "metering.quantities.*.waiting": "what is on its way",
    "metering.quantities.*.written_off": "of what is settled, what AWS did not bill: `usage retry --accept-aws`",
    "metering.quantities.*.over_billed": "what AWS billed above what is settled: `usage retry --accept-aws`",
    "metering.held": "why records wait for AWS: each error with its reason, hint and oldest hour",
    "metering.quarantined": "what could not be processed and waits in the ledger: kind, what, error, since",
    "metering.claimed": "usage of workloads that no longer exist which a sidecar claimed and has not taken yet",
    "metering.orphaned": "rejected and disputed records of workloads that no longer exist",
    "metering.hint": "what keeps usage from being billed until a person acts, and the next step",
    "unused_ledgers": "ledgers in the state directory while no dimension is set: usage in them is not billed"
    " (`ledger.unused` in the log says what to do)",
    "sources": "each source that usage is pulled from: `source` (its name in log and metrics), `kind`, `dimension`,"
    " `read_at`, `series`, `counted` (since this worker started, before `scale`), `failing_since`, `reason`, `hint`",
    "kubernetes": "condition and events of the pod; `null` where they are not asked for",
    "kubernetes.condition": "`True` or `False` as the pod has it; `null` before the first write",
    "kubernetes.reachable": "whether the API server answers",
    "kubernetes.refused": "what it refuses: code, verb, resource, and what to grant",
    "loops": "each loop of the sidecar: `running` or `stopped`",
    "history": "the last 50 changes of the gate since this worker started, oldest first: `at`, `status` and `reason`",
}
"""Field of `GET /v1/status` → meaning."""

EXPORT_FIELDS: Final[Mapping[str, str]] = {
    "record": "`usage`",
    "workload": "the task or pod that the record is about",
    "product_code": "product code",
    "region": "AWS Region",
    "hour": "start of the hour",
    "dimension": "dimension",
    "state": "[state](records.md)",
    "quantity": "quantity of the record as it was sealed, as an exact decimal",
    "aws_quantity": "what AWS billed, where a person accepted that instead: `usage retry --accept-aws`",
    "metering_record_id": "AWS's receipt",
    "last_error": "[error](metering-answers.md) of the last answer",
    "attempts": "how often the record was sent",
    "rolled_to": "the later hour in which its usage is counted",
    "kind": "`meter_usage`, or `drawdown`: drawn from a license",
    "requests": "each request that was made for it: number, client token, body as sent, SHA-256 of the body, and when"
    " it was sealed",
    "answers": "each answer: when, to which client token, outcome, detail",
    "rolled_from": "amounts in it that missed their own hour: hour, amount, origin, why",
    "late_from": "late events in it: the hour they belong to, their number, their sum in millionths",
}
"""Field of a record's line in the audit copy → meaning."""

TOTAL_FIELDS: Final[Mapping[str, str]] = {
    "record": "`total`",
    "dimension": "dimension",
    "accepted": "what the product reported, ever",
    "settled": "what AWS accepted, ever",
    "waiting": "what is on its way",
    "written_off": "of what is settled, what AWS did not bill: a person accepted its smaller quantities",
    "over_billed": "what AWS billed above what is settled: a person accepted its larger quantities",
    "events": "number of events, ever",
    "balanced": "whether accepted = settled + waiting, to the last digit",
}
"""Field of a dimension's last line in the audit copy → meaning."""
