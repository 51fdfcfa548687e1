"""Check that the name of each machine that is connected to has an address here.

Behind a proxy that machine is the proxy: it looks up the names of AWS.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sidecar.doctor.context import Context
from sidecar.doctor.finding import Finding, failed, passed, skipped
from sidecar.doctor.network import is_private
from sidecar.doctor.route import Route, routes

RULE: Final = "The name of each AWS host that is asked, or of the proxy before it, has an address here."
MISSING: Final = "the name does not exist"
PROXY: Final = "the proxy's name does not exist"
VARIANT: Final = "AWS has no such endpoint here"
SILENT: Final = "no name server answers"
FIXES: Final[Mapping[str, str]] = {
    MISSING: "Check that AWS_REGION is a region of AWS Marketplace and that no private DNS zone hides {host}:"
    " `getent hosts {host}` on the node shows whether it is this container's name server alone that does not know it.",
    PROXY: "Correct {variable}: {host} does not exist. Or add the AWS hosts to NO_PROXY where they are reached"
    " directly.",
    VARIANT: "Remove {variables} from the container: in this region AWS may have no such endpoint as {host}.",
    SILENT: "Let this workload reach its name server (UDP and TCP port 53): the cluster's DNS pods and network policy,"
    " or the VPC's DNS settings (enableDnsSupport) and the task's security group.",
}
VARIANTS: Final = ("AWS_USE_FIPS_ENDPOINT", "AWS_USE_DUALSTACK_ENDPOINT")
"""Variables that ask for another endpoint of the same service."""
NOTHING: Final = "not checked: settings and region, which name the hosts, are not known"


def check(context: Context) -> Finding:
    """Return the addresses of each machine that is connected to."""
    found = routes(context)
    if not found:
        return skipped(RULE, NOTHING)
    return Finding.summed_up(RULE, [_one(context, route) for route in found])


def _one(context: Context, route: Route) -> Finding:
    host = route.peer.host
    found = context.network.lookup(host)
    name = f"{route.aws.host}, which the proxy looks up: {host}" if route.proxy else host
    if found.fault:
        return failed(RULE, f"{name}: {found.fault}", _fix(context, route, found.silent))
    if found.addresses == (host,):
        return passed(RULE, f"{name}: an address, no name")
    private = all(map(is_private, found.addresses))
    note = " (private: a VPC endpoint, or a name server of your own)" if private and not route.proxy else ""
    return passed(RULE, f"{name}: {', '.join(found.addresses)}{note}, {found.seconds * 1000:.0f} ms")


def _fix(context: Context, route: Route, silent: bool) -> str:
    if silent:
        return FIXES[SILENT]
    host = route.peer.host
    variables = [name for name in VARIANTS if context.env.get(name, "").lower() == "true"]
    if variables and not route.proxy:
        return FIXES[VARIANT].format(variables=" and ".join(variables), host=host)
    if route.proxy:
        return FIXES[PROXY].format(host=host, variable=route.variable)
    return FIXES[MISSING].format(host=host)
