"""Check which pod or task is metered, and where that is known from.

Sources: kubernetes.io, "Downward API"; Amazon ECS developer guide, "Amazon ECS task metadata endpoint version 4".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sidecar.doctor.context import Context
from sidecar.doctor.finding import Finding, failed, passed, warned
from sidecar.doctor.masking import masked
from sidecar.errors import SettingsError
from sidecar.platform import ecs, eks, identity
from sidecar.platform.identity import Workload
from sidecar.settings import Platform

RULE: Final = (
    "The workload is the pod (metadata.uid) or the ECS task (its ARN): AWS Marketplace meters these. License Manager"
    " and AgentCore Runtime need neither."
)
UNREADABLE: Final = "the ECS agent does not describe the task"
CONTRADICTED: Final = "the sources contradict one another"
NO_UID: Final = "a pod whose uid is not known"
OUTSIDE: Final = "neither a pod nor a task"
FIXES: Final[Mapping[str, str]] = {
    UNREADABLE: "Check the ECS agent: in this container, curl $ECS_CONTAINER_METADATA_URI_V4/task must give a TaskARN.",
    CONTRADICTED: "{problem}",
    NO_UID: "Add to the sidecar's container: env: [{{name: POD_UID, valueFrom: {{fieldRef: {{fieldPath:"
    " metadata.uid}}}}}}]",
    OUTSIDE: "Run it in a pod on Amazon EKS or in an Amazon ECS task; elsewhere AWS Marketplace answers"
    " PlatformNotSupportedException. With the emulator nothing is to be done.",
}


def check(context: Context) -> Finding:
    """Return the workload and its source."""
    if context.task_fault:
        return failed(RULE, str(context.task_fault), FIXES[UNREADABLE])
    named = context.settings.workload_id if context.settings else None
    try:
        pod = eks.bound_pod(context.env, context.tokens)
        workload = identity.identify_workload(pod, context.task, named, lambda: "a UUID in SIDECAR_STATE_DIR")
    except SettingsError as exc:
        problem = "\n".join(map(str, exc.problems))
        return failed(RULE, CONTRADICTED, masked(FIXES[CONTRADICTED].format(problem=problem)))
    return _judged(workload, context.env, _needs_none(context))


def _needs_none(context: Context) -> str:
    """Return who takes any workload, where neither a pod nor a task is needed; else an empty text."""
    if context.settings and context.settings.platform is Platform.AGENTCORE:
        return "AgentCore Runtime has neither"
    return "License Manager needs neither" if context.operations == ("CheckoutLicense",) else ""


def _judged(workload: Workload, env: Mapping[str, str], needs_none: str) -> Finding:
    labels = ", ".join(f"{name} {value}" for name, value in workload.labels.items() if name != "account")
    seen = masked(f"{_kind(workload, env)} {workload.id}") + (f" ({labels})" if labels else "")
    if workload.kind in ("pod", "task"):
        return passed(RULE, seen)
    if eks.in_kubernetes(env):
        return warned(RULE, f"{NO_UID}: no POD_UID, no service-account token; {seen}", FIXES[NO_UID].format())
    if needs_none:
        return passed(RULE, f"{OUTSIDE} ({needs_none}): {seen}")
    return warned(RULE, f"{OUTSIDE}: {seen}", FIXES[OUTSIDE])


def _kind(workload: Workload, env: Mapping[str, str]) -> str:
    """Return what the workload is, and where its name comes from."""
    if workload.kind == "pod":
        source = eks.UID if env.get(eks.UID, "").strip() else "the service-account token"
        return f"pod, by {source}:"
    if workload.kind == "task":
        return f"ECS task, by {ecs.VARIABLE}:"
    return "workload, by SIDECAR_WORKLOAD_ID:" if workload.kind == "named" else "workload without a name:"
