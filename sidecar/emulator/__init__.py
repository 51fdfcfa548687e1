"""Emulate AWS Marketplace metering and STS on this machine, on good days and bad ones.

It signs real tokens with its own keys, so that a sidecar verifies them as it would verify AWS's. `Emulator` is loaded
on first use: importing this package costs no Flask and no cryptography.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sidecar.emulator.behaviour import Behaviour

if TYPE_CHECKING:
    from sidecar.emulator.server import Emulator

__all__ = ["Behaviour", "Emulator"]


def __getattr__(name: str) -> object:
    if name == "Emulator":
        from sidecar.emulator.server import Emulator

        return Emulator
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
