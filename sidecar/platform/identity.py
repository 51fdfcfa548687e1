"""Decide who is metered, and in which region, from what the platform and the settings say.

Invariants:
- A pod's UID or a task's ARN is the workload: AWS meters pods and tasks. A name set by the operator that contradicts
  it, or a pod and a task at once, is an error: half the usage would be billed to no workload.
- Without either, the operator's name; without that, a UUID kept in the state directory. Such a workload has no identity
  that AWS shares, so no answer is kept for it.
- Region: the task ARN, then AWS_REGION, then AWS_DEFAULT_REGION, then the instance. AWS wants the region in which the
  workload runs; a disagreement is reported, and the ARN wins.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sidecar.errors import Problem, SettingsError
from sidecar.platform.ecs import Task
from sidecar.platform.eks import UID, Pod
from sidecar.quick_dataclasses import dataclass

REGION_VARIABLES = ("AWS_REGION", "AWS_DEFAULT_REGION")


@dataclass(frozen=True, kw_only=True)
class Workload:
    """The task or pod being metered."""

    id: str
    kind: str
    """`pod`, `task`, `named` (by the operator) or `nameless`."""
    labels: Mapping[str, str]
    """What an operator calls it: pod, namespace, cluster …; for logs."""

    @property
    def keeps_answers(self) -> bool:
        """Whether its id means the same workload to AWS after a restart."""
        return self.kind != "nameless"


@dataclass(frozen=True, kw_only=True)
class Region:
    """The region in which AWS is asked, and its source."""

    name: str
    source: str
    disagreement: str | None
    """Other sources that name another region, in words; None where all agree."""


def identify_workload(pod: Pod | None, task: Task | None, named: str | None, nameless: Callable[[], str]) -> Workload:
    """Return who is metered. Raises SettingsError where the sources contradict one another."""
    if pod and task:
        fault = f"is {pod.uid!r}, but ECS says that this is task {task.arn!r}. A container is in one of them."
        raise SettingsError([Problem(setting=UID, fault=fault + f" Remove {UID}.")])
    found = pod.uid if pod else task.arn if task else None
    if found and named and named != found:
        where = f"{UID} says" if pod else "the ECS task is"
        fault = f"is {named!r}, but {where} {found!r}. Remove it: the workload is found by itself."
        raise SettingsError([Problem(setting="SIDECAR_WORKLOAD_ID", fault=fault)])
    if pod:
        labels = {
            "pod": pod.name,
            "namespace": pod.namespace,
            "service_account": pod.service_account,
            "node": pod.node,
            "container": pod.container,
        }
        return Workload(id=pod.uid, kind="pod", labels=_said(labels))
    if task:
        labels = {"cluster": task.cluster, "launch_type": task.launch_type, "account": task.account}
        return Workload(id=task.arn, kind="task", labels=_said(labels))
    if named:
        return Workload(id=named, kind="named", labels={})
    return Workload(id=nameless(), kind="nameless", labels={})


def _said(labels: Mapping[str, str]) -> Mapping[str, str]:
    return {name: value for name, value in labels.items() if value}


def find_region(env: Mapping[str, str], task: Task | None, instance: Callable[[], str | None]) -> Region | None:
    """Return where AWS is asked; None where no source names a region. `instance` is called as the last resort only."""
    named = [(variable, env[variable].strip()) for variable in REGION_VARIABLES if env.get(variable, "").strip()]
    found = [("the task ARN", task.region), *named] if task else named
    if not found:
        last = instance()
        return Region(name=last, source="instance metadata", disagreement=None) if last else None
    source, name = found[0]
    others = [f"{other} says {value}" for other, value in found[1:] if value != name]
    disagreement = f"{source} says {name}, but {' and '.join(others)}; {name} is used" if others else None
    return Region(name=name, source=source, disagreement=disagreement)
