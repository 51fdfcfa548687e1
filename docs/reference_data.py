"""Hold the texts of the reference that no table in the code has.

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

LOG_EVENTS: Final[Mapping[str, str]] = {
    "batch.halved": "AWS refused a whole call of the SaaS service for one record of it; its halves are sent, down to"
    " that record. Nothing of the refused call was billed.",
    "customer.not_resolved": "A registration token named no customer of ours. `reason` says why; the token is not"
    " logged.",
    "customer.resolved": "A registration token was resolved, and its customer is kept.",
    "leader.began": "This replica seals and sends from here on.",
    "leader.ended": "This replica seals and sends no more.",
    "leader.lost": "Another replica has begun to lead. Nothing was written, and what was under way is sent again"
    " unchanged.",
    "notice.applied": "A subscription notice of AWS Marketplace was applied to a customer; `state` is the state then.",
    "notice.ignored": "A notice is about a product or a customer that is not known here.",
    "notice.unreadable": "A message of the queue is no notice. It is deleted, or it would come for ever.",
    "pass.failed": "A pass of the SaaS service met what it cannot digest: an error of ours. The next pass tries again.",
    "push.failed": "A push met an error of ours and was answered 500; whether it is kept is not known.",
    "queue.failed": "SQS cannot be asked. It is tried again; logged once for each reason.",
    "saas.started": "The SaaS service listens.",
    "saas.stopped": "The SaaS service ended after SIGTERM.",
    "store.failed": "The database of the SaaS service fails. Pushes are answered 503; logged once for each reason.",
    "certificate.held": "The injector's certificate could not be renewed. It is tried again each second.",
    "certificate.replaced": "Connections that begin now see a new certificate of the injector.",
    "injector.not_started": "The injector cannot listen. It ends with 69.",
    "injector.started": "The injector listens.",
    "injector.stopped": "The injector ended after SIGTERM.",
    "pod.injected": "A pod got the sidecar. Where its name is generated, `pod` is what the name begins with.",
    "pod.refused": "A pod that asked for the sidecar cannot have it. The events of its ReplicaSet or Job say why.",
    "webhook.updated": "The webhook configuration was made to trust the injector's authorities.",
    "answer.save_failed": "A verified answer could not be written to the state directory. The gate is open.",
    "answer.reopened": "A kept answer opened the gate after a restart, while AWS could not be asked.",
    "answer.unsigned": "The check is `meter_usage` or `checkout_license`, no answer to which has a signature that can"
    " be verified, and `AWS_CA_BUNDLE` is set: proxy, hosts file or DNS, plus that CA, let another server answer in"
    " AWS's place.",
    "child.failed": "A child process ended without a result: `code` says how, `crash` where.",
    "clock.jumped": "The wall clock was changed, or the host was suspended, by `seconds`.",
    "license.check_in_failed": "A license that was checked out could not be given back: its name, AWS's code, and when"
    " it comes back by itself. Until then another copy of the product may find no free seat.",
    "endpoint.ignored": "`AWS_ENDPOINT_URL` or one of its variants is set. The sidecar does not follow it.",
    "gate.held": "Metering or a lost seat keeps the gate closed, as the settings say.",
    "gate.opened": "The gate opened.",
    "gate.shut": "The gate has been closed for a minute. Logged once each time it closes, with everything an operator"
    " needs: `status`, `reason`, `hint`, and `command`, which finds out more: `entitlement-sidecar doctor`.",
    "server.error": "An error of the HTTP server, in its own words.",
    "server.refused": "The installed gunicorn cannot carry the sidecar's worker. The process ends with exit code 70.",
    "sdk_variable.ignored": "A variable is set that could move the AWS SDK's host, certificates or credentials, or the"
    " instance's metadata. Neither the SDK nor the sidecar follows it.",
    "server.debug": "A message of the HTTP server, for debugging.",
    "server.warning": "A warning of the HTTP server, in its own words.",
    "hour.sealed": "An hour was closed for good, with the quantity of each dimension.",
    "kubernetes.held": "The API server does not answer. Condition and events are sent again later.",
    "kubernetes.recovered": "The pod's condition and events are up to date again.",
    "kubernetes.refused": "The API server refuses condition or events. The hint names the verb and resource to grant.",
    "kubernetes.unconfigured": "A token for the API is mounted, but the variables in `missing` are not set.",
    "ledger.commit_in_doubt": "A ledger is used without its last commit, which is not whole. After a power cut that is"
    " normal, and its pushes were not acknowledged. Otherwise the disk changed it.",
    "ledger.failed": "The disk does not keep usage, and pushes are refused. `reason` says why.",
    "ledger.opened": "The ledger is open: its path, and the number of records in each state.",
    "ledger.passed_over": "A newer version wrote the ledger. It was left untouched, and a new one begun beside it.",
    "ledger.recovered": "The disk keeps usage again.",
    "ledger.removed": "The ledger of a workload which no longer exists was removed: all of it was settled or taken"
    " over, longer ago than records are kept. Its totals are in `usage export`.",
    "ledger.set_aside": "A ledger that could not be read was renamed, and a new one begun. Keep the file.",
    "loop.stopped": "A loop of the sidecar broke. The liveness probe restarts the container.",
    "metering.denied": 'AWS answered the first real record with "not entitled".',
    "metering.overdue": "Nothing could be reported for `SIDECAR_METERING_OVERDUE_SECONDS`: AWS accepted no record, the"
    " ledger failed, or its open hour lies in the future.",
    "metering.recovered": "Usage can be reported again.",
    "metering.stopped": "The final flush is over. `running_hour` says whether the running hour was sealed.",
    "ledger.unused": "No dimension is set, and these ledgers stand in the state directory. Usage that waits in them is"
    " not billed.",
    "listener.file_not_written": "Ports are free ones, and the file with them could not be written (state directory).",
    "listener.exposed": "The product's listener is reachable from outside the pod or task, and no token is set.",
    "pricing.mixed": "Dimensions are set, and AWS is asked by `RegisterUsage`. AWS names the two as alternatives.",
    "proof.refused": "AWS did not sign the product's nonce, or what it signed did not verify. The gate stays as it is.",
    "proof.signed": "AWS signed the product's nonce, and the answer verified.",
    "public_key.superseded": "AWS has rotated the public key. Ship an image with the newer one.",
    "public_key.weak": "The public key is shorter than 2048 bits.",
    "quantity.decimal_refused": "AWS refused a whole quantity in the decimal field and took it in the integer one:"
    " until the next start later hours are sealed for that.",
    "record.disputed": "AWS holds another quantity for the hour. A person must decide.",
    "record.expired": "Too late for AWS, and certainly not billed. The usage is counted in the open hour.",
    "record.held": "AWS could neither accept nor refuse the record. It is sent again at `retry_at`. An error where a"
    " license is used up or missing.",
    "record.rejected": "AWS refused the record, or may have billed it. A person must decide.",
    "record.repaired": "AWS refused tags, client token or the decimal field. A new request was sealed, and is sent at"
    " once.",
    "record.resolved": "A person decided about a record that waited: `act`, and the record as it is then. With"
    " `aws_quantity`, AWS billed that instead of `quantity`.",
    "record.settled": "Billed: account, role, region, product, workload, hour, quantity and AWS's metering record id."
    " `used_in` names the earlier hours in which some of it was used.",
    "region.disagreed": "The environment names another region than the task's.",
    "registration.accepted": "AWS's answer verified, or every dry run passed.",
    "registration.denied": "AWS says no.",
    "registration.held": "AWS could not be asked, or was busy. It is asked again after `retry_in_seconds`.",
    "registration.refused": "A person must change something. `reason` and `hint` say what.",
    "request.failed": "A route broke. The client got 500 `internal_error`.",
    "contract.end_unknown": "The contract's end cannot be read, for this reason. Everything else works.",
    "contract.ended": "The contract has ended, as far as AWS tells. What runs goes on.",
    "contract.ending": "The contract ends within 30, 7 or 1 days (`within_days`), each told once.",
    "contract.renewed": "The contract runs longer than was told.",
    "seat.checked_in": "A seat of the contract was given back at the end. `already`: AWS did not know it any more.",
    "seat.clock_jumped": "The clock was set, or the host was suspended, by `seconds`: AWS is asked about every seat.",
    "seat.extended": "A seat was extended, until `expires_at`.",
    "seat.extension_failed": "A seat could not be extended yet. It is held until `expires_at`, and tried again.",
    "seat.left": "A seat was not given back at the end, for this reason. It comes back by itself at `expires_at`.",
    "seat.lost": "A seat expired while AWS was away, or AWS refuses another. `on_seat_lost` says what follows.",
    "seat.save_failed": "The seats could not be written to the state directory: a restart would take others.",
    "seat.taken_again": "A seat that was over or lost was checked out again.",
    "shutdown.announced": "The pod has begun to end (`pre-stop`). Closed hours are settled now; the final flush begins"
    " with SIGTERM, or after `flush_in_seconds`.",
    "shutdown.forced": "The product still runs and the grace is nearly over: the running hour is sealed and sent, and"
    " pushes are refused.",
    "sidecar.ending": "The sidecar ends by itself, with this exit code and for this reason.",
    "source.began": "A source was read for the first time. `counts_from` is `zero`, or `reading`: what a counter had"
    " counted before is not billed.",
    "source.broken": "An error of the sidecar while a source was read; its usage waits. Report it to the vendor.",
    "source.failed": "A source of usage cannot be read. Its usage waits; the hint says what to do.",
    "source.gap": "Between two counts of the cluster was more time than is counted.",
    "source.recovered": "A source that failed was read again, with all that came since.",
    "source.untagged": "A label's value is no tag; its usage is counted without the tag.",
    "source.waiting": "The product does not listen yet; its page of metrics is read once it does.",
    "sources.unfinished": "At the end a source did not answer in time: usage since its last reading is not counted.",
    "sidecar.started": "Version, product, dimensions and listeners.",
    "sidecar.stopped": "The process ended, with this exit code.",
    "token.rejected": "AWS's answer does not verify.",
    "usage.adopted": "Usage that a workload which no longer exists left on this volume was taken over.",
    "usage.claimed": "Usage of a workload that no longer exists was claimed by a sidecar which has not taken it. The"
    " line says how much, and where.",
    "usage.ids_unread": "The ids that another workload on this volume has kept could not be read while it runs, so that"
    " what its product sends again to this one may count twice. The line says why.",
    "usage.left_behind": "The workload ended with usage that is not settled. One line for each record, whole. `as_of`:"
    " the disk could not be read any more, and this is what the last pass found; then `rest` is all but the records.",
    "usage.adoption_failed": "The ledger of a workload which no longer exists could not be taken over: it cannot be"
    " read, or a newer version wrote it.",
    "usage.outstanding": "The final flush begins with this usage not settled. One line for each record, whole, before"
    " anything that can take long; where `metering.stopped` does not follow, it may be what is left.",
    "usage.orphaned": "A rejected or disputed record of a workload that no longer exists. A person must decide; the"
    " line has everything there is to know.",
    "usage.postponed": "The clock was ahead, or is behind: usage waits for an hour in the future. The line says which"
    " hour, how much, and what to do.",
    "usage.quarantined": "Something could not be processed: a record, a dimension's usage, or a step of the loop. It"
    " stays in the ledger and is tried again; everything else goes on. `what` names it, `error` and `where` say why.",
    "usage.rolled_forward": "The usage of an expired, disputed or rejected record is counted in the open hour.",
    "usage.unanswered": "The outcome of a record of a workload which no longer runs is unknown. It is sent again if"
    " that workload comes back in time; otherwise `usage.orphaned` follows.",
    "usage.unconfigured": "Usage of a dimension that is no longer configured waits. The line says how much, and where.",
}
"""Log event → meaning."""


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
