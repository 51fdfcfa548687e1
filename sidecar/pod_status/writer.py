"""Write the pod's condition and events through the cluster's API. Runs in the short-lived child.

`changes` decides what, `reporter` when. Three requests need no client library: Kubernetes' own is 16 MiB of the image.

Invariants:
- Only our own pod is touched: each patch names its uid, so that a pod which took over the name is left alone.
- Needed: `patch` of `pods/status`, `create` and `patch` of `events`; nothing is read. The answer to a patch that
  changes nothing shows the pod.
- A condition that is there already is not written again, and keeps its transition time.
- An event that is there already is counted, not repeated: its name follows from pod, reason and key.
- Two products in one pod have a condition and events of their own each, named after the container.
- Never through a proxy: the API server's address is inside the cluster. Certificates are verified against `ca.crt`.
- One request after the other with short timeouts; where the API server does not answer, the rest is not tried.
- Results are a status code and the server's own word for it; neither the token nor a body is repeated.

Sources: Kubernetes API conventions ("Typical status properties", "Events"); "Use strategic merge patch"; Pod v1 core
(`conditions` merges by `type`); kubernetes.io, "Pod Lifecycle" (readiness gates).
"""

from __future__ import annotations

import hashlib
import http.client
import json
import ssl
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

from sidecar.platform.cluster_tls import cluster_tls
from sidecar.pod_status.access import ApiAccess
from sidecar.pod_status.types import Condition, PodEvent, WriteOutcome, WriteResult

CONDITION: Final = "entitlement-sidecar.io/entitled"
COMPONENT: Final = "entitlement-sidecar"
NOTE_MAX: Final = 1024
"""Characters of an event's message (events.k8s.io: `note`)."""
NAME_MAX: Final = 253
TIMEOUT_SECONDS: Final = (2.0, 5.0)
"""To connect, and to be answered."""
STRATEGIC: Final = "application/strategic-merge-patch+json"
VERBS: Final = {"PATCH": "patch", "POST": "create"}
WORD_MAX: Final = 64
BYTES_MAX: Final = 4 << 20
"""Of an answer: a pod is 1.5 MiB at most (etcd's limit)."""
BUSY: Final = frozenset({408, 429})
"""With every 5xx: asked again soon."""


class ApiServerError(Exception):
    """The API server answered something else than yes."""

    def __init__(self, code: int, reason: str, verb: str) -> None:
        super().__init__(f"{code} {reason} to {verb}")
        self.code, self.reason, self.verb = code, reason, verb


def write_all(
    api: ApiAccess,
    condition: Condition | None,
    events: Sequence[PodEvent],
    now: datetime,
    timeout: tuple[float, float] = TIMEOUT_SECONDS,
) -> Iterator[WriteResult]:
    """Yield one result for the condition, where there is one, and for each event, in order."""
    count = len(events) + (condition is not None)
    try:
        server = Server.of(api, timeout)
    except OSError as exc:
        yield from [WriteResult(outcome=WriteOutcome.UNREACHABLE, reason=str(exc))] * count
        return
    writes: list[tuple[str, Callable[[], None]]] = []
    if condition is not None:
        writes.append(("pods/status", partial(_set_condition, server, api, condition, now)))
    writes += [("events", partial(_record, server, api, event, now)) for event in events]
    for at, (resource, what) in enumerate(writes):
        result = _attempt(what, resource)
        yield result
        if result.outcome is WriteOutcome.UNREACHABLE:
            yield from [result] * (len(writes) - at - 1)
            return


class Server:
    """The API server. One connection at a time, kept for the next request."""

    def __init__(self, host: str, port: int, tls: ssl.SSLContext, token: str, timeout: tuple[float, float]) -> None:
        self._connection = http.client.HTTPSConnection(host, port, timeout=timeout[0], context=tls)
        self._headers, self._read_seconds = {"Authorization": f"Bearer {token}"}, timeout[1]

    @classmethod
    def of(cls, api: ApiAccess, timeout: tuple[float, float]) -> Server:
        """Raises OSError where token or certificate cannot be read."""
        mount = Path(api.mount)
        try:
            token = (mount / "token").read_text(encoding="ascii").strip()
            if not token.isprintable() or not token:
                raise ValueError("no token")
            tls = cluster_tls(mount)
            return cls(api.host, int(api.port), tls, token, timeout)
        except (OSError, ValueError, http.client.InvalidURL) as exc:
            raise OSError(f"token or certificate of the Kubernetes API cannot be read under {mount}") from exc

    def ask(self, method: str, path: str, body: Mapping[str, object], content_type: str) -> Any:
        """Return what the server sends with 2xx, parsed. Raises ApiServerError, or OSError where it does not answer."""
        headers = {**self._headers, "Content-Type": content_type, "Accept": "application/json"}
        connection = self._connection
        try:
            if connection.sock is None:
                self._connect()
            connection.request(method, path, json.dumps(body), headers)
            response = connection.getresponse()
            status, data = response.status, response.read(BYTES_MAX) or b"{}"
            if not response.isclosed():  # there is more, or only the end of the connection ends it
                connection.close()
        except (OSError, http.client.HTTPException, ValueError, OverflowError) as exc:  # also: no name, no port
            connection.close()
            raise OSError(_named(exc)) from exc
        return _read(status, data, VERBS[method])

    def _connect(self) -> None:
        self._connection.connect()
        self._connection.sock.settimeout(self._read_seconds)


