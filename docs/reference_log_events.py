"""Hold the meaning of each log event.

Invariants:
- Keys are the code's own words; `tests/test_docs.py` compares them with the code both ways.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

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
    "server.error": "The worker broke, hung, was killed for want of memory or could not be started: `text` says which."
    " Another one follows.",
    "sdk_variable.ignored": "A variable is set that could move the AWS SDK's host, certificates or credentials, or the"
    " instance's metadata. Neither the SDK nor the sidecar follows it.",
    "server.warning": "The worker was ended by a signal, or is gone: `text` names both. Another one follows.",
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
