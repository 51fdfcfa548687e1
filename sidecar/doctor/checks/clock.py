"""Check this host's clock against the `Date` of AWS's answers.

The certificate is not verified for that: a clock that is far off is the reason why it would not verify.

Sources: AWS General Reference, "Signature Version 4" (a signature is good for five minutes); AWS's errors quote
fifteen, and no page says which one a service uses: the shorter counts here. RFC 9110 §6.6.1.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

from sidecar.clock import iso
from sidecar.doctor.checks.dns import NOTHING
from sidecar.doctor.context import Context
from sidecar.doctor.finding import Finding, failed, passed, skipped, warned
from sidecar.doctor.route import Route, read_headers, routes
from sidecar.marketplace import trust
from sidecar.remote_clock import FollowedClock

RULE: Final = (
    "This host's clock agrees with AWS's: AWS may refuse a signature that is five minutes off, the sidecar refuses an"
    " answer that is fifteen minutes off, and the hours that are billed begin and end by this clock."
)
WARN_SECONDS: Final = 5.0
FAIL_SECONDS: Final = 300.0
"""AWS may refuse a signature from there."""
HALF_A_SECOND: Final = 0.5
"""`Date` has whole seconds, cut off: on average it is half a second late."""
OFF: Final = "the clock is off"
NO_ANSWER: Final = "the clock of SIDECAR_CLOCK_URL does not answer"
FIXES: Final[Mapping[str, str]] = {
    OFF: "Synchronise the clock of this host, which containers share: `chronyc tracking` on the node; the Amazon Time"
    " Sync Service is at 169.254.169.123.",
    NO_ANSWER: "Start the emulator that SIDECAR_CLOCK_URL={url} names, or unset it: until it answers, this host's clock"
    " counts.",
}


def check(context: Context) -> Finding:
    """Return by how much this host's clock differs from that of the first AWS host that answers."""
    settings = context.settings
    if settings and settings.clock_url:
        return _followed(context, settings.clock_url)
    found = routes(context)
    if not found:
        return skipped(RULE, NOTHING)
    for route in found:
        if seconds := _difference(context, route):
            return _judged(route, *seconds)
    return skipped(RULE, "no AWS host answered with a Date (dns, tcp, proxy)")


def _judged(route: Route, skew: float, date: datetime) -> Finding:
    """`skew`: this host's clock minus AWS's, in seconds."""
    direction = "ahead of" if skew > 0 else "behind"
    seen = f"{abs(skew):.0f} s {direction} {route.aws.host}, which says {iso(date)}"
    if abs(skew) >= FAIL_SECONDS:
        return failed(RULE, seen, FIXES[OFF])
    if abs(skew) >= WARN_SECONDS:
        return warned(RULE, seen, FIXES[OFF])
    return passed(RULE, f"within {WARN_SECONDS:g} s of {route.aws.host}, which says {iso(date)}")


def _difference(context: Context, route: Route) -> tuple[float, datetime] | None:
    """Return this host's clock minus AWS's in seconds, and AWS's; None where it does not answer with a date."""
    if route.malformed or not context.network.attempt(route.peer).address:
        return None
    with context.sdk_environment():
        any_ = trust.tls_context(context.env, verify=False)
    before = context.now()
    try:
        date = parsedate_to_datetime(read_headers(context.network, route, any_).get("date", ""))
    except (OSError, ValueError, TypeError):
        return None
    date = date if date.tzinfo else date.replace(tzinfo=UTC)
    after = context.now()
    return (before - date).total_seconds() + (after - before).total_seconds() / 2 - HALF_A_SECOND, date


def _followed(context: Context, url: str) -> Finding:
    clock = FollowedClock(url)
    if not clock.refresh():
        return failed(RULE, f"SIDECAR_CLOCK_URL={url} does not answer", FIXES[NO_ANSWER].format(url=url))
    seen = f"SIDECAR_CLOCK_URL={url} says {iso(clock.now())}, and counts; this host says {iso(context.now())}"
    return passed(RULE, seen)
