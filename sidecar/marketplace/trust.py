"""Make the TLS context with which the SDK calls AWS.

Invariants:
- The certificates it trusts are those the SDK trusts: AWS_CA_BUNDLE alone where it is set, else what the SDK ships.
- The context is made by the SDK's own function, so that versions and ciphers are the SDK's.

Sources: botocore's httpsession (`create_urllib3_context`, `get_cert_path`); AWS SDKs and Tools reference guide,
"AWS_CA_BUNDLE".
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Final

from botocore.httpsession import create_urllib3_context, get_cert_path

BUNDLE: Final = "AWS_CA_BUNDLE"


def tls_context(env: Mapping[str, str], verify: bool = True) -> ssl.SSLContext:
    """Return the context, which checks the host's name too, or one that verifies nothing.

    Raises OSError where the bundle cannot be read or holds no certificate.
    """
    context: ssl.SSLContext = create_urllib3_context()
    context.check_hostname = verify
    if verify:
        context.load_verify_locations(get_cert_path(env.get(BUNDLE) or True))
    else:
        context.verify_mode = ssl.CERT_NONE
    return context
