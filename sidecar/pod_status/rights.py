"""Ask the API server whether the pod's account may write the condition and the events, without writing any.

Invariants:
- The rights are those that `writer` needs, in the pod's namespace; the one on the pod names the pod.
- Asking needs no right: the cluster grants it to every account that it knows.

Sources: kubernetes.io, "Checking API Access" (SelfSubjectAccessReview), "Using RBAC Authorization" (system:basic-user).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from sidecar.pod_status.access import ApiAccess
from sidecar.pod_status.writer import TIMEOUT_SECONDS, Server

REVIEWS: Final = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


class Right(NamedTuple):
    """A verb on a resource."""

    verb: str
    resource: str

    def __str__(self) -> str:
        return f"{self.verb} {self.resource}"


NEEDED: Final = (Right("patch", "pods/status"), Right("create", "events"), Right("patch", "events"))


def missing_rights(api: ApiAccess, timeout: tuple[float, float] = TIMEOUT_SECONDS) -> tuple[Right, ...]:
    """Return the rights that the account does not have.

    Raises OSError where the server does not answer, ApiServerError where it refuses.
    """
    server = Server.of(api, timeout)
    return tuple(right for right in NEEDED if not _has(server, api, right))


def _has(server: Server, api: ApiAccess, right: Right) -> bool:
    answer = server.ask("POST", REVIEWS, _review(api, right), "application/json")
    status = answer.get("status")
    if not isinstance(status, dict) or "allowed" not in status:
        raise OSError("what answers is not the Kubernetes API")
    return status["allowed"] is True


def _review(api: ApiAccess, right: Right) -> Mapping[str, object]:
    resource, _, subresource = right.resource.partition("/")
    asked = {"namespace": api.namespace, "verb": right.verb, "group": "", "resource": resource}
    if subresource:
        asked |= {"subresource": subresource, "name": api.pod}
    return {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": asked},
    }
