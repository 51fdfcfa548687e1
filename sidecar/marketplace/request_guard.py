"""Refuse a request that cannot leave this host, before the SDK tries to send it.

The SDK reports a proxy that is no URL, or a line break in a credential, as a failure of the HTTP client: the same
class as an answer that breaks off. Here they are named, so that no attempt waits for an answer that cannot come, and an
hour whose request never left is not treated as possibly billed.

Invariants:
- Nothing of a proxy's URL or of a header is repeated in an error: both hold secrets.
- A proxy that is not used for this host (NO_PROXY) is not judged.
- The proxy is the one the SDK would use (`proxy`).

Sources: RFC 9110 §5.5 (field values).
"""

from __future__ import annotations

import re
from typing import Any, Final

from botocore.exceptions import BotoCoreError, HTTPClientError
from urllib3.exceptions import LocationValueError

from sidecar.marketplace import proxy

FIELD_VALUE: Final = re.compile(r"[\x20-\x7e]*")
"""What the headers of a signed request may hold. RFC 9110 lets tabs and Latin-1 through; no credential has either."""


class MalformedProxy(BotoCoreError):  # type: ignore[misc]
    """The proxy for this host is no URL of a proxy."""

    fmt = "the proxy is not http://HOST:PORT"


class MalformedCredentials(BotoCoreError):  # type: ignore[misc]
    """A credential holds a character that no header may have."""

    fmt = "a credential holds a line break or another character that no header may have"


def guard(request: Any, **_: Any) -> None:
    """Refuse what cannot be sent; a handler of the SDK's event `before-send`.

    Raises MalformedProxy or MalformedCredentials.
    """
    written = proxy.written_for(request.url)
    if written and not proxy.is_proxy(written):
        raise MalformedProxy()
    if not all(map(_is_field_value, request.headers.values())):
        raise MalformedCredentials()


def refused_by_client(exc: Exception) -> BotoCoreError | None:
    """Return what an error of the SDK's HTTP client means, where it is certain that nothing was sent; else None.

    The guard stands before it; this is for an address that only the HTTP client itself refuses.
    """
    if type(exc) is not HTTPClientError:  # its subclasses say what they mean
        return None
    wrapped = getattr(exc, "kwargs", {}).get("error")
    if isinstance(wrapped, LocationValueError):
        return MalformedProxy()  # the other address, AWS's own, comes from the SDK's rules
    if isinstance(wrapped, UnicodeEncodeError) or _illegal_header(wrapped):
        return MalformedCredentials()
    return None


def _illegal_header(error: object) -> bool:
    return isinstance(error, ValueError) and str(error).startswith("Invalid header value")  # http.client's words


def _is_field_value(value: object) -> bool:
    text = value.decode("latin-1") if isinstance(value, bytes) else str(value)
    return FIELD_VALUE.fullmatch(text) is not None
