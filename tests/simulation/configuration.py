"""Draw the settings of a pod, and change them between two starts.

Invariants:
- Scales and aggregations stay: a change of these is a change of what was told to be kept. Everything else may change.
"""

from __future__ import annotations

import json
import random
from pathlib import Path

from sidecar.quick_dataclasses import dataclass, field
from tests.simulation.aws import PRODUCT

DIMENSIONS: tuple[dict[str, object], ...] = (
    {"name": "requests", "tags": ["tenant"]},
    {"name": "gigabytes", "scale": "0.001", "decimals": 3},
    {"name": "seats", "aggregation": "max", "scope": "pod"},
    {"name": "users", "aggregation": "unique", "scope": "pod", "scale": "2.5", "decimals": 2},
    {"name": "level", "aggregation": "last", "scope": "pod", "decimals": 1},
)
CHOICES = {
    "SIDECAR_ON_DISPUTE": ("hold", "hold", "roll_forward"),
    "SIDECAR_ON_METERING_OVERDUE": ("alert", "not_ready", "shut"),
    "SIDECAR_ON_FIRST_METER_DENIED": ("alert", "shut"),
    "SIDECAR_ON_LEDGER_UNUSABLE": ("shut", "alert"),
    "SIDECAR_ON_DENIED": ("hold", "hold", "exit"),
    "SIDECAR_QUANTITY_FIELD": ("auto", "decimal"),
    "SIDECAR_FLUSH_SECONDS": ("10", "30"),
    "SIDECAR_ENTITLEMENT_CHECK": ("register_usage", "register_usage", "meter_usage"),
}


@dataclass
class Configuration:
    """What the operator has set."""

    base: dict[str, str]
    chosen: dict[str, str] = field(default_factory=dict)
    dimensions: list[dict[str, object]] = field(default_factory=list)
    rolls: bool = False
    """Whether disputed quantities were ever to be billed again."""

    @classmethod
    def drawn(cls, chance: random.Random, state_dir: Path, public_key: str) -> Configuration:
        """Return the settings a world begins with."""
        base = {
            "SIDECAR_PRODUCT_CODE": PRODUCT,
            "SIDECAR_PUBLIC_KEY": public_key,
            "SIDECAR_STATE_DIR": str(state_dir),
            "SIDECAR_TERMINATION_LOG": "/dev/null",
        }
        found = cls(base, {name: chance.choice(values) for name, values in CHOICES.items()})
        found.dimensions = [dict(one) for one in DIMENSIONS if chance.random() < 0.6] or [dict(DIMENSIONS[0])]
        found._note()
        return found

    def change(self, chance: random.Random) -> None:
        """Change one or two of them; the check of the entitlement stays."""
        for name in chance.sample(sorted(CHOICES), 2):
            if name != "SIDECAR_ENTITLEMENT_CHECK":
                self.chosen[name] = chance.choice(CHOICES[name])
        one = chance.choice(self.dimensions)
        if chance.random() < 0.4:
            one["decimals"] = chance.choice((0, 1, 3, 6))
        if chance.random() < 0.1:
            one["report_zero"] = not one.get("report_zero", False)
        if chance.random() < 0.3:
            self._add_or_drop(chance)
        self._note()

    def _add_or_drop(self, chance: random.Random) -> None:
        missing = [one for one in DIMENSIONS if one["name"] not in [kept["name"] for kept in self.dimensions]]
        if missing and chance.random() < 0.7:
            self.dimensions.append(dict(chance.choice(missing)))
        elif len(self.dimensions) > 1:
            self.dimensions.remove(chance.choice(self.dimensions))

    def _note(self) -> None:
        self.rolls = self.rolls or self.chosen["SIDECAR_ON_DISPUTE"] == "roll_forward"

    def env(self) -> dict[str, str]:
        """Return the variables of the container."""
        return {**self.base, **self.chosen, "SIDECAR_DIMENSIONS": json.dumps(self.dimensions)}
