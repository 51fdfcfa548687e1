"""A local AWS Marketplace: what would AWS answer, and what would it answer on a bad day?

It signs real tokens with its own keys, so that a sidecar verifies them as it would verify AWS's.
`Emulator` is loaded on first use: naming this package costs no Flask and no cryptography.
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
