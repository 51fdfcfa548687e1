"""The same place to ask from as for the gate."""

from tests.integration.gate.conftest import keys, rig

__all__ = ["keys", "rig"]
