"""An emulator over real HTTP, and boto3 as the client that knows nothing of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any, Protocol

import boto3
import pytest
from botocore.config import Config
from botocore.session import Session

from sidecar.emulator import Emulator
from sidecar.emulator.keys import SigningKeys

PRODUCT = "prod1"
NOW = datetime.now(UTC)
"""Read once: no hour ends between two calls of a test."""
ONE_TRY = Config(retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=10)

_USAGE = Session().get_service_model("meteringmarketplace").operation_model("MeterUsage").input_shape
needs_decimals = pytest.mark.skipif(
    _USAGE is None or "UsageQuantityAsDecimal" not in _USAGE.members, reason="this SDK is older than decimal usage"
)


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
            settings.setdefault("dimensions", ("requests", "gigabytes"))
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


def meter(url: str, *, workload: str = "pod-a", region: str = "us-east-1", **usage: Any) -> Any:
    """Asks MeterUsage once: 7 requests, at NOW. What the SDK would refuse by itself is sent all the same."""
    sent = {"ProductCode": PRODUCT, "Timestamp": NOW, "UsageDimension": "requests", **usage}
    if not any(name.startswith("UsageQuantity") for name in usage):
        sent["UsageQuantity"] = 7
    return client(url, workload=workload, region=region, parameter_validation=False).meter_usage(
        **{name: value for name, value in sent.items() if value is not None}
    )


def metered(url: str, **usage: Any) -> str:
    """The AWS error code of a MeterUsage answer, or `ok`."""
    return code(lambda: meter(url, **usage))


def share(quantity: Any, **tags: str) -> dict[str, Any]:
    """A usage allocation; a quantity that is text is a decimal one."""
    field = "AllocatedUsageQuantityAsDecimal" if isinstance(quantity, str) else "AllocatedUsageQuantity"
    tagged = {"Tags": [{"Key": key, "Value": value} for key, value in tags.items()]} if tags else {}
    return {field: quantity, **tagged}


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
