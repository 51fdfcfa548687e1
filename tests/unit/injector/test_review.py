"""The API server's question is answered: as it is, with the sidecar, or refused with the reason."""

from __future__ import annotations

import base64
import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sidecar.injector import review
from sidecar.injector.annotations import CONTAINERS, INJECT, WORKLOAD
from sidecar.injector.pieces import Document
from tests.unit.injector.test_pod import POD, document

FIELDS = (
    *("name", "labels", "ownerReferences", "controller", "kind", "containers", "initContainers", "command", "env"),
    *("ports", "containerPort", "volumes", "securityContext", "runAsUser", "os", "nodeSelector", "readinessGates"),
    *("imagePullSecrets", "terminationGracePeriodSeconds", "restartPolicy", "generateName"),
)


@pytest.fixture
def pieces(tmp_path: Path) -> Document:
    return document(tmp_path)


def asked(annotations: dict[str, str] | None, pod: dict[str, Any] = POD, **request: object) -> review.Question:
    found = copy.deepcopy(pod)
    if annotations is not None:
        found["metadata"]["annotations"] = annotations
    given = {"uid": "u", "kind": {"kind": "Pod"}, "operation": "CREATE", "namespace": "shop", "object": found}
    body = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {**given, **request}}
    return review.read(json.dumps(body).encode())


def patched(pod: Any, patch: list[dict[str, Any]]) -> dict[str, Any]:
    """Apply a patch of "add" to members of objects, as RFC 6902 says."""
    made: dict[str, Any] = copy.deepcopy(dict(pod))
    for one in patch:
        *above, last = one["path"].split("/")[1:]
        place = made
        for name in above:
            place = place[name]
        assert one["op"] == "add"
        place[last] = one["value"]
    return made


def response(question: review.Question, answer: review.Answer) -> dict[str, Any]:
    found = json.loads(review.reply(question, answer))
    assert (found["apiVersion"], found["kind"]) == ("admission.k8s.io/v1", "AdmissionReview")
    assert found["response"]["uid"] == "u"
    return dict(found["response"])


@pytest.mark.parametrize("annotations", [None, {}, {"other": "true"}, {INJECT: "false"}], ids=str)
def test_a_pod_that_does_not_ask_stays_as_it_is(annotations: dict[str, str] | None, pieces: Document) -> None:
    question = asked(annotations)
    assert response(question, review.decide(question, pieces, "gate")) == {"uid": "u", "allowed": True}


def test_a_pod_that_asks_is_patched_into_one_with_the_sidecar(pieces: Document) -> None:
    question = asked({INJECT: "true", WORKLOAD: "shop", CONTAINERS: "api"})
    found = response(question, answer := review.decide(question, pieces, "gate"))
    assert found["patchType"] == "JSONPatch"
    made = patched(question.pod, json.loads(base64.b64decode(found["patch"])))
    assert made == answer.pod
    assert made["spec"]["initContainers"][0]["name"] == "entitlement-sidecar"
    assert made["metadata"]["labels"]["entitlement-sidecar.io/workload"] == "shop"


def test_asked_again_the_pod_stays_as_it_is(pieces: Document) -> None:
    once = review.decide(asked({INJECT: "true"}), pieces, "gate").pod
    assert once
    assert review.decide(asked(once["metadata"]["annotations"], once), pieces, "gate") == review.Answer()


@pytest.mark.parametrize(
    ("annotations", "words"),
    [
        ({INJECT: "True"}, "is 'True'. Write \"true\""),
        ({INJECT: "true", CONTAINERS: "api, apy"}, "'apy', which the pod has not. It has api"),
        ({INJECT: "true", WORKLOAD: "../x"}, "entitlement-sidecar.io/workload is '../x'"),
        ({INJECT: "true", WORKLOAD: ".."}, "entitlement-sidecar.io/workload is '..'"),
    ],
)
def test_what_cannot_be_is_refused_with_the_reason(annotations: dict[str, str], words: str, pieces: Document) -> None:
    question = asked(annotations)
    found = response(question, review.decide(question, pieces, "gate"))
    assert found["allowed"] is False
    assert found["status"]["message"].startswith("entitlement-sidecar cannot be injected: ")
    assert words in found["status"]["message"]
    assert "patch" not in found


@pytest.mark.parametrize(
    "request_",
    [
        {"namespace": "gate"},
        {"namespace": "kube-system"},
        {"operation": "UPDATE"},
        {"operation": "DELETE", "object": None},
        {"kind": {"kind": "Binding"}, "subResource": "binding"},
        {"subResource": "ephemeralcontainers"},
        {"kind": {"group": "apps", "kind": "Pod"}},
        {"kind": {"group": "batch", "kind": "Job"}},
    ],
    ids=str,
)
def test_what_is_no_new_pod_of_a_product_stays_as_it_is(request_: dict[str, Any], pieces: Document) -> None:
    question = asked({INJECT: "yes"}, **request_)
    assert response(question, review.decide(question, pieces, "gate")) == {"uid": "u", "allowed": True}


def test_a_dry_run_is_answered_as_any_other(pieces: Document) -> None:
    wet, dry = asked({INJECT: "true"}), asked({INJECT: "true"}, dryRun=True)
    assert (wet.dry_run, dry.dry_run) == (False, True)
    assert review.decide(wet, pieces, "gate") == review.decide(dry, pieces, "gate") != review.Answer()


def test_the_workload_is_the_owners_where_the_pod_names_none(pieces: Document) -> None:
    owner = {"kind": "StatefulSet", "name": "shelf", "controller": True}
    owned = {**POD, "metadata": {"generateName": "shelf-", "ownerReferences": [owner]}}
    made = review.decide(asked({INJECT: "true"}, owned), pieces, "gate").pod
    assert made
    assert made["metadata"]["labels"]["entitlement-sidecar.io/workload"] == "shelf"


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(metadata=JUNK, spec=JUNK)
def test_whatever_a_pod_holds_that_asks_is_injected_or_refused(metadata: Any, spec: Any, pieces: Document) -> None:
    more = metadata if isinstance(metadata, dict) else {}
    question = asked(None, {"metadata": {**more, "annotations": {INJECT: "true"}}, "spec": spec})
    answer = review.decide(question, pieces, "gate")
    assert (answer.pod is None) != (answer.refusal is None)
    json.loads(review.reply(question, answer))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff",
        b"[]",
        b"{}",
        b'{"request": null}',
        b'{"apiVersion": "admission.k8s.io/v1", "request": {"object": {}}}',
        b'{"apiVersion": "admission.k8s.io/v1beta1", "request": {"uid": "u", "kind": {"kind": "Pod"}}}',
        b"[" * 100_000,
    ],
    ids=lambda body: body[:60],
)
def test_what_is_no_question_is_an_error(body: bytes) -> None:
    with pytest.raises(ValueError, match="it is not an AdmissionReview"):
        review.read(body)
