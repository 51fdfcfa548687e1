"""The API server's question is answered: as it is, with the sidecar, or refused with the reason."""

from __future__ import annotations

import base64
import copy
import json
from pathlib import Path
from typing import Any

import pytest

from sidecar.injector import review
from sidecar.injector.pieces import Document
from tests.unit.injector.test_pod import POD, document


@pytest.fixture
def pieces(tmp_path: Path) -> Document:
    return document(tmp_path)


def asked(annotations: dict[str, str] | None, pod: dict[str, Any] = POD) -> review.Question:
    found = copy.deepcopy(pod)
    if annotations is not None:
        found["metadata"]["annotations"] = annotations
    body = {
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {"uid": "u", "kind": {"kind": "Pod"}, "namespace": "shop", "object": found},
    }
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


@pytest.mark.parametrize("annotations", [None, {}, {"other": "true"}, {review.INJECT: "false"}], ids=str)
def test_a_pod_that_does_not_ask_stays_as_it_is(annotations: dict[str, str] | None, pieces: Document) -> None:
    question = asked(annotations)
    assert response(question, review.decide(question, pieces)) == {"uid": "u", "allowed": True}


def test_a_pod_that_asks_is_patched_into_one_with_the_sidecar(pieces: Document) -> None:
    question = asked({review.INJECT: "true", review.WORKLOAD: "shop", review.CONTAINERS: "api"})
    found = response(question, answer := review.decide(question, pieces))
    assert found["patchType"] == "JSONPatch"
    made = patched(question.pod, json.loads(base64.b64decode(found["patch"])))
    assert made == answer.pod
    assert made["spec"]["initContainers"][0]["name"] == "entitlement-sidecar"
    assert made["metadata"]["labels"]["entitlement-sidecar.io/workload"] == "shop"


def test_asked_again_the_pod_stays_as_it_is(pieces: Document) -> None:
    once = review.decide(asked({review.INJECT: "true"}), pieces).pod
    assert once
    assert review.decide(asked(once["metadata"]["annotations"], once), pieces) == review.Answer()


@pytest.mark.parametrize(
    ("annotations", "words"),
    [
        ({review.INJECT: "True"}, "is 'True'. Write \"true\""),
        ({review.INJECT: "true", review.CONTAINERS: "api, apy"}, "'apy', which the pod has not. It has api"),
        ({review.INJECT: "true", review.WORKLOAD: "../x"}, "entitlement-sidecar.io/workload is '../x'"),
        ({review.INJECT: "true", review.WORKLOAD: ".."}, "entitlement-sidecar.io/workload is '..'"),
    ],
)
def test_what_cannot_be_is_refused_with_the_reason(annotations: dict[str, str], words: str, pieces: Document) -> None:
    question = asked(annotations)
    found = response(question, review.decide(question, pieces))
    assert found["allowed"] is False
    assert found["status"]["message"].startswith("entitlement-sidecar cannot be injected: ")
    assert words in found["status"]["message"]
    assert "patch" not in found


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff",
        b"[]",
        b"{}",
        b'{"request": null}',
        b'{"apiVersion": "admission.k8s.io/v1", "request": {"object": {}}}',
    ],
)
def test_what_is_no_question_about_a_pod_is_an_error(body: bytes) -> None:
    with pytest.raises(ValueError, match="AdmissionReview"):
        review.read(body)


def test_another_kind_is_an_error() -> None:
    body = {"apiVersion": "admission.k8s.io/v1", "request": {"uid": "u", "kind": {"kind": "Job"}, "object": {}}}
    with pytest.raises(ValueError, match="about a Pod"):
        review.read(json.dumps(body).encode())
