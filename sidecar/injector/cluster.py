"""Ask the cluster's API for the two objects that are the injector's: its Secret, and its webhook configuration.

Invariants:
- Only objects of the given names are touched, one request after the other with a short timeout, never through a proxy.
- A Secret is written as it was read: where another injector was faster, `Conflict` is raised and nothing is written.
- The token is read for each request: the kubelet renews it. Neither the token nor a body is repeated in an error.

Sources: kubernetes.io, "Accessing the Kubernetes API from a Pod"; API concepts ("Resource versions", "Patch").
"""

from __future__ import annotations

import base64
import binascii
import http.client
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from sidecar.platform.cluster_tls import cluster_tls
from sidecar.quick_dataclasses import dataclass

MOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
TIMEOUT_SECONDS: Final = 5.0
BYTES_MAX: Final = 4 << 20
ENTRY: Final = "authorities.json"
WEBHOOK: Final = "inject.entitlement-sidecar.io"


class ClusterError(Exception):
    """The API server did not do what it was asked for; its text says what it answered, and the fix."""


class Conflict(ClusterError):
    """Another injector wrote the object first."""


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """The API server, and the two objects."""

    host: str
    port: int
    namespace: str
    secret: str
    webhook: str
    mount: Path = MOUNT

    def kept(self) -> tuple[Mapping[str, Any], bytes]:
        """Return the Secret as it is, and what it keeps; empty where it keeps nothing."""
        found = self._ask("GET", self._secret_path())
        try:
            return found, base64.b64decode((found.get("data") or {}).get(ENTRY, ""))
        except binascii.Error:
            return found, b""

    def keep(self, secret: Mapping[str, Any], content: bytes) -> None:
        """Write what the Secret keeps. Raises Conflict where it is no more as it was read."""
        data = {**(secret.get("data") or {}), ENTRY: base64.b64encode(content).decode()}
        self._ask("PUT", self._secret_path(), {**secret, "data": data})

    def trusted(self) -> tuple[int, str]:
        """Return which of the configuration's webhooks is ours, and the certificates that it is recognised by (PEM)."""
        found = self._ask("GET", self._webhook_path())
        for at, one in enumerate(found.get("webhooks") or []):
            if one.get("name") == WEBHOOK:
                text = (one.get("clientConfig") or {}).get("caBundle") or ""
                return at, base64.b64decode(text).decode("ascii", "replace")
        raise ClusterError(f"webhook configuration {self.webhook!r} has no webhook {WEBHOOK}: install the chart again")

    def trust(self, at: int, bundle: str) -> None:
        """Write the certificates by which the webhook is recognised."""
        value = base64.b64encode(bundle.encode()).decode()
        patch = [
            {"op": "test", "path": f"/webhooks/{at}/name", "value": WEBHOOK},
            {"op": "add", "path": f"/webhooks/{at}/clientConfig/caBundle", "value": value},
        ]
        self._ask("PATCH", self._webhook_path(), patch, "application/json-patch+json")

    def _secret_path(self) -> str:
        return f"/api/v1/namespaces/{self.namespace}/secrets/{self.secret}"

    def _webhook_path(self) -> str:
        return f"/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/{self.webhook}"

    def _ask(self, method: str, path: str, body: object = None, kind: str = "application/json") -> dict[str, Any]:
        """Return the object that the server answers with. Raises ClusterError."""
        try:
            token = (self.mount / "token").read_text().strip()
            context = cluster_tls(self.mount)
            connection = http.client.HTTPSConnection(self.host, self.port, timeout=TIMEOUT_SECONDS, context=context)
            headers = {"Authorization": f"Bearer {token}", "Accept": "application/json", "Content-Type": kind}
            try:
                connection.request(method, path, None if body is None else json.dumps(body), headers)
                response = connection.getresponse()
                status, text = response.status, response.read(BYTES_MAX)
            finally:
                connection.close()
        except (OSError, http.client.HTTPException) as exc:
            raise ClusterError(f"the Kubernetes API at {self.host} does not answer: {exc}") from exc
        if status == 409:
            raise Conflict(f"{path} was written by another injector")
        if status not in (200, 201):
            raise ClusterError(f"the Kubernetes API answered {status} to {method} {path}: {_fix(status)}")
        try:
            found = json.loads(text)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise ClusterError(f"the Kubernetes API answered {method} {path} with something else than an object")
        return found


def _fix(status: int) -> str:
    if status in (401, 403):
        return "the injector's service account lacks the right; the chart's Role and ClusterRole grant it"
    if status == 404:
        return "the object is gone; helm upgrade renders it again"
    return "it is asked again"
