"""Answer the API server's question about a pod: as it is, with the sidecar, or refused.

Invariants:
- Pure: nothing is kept, read or asked, so a dry run is answered as any other request.
- A pod without the annotation, or with "false", stays as it is; with anything but "true" it is refused, since a
  misspelt word must not run a pod without its gate.
- A pod that was injected before stays as it is: the API server may ask again after others changed it.

Sources: Kubernetes, "Dynamic Admission Control" (admission.k8s.io/v1 AdmissionReview); RFC 6902 (JSON Patch).
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sidecar.injector.pieces import Document
from sidecar.injector.pod import Pod, has_sidecar, injected
from sidecar.injector.refusal import Refusal

API_VERSION: Final = "admission.k8s.io/v1"
INJECT: Final = "entitlement-sidecar.io/inject"
CONTAINERS: Final = "entitlement-sidecar.io/containers"
WORKLOAD: Final = "entitlement-sidecar.io/workload"
LABEL: Final = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?")


@dataclass(frozen=True, kw_only=True)
class Question:
    """One AdmissionReview: which pod, and where it is to be. `name` may be only what a name is generated from."""

    uid: str
    namespace: str
    name: str
    pod: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What becomes of the pod. `pod` is None where it stays as it is, or is refused."""

    pod: Pod | None = None
    refusal: str | None = None


def read(body: bytes) -> Question:
    """Return the question in an AdmissionReview. Raises ValueError where it is none of a pod."""
    try:
        found = json.loads(body)
        request = found["request"]
        pod, uid = request["object"], request["uid"]
        kind = request["kind"]["kind"]
        if found["apiVersion"] != API_VERSION or kind != "Pod" or not isinstance(uid, str):
            raise ValueError(f"it is not an AdmissionReview of {API_VERSION} about a Pod")
        metadata = pod.get("metadata") or {}
        name = metadata.get("name") or metadata.get("generateName") or ""
        return Question(uid=uid, namespace=str(request.get("namespace") or ""), name=str(name), pod=pod)
    except (json.JSONDecodeError, UnicodeDecodeError, LookupError, TypeError, AttributeError, RecursionError) as exc:
        raise ValueError("it is not an AdmissionReview about a Pod") from exc


def decide(question: Question, document: Document) -> Answer:
    """Return what becomes of the pod."""
    annotations = (question.pod.get("metadata") or {}).get("annotations") or {}
    asked = annotations.get(INJECT, "false")
    if asked == "false" or (asked == "true" and has_sidecar(question.pod, document)):
        return Answer()
    try:
        if asked != "true":
            raise Refusal(f'annotation {INJECT} is {asked!r}. Write "true", or "false", or remove it')
        return Answer(pod=injected(question.pod, document, _names(annotations), _workload(annotations)))
    except Refusal as exc:
        return Answer(refusal=str(exc))


def reply(question: Question, answer: Answer) -> bytes:
    """Return the AdmissionReview that answers."""
    response: dict[str, object] = {"uid": question.uid, "allowed": answer.refusal is None}
    if answer.refusal is not None:
        message = f"entitlement-sidecar cannot be injected: {answer.refusal}"
        response["status"] = {"code": 403, "reason": "Forbidden", "message": message}
    elif answer.pod is not None:
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


def _names(annotations: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(word for word in re.split(r"[,\s]+", annotations.get(CONTAINERS, "")) if word)


def _workload(annotations: Mapping[str, str]) -> str:
    """Return the workload that the pod names; it becomes a label, and a directory on a volume that is kept."""
    found = annotations.get(WORKLOAD, "")
    if found and not LABEL.fullmatch(found):
        raise Refusal(f"annotation {WORKLOAD} is {found!r}. Write letters, digits, - and _, as in a Deployment's name")
    return found
