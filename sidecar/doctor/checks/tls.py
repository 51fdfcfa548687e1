"""Check that the certificate of each AWS host verifies, and show who issued it.

A proxy that opens TLS shows itself here: the certificate is its own, and the issuer is the company's.

Sources: openssl-verify(1) (the codes).
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Final

from sidecar.clock import iso
from sidecar.doctor import certificate
from sidecar.doctor.certificate import Certificate
from sidecar.doctor.checks.dns import NOTHING
from sidecar.doctor.checks.tcp import name_of
from sidecar.doctor.context import Context
from sidecar.doctor.finding import Finding, failed, passed, skipped
from sidecar.doctor.network import reason_of
from sidecar.doctor.route import Route, TunnelRefused, connected, routes, secured
from sidecar.marketplace import trust
from sidecar.printable import one_line

RULE: Final = "The certificate of each AWS host verifies against AWS_CA_BUNDLE, or the SDK's own list, for its name."
BUNDLE: Final = "AWS_CA_BUNDLE cannot be used"
ISSUER: Final = "the issuer is not trusted"
TIME: Final = "the certificate is not valid now"
NAME: Final = "the certificate is for another name"
NO_TLS: Final = "there is no TLS, or it breaks off"
FIXES: Final[Mapping[str, str]] = {
    BUNDLE: "Mount a readable PEM file with certificates at {bundle}, or remove AWS_CA_BUNDLE.",
    ISSUER: "Where a proxy or firewall opens TLS with its own CA: mount a PEM bundle with that CA and set"
    " AWS_CA_BUNDLE=/path/to/bundle.pem, or except {host} from inspection. Otherwise find out what answers there.",
    TIME: "Set this host's clock (`chronyc tracking` on the node); where it is right, the issuer of this"
    " certificate must renew it.",
    NAME: "Let {host} resolve to AWS or its VPC endpoint: what answers is {subject}.",
    NO_TLS: "Let TLS to {host} through: a firewall that filters by server name must allow it, and what answers there"
    " must be AWS, its VPC endpoint or a proxy that passes TLS on.",
}
EXPIRED: Final = frozenset({9, 10})
"""X509_V_ERR_CERT_NOT_YET_VALID, X509_V_ERR_CERT_HAS_EXPIRED."""
OTHER_NAME: Final = frozenset({62, 64})
"""X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH."""


def check(context: Context) -> Finding:
    """Return version, certificate and issuer for each host."""
    found = routes(context)
    if not found:
        return skipped(RULE, NOTHING)
    with context.sdk_environment():
        try:
            trusted, any_ = trust.tls_context(context.env), trust.tls_context(context.env, verify=False)
        except OSError as exc:
            bundle = context.env.get(trust.BUNDLE, "")
            seen = f"AWS_CA_BUNDLE={bundle}: {exc.strerror or 'it holds no certificate'}"
            return failed(RULE, seen, FIXES[BUNDLE].format(bundle=bundle))
    return Finding.summed_up(RULE, [_one(context, route, trusted, any_) for route in found])


def _one(context: Context, route: Route, trusted: ssl.SSLContext, any_: ssl.SSLContext) -> Finding:
    name = name_of(route)
    if route.aws.scheme == "http":
        return skipped(RULE, f"{route.aws.url} (SIDECAR_ENDPOINT_URL) is plain HTTP: there is no certificate")
    if route.malformed or not context.network.attempt(route.peer).address:
        return skipped(RULE, f"{name}: not reached (dns, tcp, proxy)")
    try:
        version, shown = _handshake(context, route, trusted)
    except TunnelRefused:
        return skipped(RULE, f"{name}: no tunnel (proxy)")
    except ssl.SSLCertVerificationError as exc:
        return _not_verified(context, route, exc, any_)
    except OSError as exc:
        seen = f"{name}: {reason_of(exc, context.network.seconds)}"
        return failed(RULE, seen, FIXES[NO_TLS].format(host=route.aws.host))
    by = ", verified with AWS_CA_BUNDLE" if context.env.get(trust.BUNDLE) else ""
    return passed(RULE, f"{name}: {version}, {_described(shown)}{by}")


def _handshake(context: Context, route: Route, trust_: ssl.SSLContext) -> tuple[str, Certificate | None]:
    """Return the version and the certificate. Raises OSError."""
    with connected(context.network, route, trust_) as sock, secured(sock, route.aws.host, trust_) as wrapped:
        return str(wrapped.version()), certificate.read(wrapped.getpeercert(True) or b"")


def _not_verified(context: Context, route: Route, exc: ssl.SSLCertVerificationError, any_: ssl.SSLContext) -> Finding:
    """Return why it does not verify, and whose it is."""
    try:
        _, shown = _handshake(context, route, any_)
    except OSError:
        shown = None
    kind = TIME if exc.verify_code in EXPIRED else NAME if exc.verify_code in OTHER_NAME else ISSUER
    subject = shown.subject if shown else "unknown"
    seen = f"{name_of(route)}: {one_line(exc.verify_message)}; {_described(shown)}"
    return failed(RULE, seen, FIXES[kind].format(host=route.aws.host, subject=subject))


def _described(shown: Certificate | None) -> str:
    if shown is None:
        return "a certificate that cannot be read"
    return f"certificate of {shown.subject}, issued by {shown.issuer}, until {iso(shown.ends_at)[:10]}"
