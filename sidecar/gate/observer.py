"""Define what the rest of the worker may do when the gate changes."""

from __future__ import annotations

from sidecar.gate.messages import WorkloadIdentity


class GateObserver:
    """Is told by the entitlement loop, on its thread or on that of who asks for a check; does nothing by itself."""

    def identified(self, identity: WorkloadIdentity) -> None:
        """Take the workload's identity and region, known before AWS is asked."""

    def before_open(self) -> None:
        """Wait until what may hold the gate was read. AWS has accepted; the gate is still shut."""

    def recheck_requested(self) -> None:
        """Take note that a person wants AWS asked now."""

    def changed(self) -> None:
        """Take note that the gate's state, the identity or the result may be others than before."""
