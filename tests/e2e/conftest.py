"""Namespaces for end-to-end tests; skipped, with the reason, where there is no cluster."""

from __future__ import annotations

import os
import shutil
import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.cluster import Namespace, run, why_not

ROOT = Path(__file__).parent.parent.parent
CHART = ROOT / "helm" / "entitlement-sidecar"
PARENT = ROOT / "tests" / "chart" / "parent"
EXAMPLE = ROOT / "helm" / "examples" / "after"


@pytest.fixture(scope="session")
def cluster() -> None:
    reason = why_not()
    if reason:
        pytest.skip(reason)


@pytest.fixture(scope="session")
def parent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _vendored(PARENT, tmp_path_factory.mktemp("parent") / "parent")


@pytest.fixture(scope="session")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _vendored(EXAMPLE, tmp_path_factory.mktemp("example") / "bookshop")


def _vendored(source: Path, target: Path) -> Path:
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("charts"))
    flags = ["--registry", "r.example.com", "--repository", "gate", "--tag", "0"]
    subprocess.run([ROOT / "helm" / "vendor", target, *flags], check=True, capture_output=True, timeout=60)
    return target


@pytest.fixture
def new_namespace(cluster: None, request: pytest.FixtureRequest) -> Iterator[Callable[..., Namespace]]:
    """Makes namespaces with an emulator; when the test fails, prints what is in them; then deletes them."""
    made: list[Namespace] = []

    def make(profile: str = "restricted", marketplace: bool = True) -> Namespace:
        name = f"e2e-{uuid.uuid4().hex[:8]}"
        space = Namespace(name, os.environ["SIDECAR_IMAGE"], os.environ["SIDECAR_EMULATOR_IMAGE"])
        run("kubectl", "create", "namespace", name)
        made.append(space)
        levels = [f"pod-security.kubernetes.io/{mode}={profile}" for mode in ("enforce", "warn")]
        run("kubectl", "label", "namespace", name, *levels)
        if marketplace:
            space.start_marketplace()
        return space

    yield make
    for space in made:
        if getattr(request.node, "failed", False):
            print(space.everything())
        run("kubectl", "delete", "namespace", space.name, "--wait=false", check=False)


@pytest.fixture
def space(new_namespace: Callable[..., Namespace]) -> Namespace:
    """A namespace that enforces the restricted Pod Security profile."""
    return new_namespace()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]
    if report.when == "call" and report.failed:
        item.failed = True  # type: ignore[attr-defined]
