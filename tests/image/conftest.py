"""The images under test, and the local AWS Marketplace beside them."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.image import engine
from tests.image.engine import STATE, Running
from tests.ports import free_port

HERE = Path(__file__).parent
START_SECONDS = 180
"""Another architecture's image runs in an emulator of processors."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    reason = None
    if not os.environ.get("SIDECAR_IMAGE"):
        reason = "SIDECAR_IMAGE names no image to look at"
    elif engine.command() is None:
        reason = "neither podman nor docker is installed"
    for item in items:
        if reason and HERE in item.path.parents:
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def image() -> str:
    return os.environ["SIDECAR_IMAGE"]


@pytest.fixture(scope="session")
def emulator_image() -> str:
    name = os.environ.get("SIDECAR_EMULATOR_IMAGE")
    if not name:
        pytest.skip("SIDECAR_EMULATOR_IMAGE names no image")
    return name


@contextmanager
def marketplace(emulator_image: str, *flags: str) -> Iterator[dict[str, str]]:
    """The variables of a sidecar that asks an emulator, which runs in its own container."""
    words = ("emulator", "--port", str(free_port()), "--json", "--product-code", "prod1", *flags)
    with Running(emulator_image, words) as emulator:
        deadline = time.monotonic() + START_SECONDS
        while not (lines := emulator.logs().splitlines()):
            assert time.monotonic() < deadline, emulator.state()
            time.sleep(0.1)
        about = json.loads(lines[0])
        yield {
            "SIDECAR_PRODUCT_CODE": "prod1",
            "SIDECAR_PUBLIC_KEY": about["public_keys"][0]["key"],
            "SIDECAR_PUBLIC_KEY_VERSION": str(about["public_keys"][0]["version"]),
            "SIDECAR_ENDPOINT_URL": about["url"],
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "AKIAIMAGETEST",
            "AWS_SECRET_ACCESS_KEY": "unchecked",
            "POD_UID": "0f0c7a3e-6f5b-4a0e-9d55-7a1f0e3c1b2d",
        }


@pytest.fixture(scope="session")
def aws(emulator_image: str) -> Iterator[dict[str, str]]:
    with marketplace(emulator_image) as variables:
        yield variables


@pytest.fixture
def metered(emulator_image: str) -> Iterator[dict[str, str]]:
    """The variables of a sidecar that meters by a clock of the emulator, far from an hour's end."""
    flags = ("--dimension", "requests", "--clock-start", "2026-01-05T10:20:00+00:00")
    with marketplace(emulator_image, *flags) as variables:
        more = {"SIDECAR_DIMENSIONS": "requests", "SIDECAR_CLOCK_URL": variables["SIDECAR_ENDPOINT_URL"]}
        yield variables | more | listeners()


def listeners() -> dict[str, str]:
    """Listeners of one test's own: containers share the host's network here."""
    return {f"SIDECAR_{name}_BIND": f"127.0.0.1:{free_port()}" for name in ("PROBE", "API")}


@pytest.fixture
def env(aws: dict[str, str]) -> dict[str, str]:
    return {**aws, **listeners()}


@pytest.fixture
def volume() -> Iterator[tuple[str, ...]]:
    """Flags for a named volume on the one writable place."""
    name = f"entitlement-image-test-{free_port()}-{time.monotonic_ns()}"
    yield ("--volume", f"{name}:{STATE}")
    engine.call("volume", "rm", "-f", name)
