"""Hold the texts of the reference that no table in the code has.

Elsewhere: log events (`reference_log_events`), fields of documents (`reference_fields`).

Invariants:
- Keys are the code's own words; `tests/test_docs.py` compares them with the code both ways.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

STATUSES: Final[Mapping[str, str]] = {
    "pending": "The first check has not ended, or AWS could not be asked yet. Retries go on.",
    "entitled": "The customer may run the product. The gate is open.",
    "denied": "AWS says no, or its answer does not verify.",
    "unavailable": "AWS could not be asked for longer than `SIDECAR_STARTUP_RETRY_SECONDS`. Retries go on.",
    "misconfigured": "A person must change something: a role, a region, a key, a network rule. Retries go on.",
}
"""Status of the gate → meaning."""

STATUS_EVENTS: Final[Mapping[str, str]] = {
    "accepted": "AWS's answer verified, or a kept answer verified again",
    "denied": "AWS says no, or its answer does not verify",
    "config": "AWS or its SDK reports a mistake in the configuration",
    "retry": "a transient failure, within `SIDECAR_STARTUP_RETRY_SECONDS` of the start",
    "retry_late": "a transient failure, later than that",
    "config_late": "a failure that counts as a mistake in the configuration only because it lasted longer than that",
}
"""Event of the status machine → meaning."""

LISTING_SEVERITIES: Final[Mapping[str, str]] = {
    "error": "AWS Marketplace refuses the listing, or its customers cannot run or trust it.",
    "warning": "AWS advises against it, or refuses it for some listings only.",
    "note": "Worth knowing. Nothing has to change, and the command ends with 0.",
}
"""Severity of a rule of `listing check` → meaning."""

LISTING_KINDS: Final[Mapping[str, str]] = {
    "chart": "Charts: `--chart`",
    "image": "Images: `--image`",
    "task-definition": "Task definitions: `--task-definition`",
    "manifest": "Product manifests: `--manifest`",
}
"""What `listing check` checks → title of its section."""

ANSWER_CLASSES: Final[Mapping[str, str]] = {
    "DENY": "`denied`",
    "CONFIG": "`misconfigured`",
    "RETRY": "`pending`, later `unavailable`",
    "RETRY_THEN_CONFIG": "`pending`, later `misconfigured`",
}
"""Class of an answer (name in the code) → status it leads to."""

ASKED: Final[Mapping[str, str]] = {
    "REGISTER_USAGE": "RegisterUsage",
    "METER_USAGE": "MeterUsage",
    "CHECKOUT_LICENSE": "CheckoutLicense",
    "CHECK_IN_LICENSE": "CheckInLicense",
    "EXTEND_LICENSE": "ExtendLicenseConsumption",
    "GET_LICENSE": "GetLicense",
    "STS": "STS",
    "ACCESS_TOKEN": "GetAccessToken",
    "LICENSE_ROLE": "STS, by license token",
    "SDK": "the SDK",
    "TOKEN": "",
}
"""What gave the answer (name in the code) → as the reasons page shows it."""

PLACEHOLDERS: Final[Mapping[str, str]] = {
    "host": "HOST",
    "metering_host": "METERING HOST",
    "sts_host": "STS HOST",
    "license": "LICENSE",
    "region": "REGION",
    "role": "ROLE",
    "partition": "PARTITION",
    "code": "CODE",
    "dimension": "DIMENSION",
    "skew": "",
    "again": "the sidecar asks again by itself, or at once with `entitlement-sidecar recheck` (with"
    " `SIDECAR_ON_DENIED=exit` it says that the sidecar ends)",
    "service_account": "the service account",
    "subject": "system:serviceaccount:NAMESPACE:SERVICE_ACCOUNT",
    "region_fix": "What follows depends on the pod: a service account without the annotation, a webhook without a"
    " region, a variable that names none; on ECS, task metadata that cannot be read.",
}
"""Field of a hint → what stands for its value."""

OTHER_REASONS: Final[Mapping[str, tuple[str, str]]] = {
    "active_again": (
        "log",
        "AWS refused a record since its customer was not subscribed; it is now, so it is sent again.",
    ),
    "customer_not_resolved": (
        "log",
        "A notice is about a customer whose registration token was never resolved here. Nothing is to be done.",
    ),
    "database_failed": (
        "log, `/readyz` of the service, `POST /v1/usage` of the service",
        "The database failed in an unexpected way; keep the log. Pushes are refused until it answers.",
    ),
    "not_leading": (
        "`POST /v1/usage/retry` of the service",
        "Another replica seals and sends, and it alone decides. Send the same again; `GET /v1/status` says `leads`.",
    ),
    "notice_unreadable": ("`POST /v1/notices`", "The body is no notice of SNS or EventBridge that this version knows."),
    "other_product": (
        "`POST /v1/customers/resolve`, log",
        "A registration token, or a notice, is for a product that is none of `SIDECAR_SAAS_PRODUCTS`.",
    ),
    "queue_refused": (
        "log, `GET /v1/status` of the service",
        "SQS refuses. Allow `sqs:ReceiveMessage` and `sqs:DeleteMessage` on the queue of `SIDECAR_SAAS_QUEUE_URL`.",
    ),
    "queue_unreachable": ("log, `GET /v1/status` of the service", "SQS was not asked: no route, or no credentials."),
    "customer_closed": (
        "log, `last_error`, `POST /v1/usage` of the service",
        "The customer's subscription ends or has ended, and its last hours are sealed: no more usage is taken. What"
        " could not be billed waits for a person.",
    ),
    "customer_unknown": (
        "`POST /v1/usage` of the service",
        "No customer is kept under what the event names. Send the customer's token to `/v1/customers/resolve` first.",
    ),
    "answer_incomplete": (
        "`POST /v1/customers/resolve`",
        "AWS's answer names no product code, or no customer. Ask again; if it lasts, look for a proxy in between.",
    ),
    "asking": ("`/entitled`", "AWS has not answered the first check yet."),
    "registered": ("`/entitled`", "AWS confirmed this workload by `RegisterUsage`, and its answer verified."),
    "dry_run_passed": (
        "`/entitled`",
        "AWS would accept usage of every dimension: the dry runs of `MeterUsage` passed.",
    ),
    "kept_answer": ("`/entitled`", "AWS cannot be reached; the answer kept from before the restart verified again."),
    "kept_pass": ("`/entitled`", "AWS cannot be reached; it accepted usage of every dimension before the restart."),
    "metering_overdue": (
        "`/entitled`, `/readyz`",
        "No usage could be reported for `SIDECAR_METERING_OVERDUE_SECONDS`, and `SIDECAR_ON_METERING_OVERDUE` is"
        " `shut` or `not_ready`. The log event `metering.overdue` says what to do.",
    ),
    "ledger_opening": (
        "`/entitled`",
        "AWS let this workload run, and the ledger of its usage is being opened; the gate opens then. Where it cannot"
        " be opened, the reason is the [ledger's own](push-refusals.md) (`SIDECAR_ON_LEDGER_UNUSABLE`).",
    ),
    "ledger_stuck": (
        "`/entitled`, `/readyz`",
        "The disk under `SIDECAR_STATE_DIR` does not answer. Look at the node's kernel log and the volume.",
    ),
    "seat_lost": (
        "`/entitled`",
        "A seat of the contract is lost, and `SIDECAR_ON_SEAT_LOST` is `shut`. It is checked out again by itself; the"
        " hint and the log event `seat.lost` say why it was lost. [Hold seats](../howto/hold-seats.md).",
    ),
    "nothing_signed": (
        "`POST /v1/proof`",
        "AWS signs the answers of `RegisterUsage` alone, and the entitlement is checked in another way.",
    ),
    "bad_settings": (
        "termination message",
        "The settings contradict the task or pod, such as a `SIDECAR_WORKLOAD_ID` that is not the pod's uid. The"
        " process ends with exit code 78; the log says which setting.",
    ),
    "kept_other_workload": ("`kept_refused`", "The kept answer was given to another task or pod."),
    "kept_other_product": ("`kept_refused`", "The kept answer is for another product code."),
    "kept_other_key_version": ("`kept_refused`", "The kept answer is for a public key version that is not configured."),
    "kept_other_dimensions": ("`kept_refused`", "A configured dimension is not among those that AWS accepted before."),
    "licenses_allowed": ("`/entitled`", "License Manager allows this workload every license that it needs."),
    "kept_contract": (
        "`/entitled`",
        "License Manager cannot be reached; within the last seven days it allowed this workload its licenses.",
    ),
    "kept_other_licenses": (
        "`kept_refused`",
        "A license that is needed now is not among those AWS allowed before.",
    ),
    "kept_seat_returned": (
        "`kept_refused`",
        "A seat that License Manager allowed before was given back since; another copy may hold it.",
    ),
    "kept_too_old": (
        "`kept_refused`",
        "License Manager allowed the licenses more than seven days ago, or the clock was wrong then or is now.",
    ),
    "kept_unreadable": ("`kept_refused`", "The file of the kept answer cannot be read. The next answer replaces it."),
    "child_failed": (
        "`usage test-records`, `kubernetes` in `/v1/status`",
        "The process that calls AWS or the API server ended without a result. Raise the memory limit if it repeats.",
    ),
}
"""Reason that no answer of AWS leads to → where it is shown, what it means."""

STATES: Final[Mapping[str, str]] = {
    "open": "The hour still accepts usage.",
    "sealed": "Quantity and request are frozen on disk. AWS has not accepted or refused the record for good.",
    "settled": "AWS gave a metering record id. Final.",
    "disputed": "AWS holds another quantity for the hour. A person must decide.",
    "expired": "Too late for AWS, and certainly not billed. Its usage goes into the open hour.",
    "rejected": "AWS refused the record, or may have billed it without an answer. A person must decide.",
    "rolled_forward": "Its usage is counted in a later hour. Final.",
}
"""State of a record → meaning."""

MOVES: Final[Mapping[str, str]] = {
    "seal": "the hour ended, or the workload ends",
    "settle": "AWS gives a metering record id",
    "hold": "AWS can neither accept nor refuse it yet; the same request is sent again later",
    "repair": "AWS refuses tags or client token; a new request is sealed and sent at once",
    "dispute": "AWS holds another quantity",
    "expire": "too late, and certainly not billed",
    "reject": "only a person can help, or it is too late and may have been billed",
    "roll_forward": "its usage is counted in the open hour",
    "retry": "a person sends it again: `usage retry`",
    "confirm": "a person has AWS's receipt: `usage retry --confirm`",
    "accept_aws": "a person accepts the quantity that AWS billed: `usage retry --accept-aws`",
}
"""What moves a record → in words."""

DISPOSITIONS: Final[Mapping[str, str]] = {
    "settle": "settled",
    "hold": "sealed, sent again later",
    "repair": "sealed with a new request, sent at once",
    "dispute": "disputed",
    "expire": "expired, then counted in the open hour",
    "reject": "rejected",
}
"""What AWS's answer means → what the record is then."""

