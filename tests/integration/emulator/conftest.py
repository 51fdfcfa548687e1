"""An emulator over real HTTP, and boto3 as the client that knows nothing of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, Protocol

import boto3
import pytest
from botocore.config import Config

from sidecar.emulator import Emulator
from sidecar.emulator.keys import SigningKeys

PRODUCT = "prod1"
ONE_TRY = Config(retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=10)


@pytest.fixture(scope="session")
def keys() -> SigningKeys:
    """Made once; tests that rotate make their own."""
    return SigningKeys((1,))


class Aws(Protocol):
    def __call__(self, **settings: Any) -> Emulator: ...


@pytest.fixture
def emulator(keys: SigningKeys) -> Iterator[Aws]:
    """Starts emulators, and stops them after the test."""
    with ExitStack() as running:

        def start(**settings: Any) -> Emulator:
            if "key_versions" not in settings:
                settings.setdefault("keys", keys)
            return running.enter_context(Emulator(product_codes=(PRODUCT, "prod2"), **settings))

        yield start


@pytest.fixture
def aws(emulator: Aws) -> Emulator:
    """An emulator as it comes."""
    return emulator()


def client(url: str, *, workload: str = "pod-a", region: str = "us-east-1", **config: Any) -> Any:
    """A metering client of a workload, named by its access key id."""
    return boto3.client(
        "meteringmarketplace",
        endpoint_url=url,
        region_name=region,
        aws_access_key_id=workload,
        aws_secret_access_key="unchecked",
        config=ONE_TRY.merge(Config(**config)),
    )


def register(url: str, *, workload: str = "pod-a", region: str = "us-east-1", **question: Any) -> Any:
    """Asks RegisterUsage once."""
    asked = {"ProductCode": PRODUCT, "PublicKeyVersion": 1, "Nonce": "n-1", **question}
    return client(url, workload=workload, region=region).register_usage(
        **{name: value for name, value in asked.items() if value is not None}
    )


def code(ask: Callable[[], Any]) -> str:
    """The AWS error code of an answer, or `ok`."""
    from botocore.exceptions import ClientError

    try:
        ask()
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    return "ok"


def eventually(holds: Callable[[], bool], *, seconds: float = 10) -> None:
    """Waits for a condition, and fails when it does not come."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.01)
