"""Write the text of each page of the reference around its tables.

Invariants:
- Tables come from the code (`reference_tables`, `reference_commands`); a text stands here only where the code has none.
- Each page says on its first line that it is generated.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import reference_commands
import reference_tables as tables

NOTICE: Final = "<!-- Generated from the code by `python docs/generate.py`. Change the code, then run it again. -->\n\n"


def page(title: str, *parts: str, see: Mapping[str, str]) -> str:
    """Return a page: its title, its parts with an empty line between them, and where to read on."""
    links = "".join(f"- [{text}]({target})\n" for target, text in see.items())
    body = "\n\n".join(part.strip("\n") for part in parts)
    return f"{NOTICE}# {title}\n\n{body}\n\n## See also\n\n{links}"


def settings() -> str:
    return page(
        "Settings",
        "For operators and sellers: everything that can be set. *Setting* is the environment variable, *Meaning*"
        " says what it does and in which unit, *Default* is its value where it is not set.",
        "The same setting is `--on-denied` as a flag of `run`, `SIDECAR_ON_DENIED` in the environment, and"
        " `on_denied` in the file that `SIDECAR_CONFIG` names and in the product manifest. The product manifest"
        " comes first: what it names cannot be changed from outside. Then come the flag, the environment, the file"
        " and the default.",
        "`healthcheck`, `wait`, `exec`, `recheck`, `report`, `usage` and `doctor` cannot see the flags of another"
        " process. Where listeners move, set them in the environment or in the file.",
        tables.settings(),
        "An unknown `SIDECAR_*` variable is an error, except those that Kubernetes injects for a Service named"
        " `sidecar`. All wrong settings are listed at once, and the process ends with exit code 78.",
        "## Not settings",
        "The region is found: from the ECS task's ARN, else `AWS_REGION`, else `AWS_DEFAULT_REGION`, else the"
        " instance. The AWS SDK reads `HTTPS_PROXY`, `NO_PROXY` (never for link-local addresses), `AWS_CA_BUNDLE`,"
        " `AWS_USE_FIPS_ENDPOINT` and `AWS_USE_DUALSTACK_ENDPOINT` itself, and the variables of IRSA and of the task"
        " role. It sees no other variable and no file of a home directory: `AWS_ENDPOINT_URL` and its variants,"
        " profiles, `REQUESTS_CA_BUNDLE`, `AWS_DATA_PATH`, `AWS_EC2_METADATA_SERVICE_ENDPOINT` and the"
        " like are ignored, and the log events `endpoint.ignored` and `sdk_variable.ignored` say so.",
        "## JSON Schemas",
        "For editors and builds: [settings.schema.json](settings.schema.json) is the schema of the settings file,"
        " [product-manifest.schema.json](product-manifest.schema.json) that of the product manifest.",
        see={
            "commands.md": "Commands: `settings` shows the effective settings, each with its source",
            "../howto/seal-your-product.md": "Seal your product into the image",
            "../howto/report-usage.md": "Report usage: the fields of a dimension",
        },
    )


def reasons() -> str:
    return page(
        "Reasons",
        "For an operator whose gate is closed. *Reason* is the word in the health check's line, in `/entitled`, in"
        " the log and in the pod's condition; it never changes. *Said* is the error code of AWS or its SDK, with the"
        " operation in parentheses where it matters. *Status* is what `/entitled` shows. Words in capitals, such as"
        " ROLE, stand for what the hint names.",
        tables.reasons(),
        "## Other reasons",
        "No answer of AWS leads to these. `kept_refused` is a field of the log: it says why a kept answer opened"
        " nothing; the `token_…` reasons stand there too.",
        tables.other_reasons(),
        "Reasons of HTTP itself, such as `not_found`, are in [HTTP](http.md#reasons).",
        see={
            "../howto/troubleshoot.md": "Troubleshoot: symptom, command, fix",
            "statuses.md": "Statuses",
            "metering-answers.md": "Metering answers: the same for usage records",
            "../explanation/entitlement.md": "How the entitlement check works",
        },
    )


def doctor() -> str:
    return page(
        "Doctor's checks",
        "For an operator who reads the output of `entitlement-sidecar doctor`: every check, in the order in which they"
        " run. *Rule* is what must be true, *Needs* names the checks without which it is skipped.",
        tables.doctor_checks(),
        "A check is `pass`; `warn`, where it works and should be changed all the same; `fail`; or `skip`, where it does"
        " not apply or needs one that failed. The command ends with 1 where one fails, else with 0. Account numbers are"
        " masked up to their last four digits.",
        "## The document of `--json`",
        "```json\n"
        '{"ok": false, "checks": [{"id": "region", "status": "fail", "seen": "…", "rule": "…", "fix": "…"}]}\n```',
        "`ok` is false where a check fails. `fix` is empty where nothing is to be done; several are a line each.",
        "## Fixes",
        "Words in capitals stand for what the check found. Some fixes come whole from what was found: the hint of a"
        " [reason](reasons.md), or the fault of a [setting](settings.md).",
        tables.doctor_fixes(),
        see={
            "../howto/troubleshoot.md": "Troubleshoot: how to run it in a pod or task, and symptoms",
            "commands.md": "Commands: `doctor`",
            "reasons.md": "Reasons",
        },
    )


def listing_rules() -> str:
    return page(
        "Rules of a listing",
        "For a seller who reads the output of `entitlement-sidecar listing check`: every rule, what AWS says, and the"
        " fix. An id never changes; `--ignore` takes it.",
        tables.listing_severities(),
        tables.listing_rules(),
        "## The document of `--json`",
        "```json\n"
        '{"ok": false,\n'
        ' "targets": [{"kind": "image", "name": "shop.tar", "complete": true, "rules_checked": 26,'
        ' "rules_not_checked": 0}],\n'
        ' "findings": [{"rule": "image-non-root", "severity": "error", "kind": "image", "target": "shop.tar",\n'
        '               "file": null, "line": null, "column": null, "place": "linux/amd64, User", "seen": null,\n'
        '               "message": "…", "title": "…", "aws": "…", "fix": "…", "source": "…"}],\n'
        ' "not_checked": [{"rule": "chart-lint", "kind": "chart", "target": "charts/shop", "reason": "…"}],\n'
        ' "ignored": {"image-labels": 1},\n'
        ' "summary": {"error": 1, "warning": 0, "note": 0}}\n```',
        "`ok` is false where there is an error or a warning. `complete` is false where a target could not be read; then"
        " only the rules of its findings were checked. `place` is inside the target: a path in an image, a field or a"
        " key.",
        see={
            "../howto/check-the-listing.md": "Check the listing: on a laptop and in a build",
            "commands.md": "Commands: `listing check`",
            "../howto/build-the-image.md": "Build the image",
        },
    )


def statuses() -> str:
    return page(
        "Statuses",
        "For operators, and for developers who read `/entitled`: the five statuses of the gate, and how one leads to"
        " the next. *HTTP* is the status code of `/entitled`. The gate is open in `entitled` and in no other status.",
        tables.statuses(),
        "## Transitions",
        "A row is the status before, a column what happens, a cell the status after.",
        tables.status_transitions(),
        tables.status_events(),
        see={
            "../explanation/entitlement.md": "How the entitlement check works, with the drawing of these statuses",
            "reasons.md": "Reasons",
            "http.md": "HTTP: `/entitled`",
        },
    )


def records() -> str:
    return page(
        "Records",
        "For operators and accountants. A usage record is what one hour owes for one dimension. *State* is the word in"
        " `entitlement-sidecar usage` and in the metric `usage_records`.",
        tables.states(),
        "## Transitions",
        "What is not listed cannot happen: `settled` and `rolled_forward` are final.",
        tables.record_transitions(),
        see={
            "../explanation/billing.md": "How usage is billed",
            "../howto/resolve-records.md": "Resolve records that wait for a person",
            "metering-answers.md": "Metering answers",
        },
    )


def metering_answers() -> str:
    return page(
        "Metering answers",
        "For an operator whose usage is not settled: what each answer to `MeterUsage` means. *Reason* is in the log"
        " and in `GET /v1/status`. *Said* is the error code of AWS or its SDK, as in `last_error` of a record. A"
        " record that AWS accepted has the reason `settled`.",
        tables.metering_answers(),
        "## Drawn from a license\n\nWhat each answer to `CheckoutLicense` means for usage that is [drawn from a"
        " license](../howto/drawdown.md). What is about credentials, routes or throttling is above.\n\n"
        + tables.drawdown_answers(),
        see={
            "records.md": "Records",
            "../howto/resolve-records.md": "Resolve records that wait for a person",
            "../howto/troubleshoot.md": "Troubleshoot",
            "../explanation/billing.md": "How usage is billed",
        },
    )


def saas_answers() -> str:
    return page(
        "SaaS answers",
        "For the seller who runs `entitlement-sidecar saas`: what AWS's answers mean. Whatever is not here is about the"
        " call and not about a record or a token: see [metering answers](metering-answers.md).",
        "## BatchMeterUsage\n\nA refusal that is about one record fails the whole call and bills nothing: the batch is"
        " halved until that record stands alone. *Said* is the error code, or the status of a record.\n\n"
        + tables.batch_answers(),
        "## ResolveCustomer\n\nWhat `POST /v1/customers/resolve` answers.\n\n" + tables.resolve_answers(),
        "## Usage\n\nWhy `POST /v1/usage` of the service refused events, beside the reasons of"
        " [push refusals](push-refusals.md).\n\n" + tables.customer_refusals(),
        "## Database\n\nWhat the service says of `SIDECAR_DATABASE_URL`: it ends with 78 where it cannot start, and"
        " refuses usage with 503 and the reason while it runs.\n\n" + tables.database_reasons(),
        see={
            "metering-answers.md": "Metering answers",
            "records.md": "Records",
        },
    )


def push_refusals() -> str:
    return page(
        "Push refusals",
        "For developers of the product: why `POST /v1/usage` refused events. *Reason* is in the problem document and"
        " never changes. 503 means that the events are not known to be kept: send the same again, with their `id`s. Any"
        " other status means that they are wrong.",
        tables.push_refusals(),
        see={
            "http.md": "HTTP: `POST /v1/usage`",
            "../howto/report-usage.md": "Report usage",
            "../howto/troubleshoot.md": "Troubleshoot",
        },
    )


def pod_events() -> str:
    return page(
        "Pod events",
        "For operators on Kubernetes. The sidecar writes these events for its own pod, and `kubectl describe pod` shows"
        " them. *Type* is the type of the Kubernetes event.",
        tables.pod_events(),
        "The pod's condition `entitlement-sidecar.io/entitled` is `True` or `False`, with the [reason](reasons.md) in"
        " CamelCase and the hint as message. A missing condition counts as `False`.",
        see={
            "../howto/pod-status.md": "Show the entitlement on the pod",
            "reasons.md": "Reasons",
            "log-events.md": "Log events",
        },
    )


def metrics() -> str:
    return page(
        "Metrics",
        "For people who build dashboards and alerts: every metric of `GET /metrics`. All names begin with"
        " `entitlement_sidecar_`. *Alert when* is the condition of the alert in the chart's PrometheusRule; metrics"
        " without one are for dashboards.",
        tables.metrics(),
        "For each dimension, `usage_quantity_accepted_total` = `usage_quantity_settled_total` +"
        " `usage_quantity_waiting`: what the product reported, what AWS accepted, and what waits.",
        "## Alerts of the chart",
        "In the order of the PrometheusRule that `prometheusRule.enabled` renders.",
        tables.alerts(),
        see={
            "../howto/alerts.md": "Set up alerts",
            "../howto/runbook.md": "Runbook of the alerts",
            "../howto/troubleshoot.md": "Troubleshoot",
            "log-events.md": "Log events",
        },
    )


def log_events() -> str:
    return page(
        "Log events",
        "For operators, and for rules on logs. The sidecar writes one JSON object a line to stdout, with `at`, `level`,"
        " `event` and fields that depend on the event. Look into every event of level `error`.",
        "Never in a log: tokens, nonces, credentials, public keys, bodies of requests.",
        tables.log_events(),
        see={
            "../howto/alerts.md": "Set up alerts",
            "../howto/troubleshoot.md": "Troubleshoot",
            "metrics.md": "Metrics",
            "settings.md": "Settings: `SIDECAR_LOG_LEVEL`",
        },
    )


def http() -> str:
    return page(
        "HTTP",
        "For developers of the product and for operators: every route. The *probe listener* (port 8484, every"
        " address) has the probe routes and nothing else. The *product's listener* (`127.0.0.1:8485`) has all of"
        " them. Probe routes answer from memory: they never wait for AWS, for a disk or for another client.",
        tables.routes(),
        "A running sidecar describes the same as OpenAPI 3.1 at `GET /openapi.json`; [here](openapi.json) is that"
        " document, for generators of clients.",
        "A refusal is a problem document (`application/problem+json`, RFC 9457) with `status`, `title`, `detail`, a"
        " `reason` that never changes and, where it is about one of several events, their `index` from 0.",
        "## Who may ask the product's listener",
        "The probe listener answers anyone who reaches it. The product's listener refuses what a web page in a browser"
        " could send: a request with an `Origin` that is not its own, one with `Sec-Fetch-Site: cross-site` or"
        " `same-site`, and one whose `Host` is neither a loopback name or address, nor the address it arrived at, nor"
        " one of [`SIDECAR_API_HOSTS`](settings.md). Ports in `Host` are not compared. Clients that are no browser send"
        " no `Origin`, and notice nothing as long as they ask by a name that is known.",
        "It may be a Unix socket: `SIDECAR_API_BIND=unix:/run/gate/api.sock`. Then the permissions of the file say who"
        " may connect ([Report usage](../howto/report-usage.md#over-a-unix-socket)). A socket has no address, so `Host`"
        " is a loopback name, as in `http://localhost/v1/usage`, or one of `SIDECAR_API_HOSTS`. The other rules hold"
        " too: a forwarder may make a port of a socket.",
        "With `SIDECAR_API_TOKEN_FILE` every route of it but the probes needs `Authorization: Bearer` and the token."
        " Product and sidecar mount the same Secret; in the chart, with `extraVolumes`, `extraVolumeMounts` and"
        " `config.api_token_file`. The sidecar reads the file at its start, its commands each time. Set one where other"
        " pods or machines reach the listener.",
        "## Routes",
        tables.route_sections(),
        "## Fields of `GET /v1/status`",
        "Instants are ISO 8601 in UTC. A field is `null` where there is nothing to say. `*` stands for a name: a"
        " dimension, or a word of the platform.",
        tables.status_fields(),
        "## Lines of the audit copy",
        "`GET /v1/usage/export` and `entitlement-sidecar usage export` give one JSON object a line: first a line for"
        " each record, oldest first, then one for each dimension with its totals.",
        tables.export_fields(),
        tables.total_fields(),
        "## Reasons",
        "Any route may answer with these. A usage route has [its own](push-refusals.md) besides.",
        tables.http_reasons(),
        see={
            "push-refusals.md": "Push refusals",
            "statuses.md": "Statuses",
            "../howto/report-usage.md": "Report usage",
            "../explanation/architecture.md": "Architecture",
        },
    )


def commands() -> str:
    return page(
        "Commands",
        "For operators, and for authors of entrypoints and scripts: every command of `entitlement-sidecar`."
        " `entitlement-sidecar COMMAND --help` prints the same.",
        reference_commands.commands(),
        "## Exit codes",
        reference_commands.exit_codes(),
        "## Each command",
        reference_commands.command_sections(),
        see={
            "settings.md": "Settings",
            "../howto/troubleshoot.md": "Troubleshoot",
            "../howto/resolve-records.md": "Resolve records that wait for a person",
            "emulator.md": "The emulator",
            "../tutorial.md": "Tutorial",
        },
    )
