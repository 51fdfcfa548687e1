"""Read which pod this is from the downward API's variables and from the tokens that Kubernetes projects into it.

Invariants:
- `POD_UID` is `metadata.uid`: the same after a container restarts, another for each new pod, and so exactly what AWS
  Marketplace meters.
- A projected service-account token names the pod that it was issued to. An edit of the pod's variables does not change
  it, so it decides; `POD_UID` that says otherwise is an error. No token is verified here, none is kept or logged.

Sources: kubernetes.io, "Downward API"; "Managing Service Accounts", bound service account tokens (claim
`kubernetes.io`: `pod.uid`).
"""

from __future__ import annotations

import base64
import json
import os
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from sidecar.errors import Problem, SettingsError
from sidecar.quick_dataclasses import dataclass, replace

UID: Final = "POD_UID"
CONTAINER_PREFIX: Final = "entitlement-sidecar-"
"""Of the names that the chart gives under an alias. Other software sets CONTAINER_NAME too."""
IRSA_TOKEN: Final = "AWS_WEB_IDENTITY_TOKEN_FILE"  # noqa: S105 - the name of a variable
TOKENS: Final = (
    Path("/var/run/secrets/kubernetes.io/serviceaccount/token"),
    Path("/var/run/secrets/eks.amazonaws.com/serviceaccount/token"),
)
"""Where Kubernetes and the webhook of IRSA mount a token, whatever the variables say."""
TOKEN_BYTES_MAX: Final = 16_384


@dataclass(frozen=True, kw_only=True)
class Pod:
    """The pod, as the downward API names it; everything but `uid` may be empty."""

    uid: str
    name: str
    namespace: str
    service_account: str
    node: str
    container: str = ""
    """The container's name where it is not the usual one: two products in a pod have two."""


def in_kubernetes(env: Mapping[str, str]) -> bool:
    return bool(env.get(UID) or env.get("KUBERNETES_SERVICE_HOST"))


def read_pod(env: Mapping[str, str]) -> Pod | None:
    """Return the pod, or None without `POD_UID`."""
    uid = env.get(UID, "").strip()
    if not uid:
        return None
    name = env.get("CONTAINER_NAME", "").strip()
    return Pod(
        uid=uid,
        name=env.get("POD_NAME", ""),
        namespace=env.get("POD_NAMESPACE", ""),
        service_account=env.get("SERVICE_ACCOUNT", ""),
        node=env.get("NODE_NAME", ""),
        container=name if name.startswith(CONTAINER_PREFIX) else "",
    )


def bound_pod(env: Mapping[str, str], tokens: Iterable[Path] = TOKENS) -> Pod | None:
    """Return the pod, its uid confirmed or found by the tokens in it. Raises SettingsError where they contradict."""
    pod = read_pod(env)
    named = env.get(IRSA_TOKEN, "").strip()
    for path in (*tokens, *([Path(named)] if named else [])):
        uid = _pod_of_token(path)
        if uid is None:
            continue
        if pod and pod.uid != uid:
            fault = (
                f"is {pod.uid!r}, but the service-account token at {path} was issued to pod {uid!r}. Set {UID} from"
                " metadata.uid by the downward API."
            )
            raise SettingsError([Problem(setting=UID, fault=fault)])
        pod = pod or replace(NAMELESS_POD, uid=uid)
    return pod


NAMELESS_POD: Final = Pod(uid="", name="", namespace="", service_account="", node="")


def _pod_of_token(path: Path) -> str | None:
    """Return the pod's uid in a projected token; None where there is no such token, or it names no pod."""
    try:
        uid = token_claims(path)["kubernetes.io"]["pod"]["uid"]
    except (LookupError, TypeError):
        return None
    return uid.strip() or None if isinstance(uid, str) else None


def token_claims(path: Path) -> Mapping[str, Any]:
    """Return what a token says, not verified; empty where there is none, or it cannot be read."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(handle, "rb") as file:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                return {}
            payload = file.read(TOKEN_BYTES_MAX).split(b".")[1]
        claims: Any = json.loads(base64.urlsafe_b64decode(payload + b"=" * (-len(payload) % 4)))
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return {}
    return claims if isinstance(claims, dict) else {}
