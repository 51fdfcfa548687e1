"""Answer the API server's question about a pod: as it is, with the sidecar, or refused.

Invariants:
- Pure: nothing is kept, read or asked, so a dry run is answered as any other request.
- A pod that does not ask, or was injected before, stays as it is: the API server may ask again after others changed it.
- So does all that is not a new pod, and each pod of the injector's own namespace or of Kubernetes itself, whatever the
  webhook configuration says: a widened configuration must not stop the cluster.
- What goes wrong while a pod that asks is looked at refuses the pod: it never runs without its gate.

Sources: Kubernetes, "Dynamic Admission Control" (admission.k8s.io/v1 AdmissionReview); RFC 6902 (JSON Patch).
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any, Final

from sidecar.injector import owner
from sidecar.injector.annotations import wish
from sidecar.injector.pieces import Document
from sidecar.injector.pod import Pod, has_sidecar, injected
from sidecar.injector.refusal import Refusal
from sidecar.quick_dataclasses import dataclass

API_VERSION: Final = "admission.k8s.io/v1"
NEVER: Final = frozenset({"kube-system", "kube-public", "kube-node-lease"})
"""Namespaces of Kubernetes itself."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """One AdmissionReview: which pod, and where it is to be. `name` may be only what a name is generated from.

    `pod` is None where the question is about something else than a new pod.
    """

    uid: str
    namespace: str
    name: str
    pod: Mapping[str, Any] | None
    dry_run: bool


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What becomes of the pod. `pod` is None where it stays as it is, or is refused."""

    pod: Pod | None = None
    refusal: str | None = None


def read(body: bytes) -> Question:
    """Return the question in an AdmissionReview. Raises ValueError where it is none: nothing can be answered then."""
    try:
        found = json.loads(body)
        request = found["request"]
        uid, kind = request["uid"], request["kind"]
        if found["apiVersion"] != API_VERSION or not isinstance(uid, str):
            raise ValueError(f"it is not an AdmissionReview of {API_VERSION}")
        new = request.get("operation") == "CREATE" and not request.get("subResource")
        pod = request["object"] if new and (kind.get("group") or "", kind["kind"]) == ("", "Pod") else None
        metadata = (pod or {}).get("metadata") or {}
        return Question(
            uid=uid,
            namespace=str(request.get("namespace") or ""),
            name=str(metadata.get("name") or metadata.get("generateName") or ""),
            pod=pod,
            dry_run=request.get("dryRun") is True,
        )
    except (json.JSONDecodeError, UnicodeDecodeError, LookupError, TypeError, AttributeError, RecursionError) as exc:
        raise ValueError("it is not an AdmissionReview") from exc


def decide(question: Question, document: Document, home: str) -> Answer:
    """Return what becomes of the pod. `home`: the injector's own namespace."""
    if question.pod is None or question.namespace in NEVER or question.namespace == home:
        return Answer()
    try:
        return _decided(question.pod, document)
    except Refusal as exc:
        return Answer(refusal=str(exc))
    except (LookupError, TypeError, AttributeError, ValueError, RecursionError) as exc:
        return Answer(refusal=f"the pod is not one that Kubernetes would take: {type(exc).__name__} {exc}. Correct it")


def _decided(pod: Mapping[str, Any], document: Document) -> Answer:
    asked = None if has_sidecar(pod, document) else wish(pod)
    if asked is None:
        return Answer()
    return Answer(pod=injected(pod, document, asked.containers, asked.workload or owner.workload(pod)))


def reply(question: Question, answer: Answer) -> bytes:
    """Return the AdmissionReview that answers."""
    response: dict[str, object] = {"uid": question.uid, "allowed": answer.refusal is None}
    if answer.refusal is not None:
        message = f"entitlement-sidecar cannot be injected: {answer.refusal}"
        response["status"] = {"code": 403, "reason": "Forbidden", "message": message}
    elif question.pod is not None and answer.pod is not None:
        patch = json.dumps(difference(question.pod, answer.pod)).encode()
        response |= {"patchType": "JSONPatch", "patch": base64.b64encode(patch).decode()}
    review = {"apiVersion": API_VERSION, "kind": "AdmissionReview", "response": response}
    return json.dumps(review).encode()


def difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the JSON Patch between two pods: each field of metadata and spec that changed, whole."""
    patch: list[dict[str, Any]] = []
    for part in ("metadata", "spec"):
        old, new = before.get(part), after.get(part) or {}
        if old is None and new:
            patch.append({"op": "add", "path": f"/{part}", "value": new})
            continue
        changed = [name for name in new if new[name] != (old or {}).get(name)]
        # "add" replaces a member that is there (RFC 6902, section 4.1).
        patch += [{"op": "add", "path": f"/{part}/{name}", "value": new[name]} for name in changed]
    return patch
