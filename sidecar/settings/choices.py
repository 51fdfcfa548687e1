"""Name the values that a setting with a closed list of choices may have."""

from __future__ import annotations

from enum import Enum


class EntitlementCheck(Enum):
    """The operation that asks AWS whether the customer may run the product."""

    REGISTER_USAGE = "register_usage"
    METER_USAGE = "meter_usage"
    CHECKOUT_LICENSE = "checkout_license"


class Platform(Enum):
    """Where the workload runs, as far as that cannot be found by itself."""

    FOUND = "found"
    AGENTCORE = "agentcore"


class OnDenied(Enum):
    """The effect of a denial on the process."""

    HOLD = "hold"
    EXIT = "exit"


class OnFirstMeterDenied(Enum):
    """The effect of "not entitled" to the first real record, after dry runs that were allowed."""

    ALERT = "alert"
    SHUT = "shut"


class OnMeteringOverdue(Enum):
    """The effect of overdue usage on the gate and on readiness."""

    ALERT = "alert"
    NOT_READY = "not_ready"
    SHUT = "shut"


class OnLedgerUnusable(Enum):
    """The effect of a ledger that cannot be opened on a gate that has not opened yet."""

    SHUT = "shut"
    ALERT = "alert"


class OnDispute(Enum):
    """The treatment of a record for whose hour AWS holds another quantity."""

    HOLD = "hold"
    ROLL_FORWARD = "roll_forward"


class OnSeatLost(Enum):
    """The effect on the gate of a held seat that ran out and could not be taken again."""

    HOLD = "hold"
    SHUT = "shut"


class QuantityField(Enum):
    """The field of MeterUsage that a quantity is sent in."""

    AUTO = "auto"
    """The decimal field; the integer one where AWS definitely refuses that."""
    DECIMAL = "decimal"
    INTEGER = "integer"


class LogLevel(Enum):
    """The least severe level that is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
