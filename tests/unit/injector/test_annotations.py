"""A pod asks by annotations; a misspelt word or name is refused, and never a pod without its gate."""

from __future__ import annotations

import pytest

from sidecar.injector.annotations import CONTAINERS, INJECT, WORKLOAD, Wish, wish
from sidecar.injector.refusal import Refusal


def test_containers_and_workload_are_what_the_pod_says() -> None:
    asked = wish({"metadata": {"annotations": {INJECT: "true", CONTAINERS: "api, worker", WORKLOAD: "shop"}}})
    assert asked == Wish(containers=("api", "worker"), workload="shop")


@pytest.mark.parametrize(
    "metadata",
    [
        None,
        {},
        {"annotations": {"example.com/inject": "true"}},
        {"annotations": {WORKLOAD: "shop"}},
        {"annotations": {INJECT: "false", "entitlement-sidecar.io/injcet": "true"}},
        {"labels": {INJECT: "false", "entitlement-sidecar.io/part-of": "x"}},
    ],
    ids=str,
)
def test_who_does_not_ask_gets_nothing(metadata: object) -> None:
    assert wish({"metadata": metadata}) is None


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ({"annotations": {INJECT: "yes"}}, "inject is 'yes'. Write \"true\""),
        ({"annotations": {INJECT: ""}}, "inject is ''. Write \"true\""),
        (
            {"annotations": {"entitlement-sidecar.io/injcet": "true"}},
            "unknown. Did you mean entitlement-sidecar.io/inject?",
        ),
        (
            {"annotations": {"Entitlement-Sidecar.io/inject": "true"}},
            "annotation Entitlement-Sidecar.io/inject is unknown. Did you mean entitlement-sidecar.io/inject?",
        ),
        (
            {"annotations": {INJECT: "true", "entitlement-sidecar.io/container": "api"}},
            "entitlement-sidecar.io/containers?",
        ),
        ({"annotations": {INJECT: "true", "entitlement-sidecar.io/": ""}}, "entitlement-sidecar.io/ is unknown"),
        ({"annotations": {INJECT: "true", CONTAINERS: " ,"}}, "containers is empty"),
        ({"annotations": {INJECT: "true", WORKLOAD: ""}}, "workload is ''"),
        ({"annotations": {INJECT: "true", WORKLOAD: "../x"}}, "workload is '../x'"),
        ({"labels": {INJECT: "true"}}, "is a label of the pod, and only an annotation asks"),
    ],
    ids=str,
)
def test_what_is_misspelt_is_refused_with_the_fix(metadata: object, words: str) -> None:
    with pytest.raises(Refusal) as refused:
        wish({"metadata": metadata})
    assert words in str(refused.value)
