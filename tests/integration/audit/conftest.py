"""An emulator whose clock stands still, two pods, and the command."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sidecar.__main__ import main
from sidecar.emulator import Emulator
from sidecar.emulator.keys import SigningKeys
from tests.fakes.config import NOWHERE
from tests.integration.audit.support import DIMENSIONS, PRODUCT, START, Pod

Run = Callable[..., tuple[int, str, str]]
Compare = Callable[..., dict[str, Any]]


@pytest.fixture(scope="session")
def signing_keys() -> SigningKeys:
    """Made once."""
    return SigningKeys((1,))


@pytest.fixture
def aws(signing_keys: SigningKeys) -> Iterator[Emulator]:
    """An emulated AWS at the start of the story."""
    names = [dimension.name for dimension in DIMENSIONS]
    with Emulator(
        product_codes=(PRODUCT,), dimensions=names, keys=signing_keys, clock_start=START, clock_speed=0
    ) as emulator:
        yield emulator


@pytest.fixture
def pods(aws: Emulator, tmp_path: Path) -> Iterator[tuple[Pod, Pod]]:
    """Two pods, each on a volume of its own."""
    made = []
    for name in ("pod-1", "pod-2"):
        (tmp_path / name).mkdir()
        made.append(Pod(aws, tmp_path / name, name))
    yield made[0], made[1]
    for pod in made:
        pod.ledger.close()


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs `usage reconcile` and returns exit code, stdout and stderr."""

    def command(*arguments: object) -> tuple[int, str, str]:
        try:
            code = main(["usage", "reconcile", *map(str, arguments)], str(NOWHERE))
        except SystemExit as exc:
            code = int(exc.code or 0)
        text = capsys.readouterr()
        return code, text.out, text.err

    return command


@pytest.fixture
def compare(run: Run) -> Compare:
    """Runs it with --json, checks the exit code against the result, and returns the document."""

    def command(*arguments: object) -> dict[str, Any]:
        code, out, err = run(*arguments, "--json")
        assert out, err
        found: dict[str, Any] = json.loads(out)
        assert code == (0 if found["equal"] else 1)
        assert len(found["differences"]) == sum(found["counts"].values())
        return found

    return command
