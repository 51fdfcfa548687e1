"""Fill in the hints of the error table with what is known here, as `run` does."""

from __future__ import annotations

from sidecar.doctor.context import IRSA_VARIABLES, Context
from sidecar.entitlement.classify import fill_hint
from sidecar.gate.hint_facts import hint_facts
from sidecar.marketplace.sdk_errors import CallFailed


def failure_hint(context: Context, failure: CallFailed, dimension: str = "") -> str:
    """Return the hint of the error table for a failed call, with what is known here filled in."""
    marketplace, settings = context.marketplace, context.settings
    skew = failure.skew_seconds
    after = (settings.on_denied.value, settings.reask_seconds) if settings else ("", 1)
    facts = hint_facts(context.env, *after) | {
        "host": marketplace.last_host(),
        "metering_host": marketplace.host(),
        "sts_host": marketplace.sts_host(),
        "region": marketplace.region,
        "role": context.env.get(IRSA_VARIABLES[0], "") or failure.caller,
        "partition": marketplace.partition(),
        "code": failure.code,
        "dimension": dimension,
        "skew": f"This host is {abs(skew)} s {'ahead of' if skew > 0 else 'behind'} AWS." if skew else "",
    }
    return fill_hint(failure.row.hint, facts)
