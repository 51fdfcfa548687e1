"""Whose is a web identity token?"""

from __future__ import annotations

import jwt
import pytest

from sidecar.emulator.sts import workload_of

SECRET = "0123456789abcdef0123456789abcdef"


def test_a_kubernetes_token_names_its_pod() -> None:
    token = jwt.encode({"kubernetes.io": {"pod": {"name": "web-0", "uid": "0a1b"}}}, SECRET)
    assert workload_of(token) == "0a1b"


@pytest.mark.parametrize(
    "text",
    [
        "any text",
        "a.b.c",
        "",
        "ü.ü.ü",
        jwt.encode({"sub": "system:serviceaccount:ns:name"}, SECRET),
        jwt.encode({"kubernetes.io": {"pod": "web-0"}}, SECRET),
        jwt.encode({"kubernetes.io": {"pod": {"uid": 7}}}, SECRET),
    ],
)
def test_any_other_text_is_a_workload_of_its_own(text: str) -> None:
    assert workload_of(text).startswith("token-")
    assert workload_of(text) == workload_of(text) != workload_of(text + "x")