PUSH_REASONS: Final[Mapping[str, str]] = {
    "body_malformed": "Send UTF-8 JSON: one event, or an array of events.",
    "no_events": "The array is empty. Send at least one event.",
    "event_malformed": "Send each event as a JSON object in which no name is given twice.",
    "field_unknown": "Remove the field. There are `dimension`, `quantity`, `id`, `at`, `tags` and `key`.",
    "field_missing": "Send both `dimension` and `quantity`.",
    "quantity_malformed": 'Send a JSON number or a text of plain digits, such as `3` or `"0.25"`.',
    "id_malformed": "Send `id` as text.",
    "at_malformed": "Send `at` as ISO 8601 with an offset, or as epoch seconds.",
    "tags_malformed": "Send `tags` as an object of text by text.",
    "key_malformed": "Send `key` as text.",
    "dimension_malformed": "Send `dimension` as text.",
    "dimension_unknown": "Send a name from `SIDECAR_DIMENSIONS`, or add it there.",
    "id_conflict": "The same `id` was sent before with other content. Give each event its own id.",
    "body_too_large": "Send at most 1 MiB in one request.",
    "too_many_events": "Send at most 1 000 events in one request.",
    "quantity_out_of_range": "Send up to six decimal places, 0 or more, below the limit that the detail names.",
    "id_out_of_range": "Send an `id` of 1 to 128 characters.",
    "at_out_of_range": "Send an instant that the calendar has.",
    "at_in_future": "Send an instant at most 5 minutes ahead of the sidecar's clock. Check both clocks.",
    "tag_not_allowed": "Send only tag keys that the dimension's `tags` allow.",
    "tag_out_of_range": "Send a tag value of the characters and the length that the detail names.",
    "key_required": "The dimension counts different keys (`aggregation: unique`). Send `key`.",
    "key_not_allowed": "Only a dimension with `aggregation: unique` takes `key`. Remove it.",
    "key_out_of_range": "Send a `key` of 1 to 256 characters.",
    "hour_sealed": "The hour is closed, and a `max`, `last` or `unique` dimension cannot be added to later. Send such"
    " events within their hour.",
    "too_many_tag_sets": "One hour of one dimension takes 10 000 tag sets (AWS takes 2 500 of them). Tag by what the"
    " bill is split by. Tag sets that the hour has are still taken.",
    "too_many_keys": "One hour of one dimension takes 1 000 000 distinct keys. Count users or devices, not requests."
    " Keys that the hour has are still taken.",
    "workload_unknown": "The sidecar does not know yet which task or pod is metered. Send it again in a second;"
    " `GET /v1/status` says what is missing.",
}
"""Reason of a refused push → what to do. Those of the ledger have their text in the code."""

EXIT_CODES: Final[Mapping[int, str]] = {
    0: "Done.",
    1: "Not done: not entitled (`healthcheck`), not accepted by AWS (`usage test-records`), or the demo failed.",
    2: "The command line is wrong; stderr says how.",
    65: "The input was refused, and would be refused again.",
    69: "No sidecar or AWS could be asked, an address is taken, or the wait timed out.",
    70: "The sidecar itself broke. The log and the termination message say where.",
    77: "AWS says no, or its answer does not verify.",
    78: "A setting or a file is wrong. Nothing was started.",
    126: "`exec`: the command cannot be executed.",
    127: "`exec`: the command was not found.",
    130: "Interrupted (Ctrl-C).",
}
"""Exit code → meaning."""
