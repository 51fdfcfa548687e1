"""Check that a connection to each AWS host, or to the proxy before it, is taken."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sidecar.doctor.checks.dns import NOTHING
from sidecar.doctor.context import Context
from sidecar.doctor.finding import Finding, failed, passed, skipped, warned
from sidecar.doctor.network import shown
from sidecar.doctor.route import Route, routes

RULE: Final = "Each AWS host that is asked, or the proxy before it, takes a TCP connection from here."
REFUSED: Final = "the connection is refused"
SILENT: Final = "no address answers"
FIRST_SILENT: Final = "only a later address answers"
PROXY: Final = "the proxy accepts no connection"
FIXES: Final[Mapping[str, str]] = {
    REFUSED: "Nothing listens at {peer}, or a firewall rejects: compare SIDECAR_ENDPOINT_URL where it is set, and allow"
    " egress to TCP port {port}.",
    SILENT: "Allow egress to TCP port {port} of {host}: security group, network policy, route to a NAT gateway, VPC"
    " endpoint; or name a proxy in HTTPS_PROXY.",
    FIRST_SILENT: "Allow egress to the addresses that do not answer, or take them out of DNS: each call waits for them"
    " first. Where they are IPv6, give this workload IPv6 egress or unset AWS_USE_DUALSTACK_ENDPOINT.",
    PROXY: "Correct {variable}, start the proxy at {peer} or allow egress to it; or add the AWS host to NO_PROXY where"
    " it is reached directly.",
}


def check(context: Context) -> Finding:
    """Return the address and the time of each connection."""
    found = routes(context)
    if not found:
        return skipped(RULE, NOTHING)
    return Finding.summed_up(RULE, [_one(context, route) for route in found])


def _one(context: Context, route: Route) -> Finding:
    peer, name = route.peer, name_of(route)
    if context.network.lookup(peer.host).fault:
        return skipped(RULE, f"{name}: no address (dns)")
    found = context.network.attempt(peer)
    tried = "".join(f", after {fault}" for fault in found.faults)
    if found.address:
        seen = f"{name}: {shown(found.address, peer.port)} in {found.seconds * 1000:.0f} ms{tried}"
        return warned(RULE, seen, FIXES[FIRST_SILENT]) if tried else passed(RULE, seen)
    fix = FIXES[PROXY if route.proxy else REFUSED if found.refused else SILENT]
    filled = fix.format(peer=peer, host=peer.host, port=peer.port, variable=route.variable)
    return failed(RULE, f"{name}: {'; '.join(found.faults)}", filled)


def name_of(route: Route) -> str:
    """Return the AWS host, and the proxy before it."""
    return f"{route.aws.host} through {route.proxy}" if route.proxy else route.aws.host
