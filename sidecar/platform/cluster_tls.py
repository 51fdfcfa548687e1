"""Make the TLS with which the Kubernetes API is asked from inside a pod.

Invariants:
- Only the cluster's own authority is trusted, and the server's name is compared.
- An authority without key identifiers is accepted. Kubernetes clusters that are years old have one, and Python 3.13
  refuses it by default.

Sources: kubernetes.io, "Accessing the Kubernetes API from a Pod" (ca.crt beside the token); docs.python.org, ssl,
"VERIFY_X509_STRICT"; RFC 5280, section 4.2.1.1.
"""

from __future__ import annotations

import ssl
from pathlib import Path


def cluster_tls(mount: Path) -> ssl.SSLContext:
    """Return what trusts the `ca.crt` of a service account's mount. Raises OSError where it cannot be read."""
    context = ssl.create_default_context(cafile=str(mount / "ca.crt"))
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context