def _named(exc: Exception) -> str:
    """Return what went wrong: OpenSSL's own words, else the kind of error; a server's may repeat what was sent."""
    return str(exc).partition("\n")[0] if isinstance(exc, ssl.SSLError) else type(exc).__name__


def _read(status: int, data: bytes, verb: str) -> Any:
    """Raises ApiServerError, or OSError where this is no answer of an API server."""
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        found = None
    if 200 <= status < 300 and isinstance(found, dict):
        return found
    if 200 <= status < 300:
        raise OSError("what answers is not the Kubernetes API")
    reason = found.get("reason") if isinstance(found, dict) else ""
    raise ApiServerError(status, reason[:WORD_MAX] if isinstance(reason, str) and reason.isalnum() else "", verb)


def _attempt(what: Callable[[], None], resource: str) -> WriteResult:
    try:
        what()
    except ApiServerError as exc:
        busy = exc.code in BUSY or exc.code >= 500
        outcome = WriteOutcome.UNREACHABLE if busy else WriteOutcome.REFUSED
        return WriteResult(outcome=outcome, code=exc.code, reason=exc.reason, verb=exc.verb, resource=resource)
    except OSError as exc:
        return WriteResult(outcome=WriteOutcome.UNREACHABLE, reason=str(exc))
    return WriteResult(outcome=WriteOutcome.DONE)


# -- the condition -----------------------------------------------------------------------------------


def _set_condition(server: Server, api: ApiAccess, wanted: Condition, now: datetime) -> None:
    path = f"/api/v1/namespaces/{api.namespace}/pods/{api.pod}/status"
    own: Mapping[str, object] = {"uid": api.uid}
    there = _shown(server.ask("PATCH", path, {"metadata": own}, STRATEGIC), condition_type(api))
    fields = {"status": "True" if wanted.status else "False", "reason": wanted.reason, "message": wanted.message}
    if all(there.get(name) == value for name, value in fields.items()):
        return
    turned = there.get("lastTransitionTime") if there.get("status") == fields["status"] else None
    entry = {
        "type": condition_type(api),
        **fields,
        "lastProbeTime": stamp(now),
        "lastTransitionTime": turned or stamp(now),
    }
    server.ask("PATCH", path, {"metadata": own, "status": {"conditions": [entry]}}, STRATEGIC)


def condition_type(api: ApiAccess) -> str:
    """Return the type of this container's condition: the chart's readiness gate of an alias ends with that alias."""
    name = api.container
    return CONDITION + name.removeprefix(COMPONENT) if name.startswith(f"{COMPONENT}-") else CONDITION


def _shown(pod: Mapping[str, Any], type_: str) -> Mapping[str, Any]:
    """Our condition as the pod shows it; empty where it does not."""
    found = (pod.get("status") or {}).get("conditions") or []
    return next((one for one in found if one.get("type") == type_), {})


# -- events ------------------------------------------------------------------------------------------


def _record(server: Server, api: ApiAccess, event: PodEvent, now: datetime) -> None:
    """Create the event, or count it once more."""
    path = f"/api/v1/namespaces/{api.namespace}/events"
    name = event_name(api, event)
    for _ in range(2):
        try:
            server.ask("POST", path, event_object(api, event, now), "application/json")
            return
        except ApiServerError as exc:
            if exc.code != 409:
                raise
        if _count(server, f"{path}/{name}", event, now):
            return
    raise OSError("the event comes and goes")  # its time was up in between, twice


def _count(server: Server, path: str, event: PodEvent, now: datetime) -> bool:
    """Return whether the event was still there to be counted."""
    try:
        there = server.ask("PATCH", path, {"message": event.note[:NOTE_MAX], "lastTimestamp": stamp(now)}, STRATEGIC)
        count = there.get("count")
        server.ask("PATCH", path, {"count": (count if isinstance(count, int) else 1) + 1}, STRATEGIC)
    except ApiServerError as exc:
        if exc.code == 404:
            return False
        raise
    return True


def event_object(api: ApiAccess, event: PodEvent, now: datetime) -> Mapping[str, object]:
    """Return a core/v1 Event about the own pod; `kubectl describe pod` shows those."""
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": event_name(api, event), "namespace": api.namespace},
        "involvedObject": {
            "apiVersion": "v1",
            "kind": "Pod",
            "name": api.pod,
            "namespace": api.namespace,
            "uid": api.uid,
        },
        "reason": event.reason,
        "message": event.note[:NOTE_MAX],
        "type": "Warning" if event.warning else "Normal",
        "count": 1,
        "firstTimestamp": stamp(now),
        "lastTimestamp": stamp(now),
        "source": {"component": api.container or COMPONENT, **({"host": api.node} if api.node else {})},
        "reportingComponent": api.container or COMPONENT,
        "reportingInstance": api.pod,
    }


def event_name(api: ApiAccess, event: PodEvent) -> str:
    """Return one name for the same event of the same container, from any child."""
    parts = (api.uid, event.reason, event.key, *([api.container] if api.container else []))
    digest = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
    return f"{api.pod[: NAME_MAX - 17].rstrip('-.')}.{digest}"


def stamp(instant: datetime) -> str:
    """Return an instant as Kubernetes writes `Time`: whole seconds, UTC."""
    return instant.isoformat(timespec="seconds").replace("+00:00", "Z")
