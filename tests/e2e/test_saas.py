"""The SaaS service in a real cluster, by its chart: a customer is resolved, usage survives pods, hours are billed."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

import pytest

from tests.chart.support import SAAS
from tests.e2e.cluster import PRODUCT, Namespace, eventually, image_parts
from tests.e2e.volume import claimed

RELEASE = "metering"
SERVICE = "metering-entitlement-sidecar-saas"
PODS = "app.kubernetes.io/instance=metering"
TOKEN = "a-token-of-more-than-sixteen-characters"
ACCOUNT = "444455556666"
CALL = """
import http.client, json, sys, time
host, method, path, body, token = sys.argv[1:]
there = http.client.HTTPConnection(host, 8485, timeout=30)
for left in reversed(range(150)):
    try:
        there.connect()
        break
    except ConnectionRefusedError:
        if not left: raise
        time.sleep(0.2)
headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
there.request(method, path, body or None, headers)
answer = there.getresponse()
print(json.dumps([answer.status, json.loads(answer.read() or "null")]))
"""


@pytest.fixture
def space(new_namespace: Callable[..., Namespace]) -> Namespace:
    if not os.environ.get("SIDECAR_SAAS_IMAGE"):
        pytest.skip("SIDECAR_SAAS_IMAGE is not set; it names the image under test")
    made = new_namespace("privileged")  # a pod makes the volume's directory on the node
    made.order("clock", now="2026-01-02T10:20:00Z", speed=0)
    made.order("customers", id="acme", account=ACCOUNT)
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "token"}, "stringData": {"token": TOKEN}}
    made.kubectl("create", "-f", "-", stdin=json.dumps(secret))
    return made


def values(space: Namespace, claim: str, **more: object) -> dict[str, Any]:
    registry, repository, tag = image_parts(os.environ["SIDECAR_SAAS_IMAGE"])
    emulator = f"http://marketplace.{space.name}.svc:8486"
    env = {
        "SIDECAR_ENDPOINT_URL": emulator,
        "SIDECAR_CLOCK_URL": emulator,
        "AWS_ACCESS_KEY_ID": "AKIASELLER",
        "AWS_SECRET_ACCESS_KEY": "secret",
    }
    return {
        "image": {"registry": registry, "repository": repository, "tag": tag},
        "config": {"product_code": PRODUCT, "dimensions": ["requests"]},
        "apiToken": {"existingSecret": "token"},
        "persistence": {"existingClaim": claim},
        "extraEnv": [{"name": name, "value": value} for name, value in env.items()],
        **more,
    }


def ask(space: Namespace, method: str, path: str, body: object = None, token: str = TOKEN) -> tuple[int, Any]:
    """Status and body, as the product gets them: by the Service's name.

    A pod may be ready before the node's kube-proxy sends the Service's connections to it; until then they are refused.
    """
    words = (SERVICE, method, path, "" if body is None else json.dumps(body), token)
    line = ("exec", f"deployment/{SERVICE}", "--", "/opt/entitlement-sidecar/bin/python", "-c", CALL, *words)
    status, found = json.loads(space.kubectl(*line))
    return status, found


def used(space: Namespace, license_arn: str, name: str, quantity: int) -> tuple[int, Any]:
    event = {"customer": {"license_arn": license_arn}, "dimension": "requests", "quantity": quantity, "id": name}
    return ask(space, "POST", "/v1/usage", event)


def billed(space: Namespace) -> list[str]:
    return [str(line["total"]) for line in space.marketplace("saas-bill")["lines"]]


def test_a_customers_hour_is_billed_once_whatever_becomes_of_the_pod(space: Namespace) -> None:
    with claimed(space, "state", PODS) as claim:
        space.helm("install", RELEASE, SAAS, values(space, claim), "--wait", "--timeout=120s")
        token = json.loads(space.ordered("registration-token", customer="acme"))["token"]
        assert ask(space, "POST", "/v1/customers/resolve", {"token": token}, token="")[0] == 401
        status, customer = ask(space, "POST", "/v1/customers/resolve", {"token": token})
        assert (status, customer["customer_aws_account_id"]) == (200, ACCOUNT)
        assert used(space, customer["license_arn"], "one", 7) == (200, {"accepted": 1, "duplicates": 0})
        old = space.pod(PODS)["metadata"]["name"]
        space.kubectl("delete", "pod", old, "--grace-period=0", "--force")
        eventually(lambda: space.pod(PODS)["metadata"]["name"] != old and space.ready(PODS), 120, "the next pod")
        assert used(space, customer["license_arn"], "one", 7) == (200, {"accepted": 0, "duplicates": 1})
        assert used(space, customer["license_arn"], "two", 5)[0] == 200
        space.order("clock", now="2026-01-02T11:10:00Z")
        assert eventually(lambda: billed(space) == ["12"], 120, "the customer's bill")
        (record,) = ask(space, "GET", "/v1/usage")[1]["records"]
        assert (record["state"], record["quantity"]) == ("settled", "12")
