"""Load settings from sources that a test gives."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from sidecar.errors import Problem, SettingsError
from sidecar.settings import Settings
from tests.fakes.config import NOWHERE, PRODUCT
from tests.fakes.keys import public_pem


def needed() -> dict[str, str]:
    """Return the settings that are required."""
    return {"SIDECAR_PRODUCT_CODE": PRODUCT, "SIDECAR_PUBLIC_KEY": public_pem()}


def load(
    env: Mapping[str, str] | None = None, flags: Mapping[str, str] | None = None, manifest: Path = NOWHERE
) -> Settings:
    return Settings.load(needed() if env is None else env, flags, manifest)


def problems(
    env: Mapping[str, str] | None = None, flags: Mapping[str, str] | None = None, manifest: Path = NOWHERE
) -> list[Problem]:
    """Return every fault; there must be one."""
    with pytest.raises(SettingsError) as caught:
        load(env, flags, manifest)
    return list(caught.value.problems)


def problem(
    env: Mapping[str, str] | None = None, flags: Mapping[str, str] | None = None, manifest: Path = NOWHERE
) -> Problem:
    """Return the only fault."""
    found = problems(env, flags, manifest)
    assert len(found) == 1, [str(one) for one in found]
    return found[0]
