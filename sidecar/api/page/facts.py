"""Collect what the page tells about this sidecar: who is metered, where, as whom, in which version.

Invariants:
- A fact that is not known is shown as such, not left out: an operator compares pages of two pods.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sidecar.quick_dataclasses import dataclass

WORKLOAD_NAMES: Final[Mapping[str, str]] = {
    "pod": "Pod",
    "namespace": "Namespace",
    "service_account": "Service account",
    "node": "Node",
    "container": "Container",
    "cluster": "Cluster",
    "launch_type": "Launch type",
    "account": "Account",
}


@dataclass(frozen=True, kw_only=True)
class Fact:
    """One line: its name and its value; `instant` where the value is one."""

    name: str
    value: object
    instant: bool = False


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Facts under one heading."""

    title: str
    facts: Sequence[Fact]


def groups(status: Mapping[str, Any]) -> list[Facts]:
    """Return the facts of the status document, in the order of the page."""
    found = [
        Facts(title="Workload", facts=_workload(status["workload"])),
        Facts(title="AWS", facts=_aws(status)),
        Facts(title="Product and versions", facts=_versions(status)),
        *_contract(status["licenses"]),
        Facts(title="Usage ledger", facts=_ledger(status["metering"])),
        Facts(title="Pod status", facts=_pod(status["kubernetes"])),
    ]
    loops = [Fact(name=name.capitalize(), value=state) for name, state in status["loops"].items()]
    return [*found, Facts(title="Loops", facts=loops)]


def _workload(workload: Mapping[str, Any]) -> list[Fact]:
    known = [Fact(name="Kind", value=workload["kind"]), Fact(name="Id", value=workload["id"])]
    rest = {name: value for name, value in workload.items() if name not in ("id", "kind")}
    return known + [Fact(name=WORKLOAD_NAMES.get(name, name), value=value) for name, value in rest.items()]


def _aws(status: Mapping[str, Any]) -> list[Fact]:
    aws, gate = status["aws"], status["entitlement"]
    return [
        Fact(name="Region", value=aws["region"]),
        Fact(name="Region found in", value=aws["region_source"]),
        Fact(name="Host", value=aws["host"]),
        Fact(name="Credentials", value=aws["credential_source"]),
        Fact(name="Role", value=aws["role"]),
        Fact(name="Last error of AWS", value=gate["aws_error"]),
        Fact(name="Request id", value=gate["aws_request_id"]),
    ]


def _versions(status: Mapping[str, Any]) -> list[Fact]:
    gate = status["entitlement"]
    return [
        Fact(name="Product code", value=gate["product_code"]),
        Fact(name="Asked with", value=gate["entitlement_check"]),
        Fact(name="Public key version", value=gate["public_key_version"]),
        Fact(name="Sidecar", value=status["version"]),
        Fact(name="Started", value=status["started_at"], instant=True),
    ]


def _contract(licenses: Mapping[str, Any] | None) -> list[Facts]:
    """Return the facts of a contract and its seats; none where no contract is checked."""
    if licenses is None:
        return []
    facts = [
        Fact(name="Product ID", value=licenses["product_sku"]),
        Fact(name="License", value=licenses["license_arn"]),
        Fact(
            name="Contract ends",
            value=licenses["ends_at"] or licenses["end_unknown"],
            instant=bool(licenses["ends_at"]),
        ),
        *(Fact(name="Allowed", value=f"{one['value'] or ''} {one['name']}".strip()) for one in licenses["granted"]),
        *(Fact(name="Seat", value=_seat(one)) for one in licenses["seats"]),
    ]
    return [Facts(title="Contract", facts=facts)]


def _seat(seat: Mapping[str, Any]) -> str:
    fault = f" ({seat['fault']['reason']})" if seat["fault"] else ""
    held = f"lost since {seat['lost_at']}" if seat["lost_at"] else f"held until {seat['expires_at']}"
    return f"{seat['name']}: {held}{fault}"


def _ledger(metering: Mapping[str, Any] | None) -> list[Fact]:
    if metering is None:
        return [Fact(name="Metering", value="off: no dimension is set")]
    ledger = metering["ledger"]
    return [
        Fact(name="File", value=ledger["path"]),
        Fact(name="Usable", value="yes" if ledger["writable"] else "no"),
        Fact(name="Bytes", value=ledger["bytes"]),
        Fact(name="Open hour", value=metering["open_hour"], instant=True),
        Fact(name="Oldest unsettled hour", value=metering["oldest_unsettled_hour"], instant=True),
        Fact(name="AWS accepted last", value=metering["last_settled_at"], instant=True),
        Fact(name="Metering ran last", value=metering["passed_at"], instant=True),
    ]


def _pod(kubernetes: Mapping[str, Any] | None) -> list[Fact]:
    if kubernetes is None:
        return [Fact(name="Condition", value="not written: no token for the Kubernetes API is mounted")]
    reachable = "yes" if kubernetes["reachable"] else "no"
    return [Fact(name="Condition", value=kubernetes["condition"]), Fact(name="API reachable", value=reachable)]
