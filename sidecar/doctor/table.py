"""Hold the table of checks, in the order in which they run and are shown.

Invariants:
- The ids are those of the contract and never change: scripts read them.
- A check that needs another is not run where that one failed: its finding says which.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Final, cast

from sidecar.doctor.checks import (
    clock,
    credentials,
    disk,
    dns,
    iam,
    identity,
    kubernetes,
    ledger,
    listeners,
    manifest,
    proxy,
    public_key,
    region,
    settings,
    state_dir,
    tcp,
    tls,
    workload,
)
from sidecar.doctor.context import Context
from sidecar.doctor.finding import Finding
from sidecar.quick_dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Check:
    """A row of the table."""

    id: str
    module: ModuleType
    """Has `RULE`, a sentence; `FIXES`, what is seen → the fix; and `check(context)`, which returns a finding."""
    needs: tuple[str, ...] = ()
    """Ids of earlier checks without which this one says nothing new."""

    @property
    def rule(self) -> str:
        """What must be true."""
        return cast(str, self.module.RULE)

    @property
    def fixes(self) -> Mapping[str, str]:
        """What is seen → the fix; words in braces stand for what is found."""
        return cast(Mapping[str, str], self.module.FIXES)

    @property
    def run(self) -> Callable[[Context], Finding]:
        return cast(Callable[[Context], Finding], self.module.check)


CHECKS: Final[tuple[Check, ...]] = (
    Check(id="settings", module=settings),
    Check(id="manifest", module=manifest),
    Check(id="public_key", module=public_key),
    Check(id="workload", module=workload),
    Check(id="region", module=region),
    Check(id="credentials", module=credentials),
    Check(id="identity", module=identity, needs=("settings", "region", "credentials")),
    Check(id="dns", module=dns, needs=("settings", "region")),
    Check(id="tcp", module=tcp, needs=("settings", "region")),
    Check(id="tls", module=tls, needs=("settings", "region")),
    Check(id="proxy", module=proxy, needs=("settings", "region")),
    Check(id="clock", module=clock, needs=("settings",)),
    Check(id="iam", module=iam, needs=("settings", "region", "credentials", "tcp", "tls")),
    Check(id="state_dir", module=state_dir, needs=("settings",)),
    Check(id="ledger", module=ledger, needs=("settings",)),
    Check(id="disk", module=disk, needs=("settings",)),
    Check(id="listeners", module=listeners, needs=("settings",)),
    Check(id="kubernetes", module=kubernetes),
)
