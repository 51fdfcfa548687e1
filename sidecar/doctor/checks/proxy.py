"""Check which proxy each AWS host is asked through, and that it opens a tunnel there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sidecar.doctor.checks.dns import NOTHING
from sidecar.doctor.context import Context
from sidecar.doctor.finding import Finding, failed, passed, skipped
from sidecar.doctor.network import reason_of
from sidecar.doctor.route import Route, TunnelRefused, connected, routes
from sidecar.marketplace import trust

RULE: Final = "The proxy in HTTPS_PROXY opens a tunnel (CONNECT) to each AWS host that NO_PROXY does not except."
MALFORMED: Final = "the variable names no proxy"
CREDENTIALS: Final = "the proxy wants other credentials (407)"
FORBIDDEN: Final = "the proxy does not allow this host (403)"
REFUSED: Final = "the proxy opens no tunnel"
FIXES: Final[Mapping[str, str]] = {
    MALFORMED: "Set {variable}=http://HOST:PORT (or http://NAME:PASSWORD@HOST:PORT, both percent-encoded).",
    CREDENTIALS: "Set {variable}=http://NAME:PASSWORD@HOST:PORT with credentials that the proxy takes, percent-encoded;"
    " only Basic authentication is possible.",
    FORBIDDEN: "Let the proxy allow CONNECT to {target}, or add {host} to NO_PROXY where it is reached directly.",
    REFUSED: "Let the proxy at {proxy} reach {target} and allow CONNECT to it; its own log says why it did not.",
}
BY_STATUS: Final[Mapping[int, str]] = {407: CREDENTIALS, 403: FORBIDDEN, 405: FORBIDDEN}


def check(context: Context) -> Finding:
    """Return for each host whether a proxy is used, and whether it opens a tunnel."""
    found = routes(context)
    if not found:
        return skipped(RULE, NOTHING)
    if not any(route.variable for route in found):
        return skipped(RULE, "no proxy is set: AWS is asked directly")
    return Finding.summed_up(RULE, [_one(context, route) for route in found])


def _one(context: Context, route: Route) -> Finding:
    host = route.aws.host
    if route.malformed:
        seen = f"{host}: {route.variable} is not http://HOST:PORT (not shown: it may hold a password)"
        return failed(RULE, seen, FIXES[MALFORMED].format(variable=route.variable))
    if route.proxy is None:
        reason = f"NO_PROXY excepts it from {route.variable}" if route.variable else "no proxy is set"
        return passed(RULE, f"{host}: asked directly, {reason}")
    where = f"{host}: {route.proxy} ({route.variable})"
    if not context.network.attempt(route.peer).address:
        return skipped(RULE, f"{where}: not reached (dns, tcp)")
    if not route.tunnelled:
        return passed(RULE, f"{where}: plain HTTP, sent without a tunnel")
    return _tunnel(context, route, where)


def _tunnel(context: Context, route: Route, where: str) -> Finding:
    target = f"{route.aws.host}:{route.aws.port}"
    facts = {"variable": route.variable, "target": target, "host": route.aws.host, "proxy": str(route.proxy)}
    try:
        with context.sdk_environment():
            trusted = trust.tls_context(context.env)
        with connected(context.network, route, trusted):
            return passed(RULE, f"{where}: opens a tunnel to {target}")
    except TunnelRefused as exc:
        fix = FIXES[BY_STATUS.get(exc.status, REFUSED)]
        return failed(RULE, f"{where}: answers {exc.status} to CONNECT {target}", fix.format(**facts))
    except OSError as exc:
        seen = f"{where}: {reason_of(exc, context.network.seconds)}"
        return failed(RULE, seen, FIXES[REFUSED].format(**facts))
