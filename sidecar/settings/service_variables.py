"""Recognize the `SIDECAR_*` variables that Kubernetes injects for Services.

For each Service of the namespace the kubelet sets Docker-link style variables, named after the Service in upper case. A
Service called `sidecar` or `sidecar-…` therefore puts names with our prefix into every pod. They are not settings.

Invariants:
- Name and form of the value must both match, so that a mistake such as `SIDECAR_PORT=8484` is still reported.

Sources: kubernetes.io, "Service", section on environment variables for discovering services.
"""

from __future__ import annotations

import re
from typing import Final

FORMS: Final = (
    (re.compile(r"SIDECAR(_[A-Z0-9_]+)?_SERVICE_HOST"), re.compile(r"[0-9a-fA-F.:]+")),
    (re.compile(r"SIDECAR(_[A-Z0-9_]+)?_SERVICE_PORT(_[A-Z0-9_]+)?"), re.compile(r"[0-9]+")),
    (re.compile(r"SIDECAR(_[A-Z0-9_]+)?_PORT"), re.compile(r"(tcp|udp|sctp)://\S+")),
    (re.compile(r"SIDECAR(_[A-Z0-9_]+)?_PORT_[0-9]+_(TCP|UDP|SCTP)"), re.compile(r"(tcp|udp|sctp)://\S+")),
    (re.compile(r"SIDECAR(_[A-Z0-9_]+)?_PORT_[0-9]+_(TCP|UDP|SCTP)_PROTO"), re.compile(r"tcp|udp|sctp")),
    (re.compile(r"SIDECAR(_[A-Z0-9_]+)?_PORT_[0-9]+_(TCP|UDP|SCTP)_PORT"), re.compile(r"[0-9]+")),
    (re.compile(r"SIDECAR(_[A-Z0-9_]+)?_PORT_[0-9]+_(TCP|UDP|SCTP)_ADDR"), re.compile(r"[0-9a-fA-F.:]+")),
)


def is_injected(name: str, value: str) -> bool:
    """Return whether this is a variable of a Service, and no setting."""
    return any(names.fullmatch(name) and form.fullmatch(value) for names, form in FORMS)
