"""Check in which region AWS is asked, where that is known from, and whether the sources agree.

Sources: AWS Marketplace API Reference, RegisterUsage (InvalidRegionException) and MeterUsage: the region must be the
one in which the workload runs; MeterUsage in GovCloud serves AMIs only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sidecar.doctor.context import Context
from sidecar.doctor.finding import Finding, failed, passed, warned
from sidecar.gate.hint_facts import hint_facts
from sidecar.platform import ecs
from sidecar.platform.identity import Region

RULE: Final = "AWS is asked in the region in which the pod or task runs; the platform names it, never a setting."
UNKNOWN: Final = "no source names a region"
DISAGREE: Final = "the sources disagree"
NO_REGION: Final = "the SDK knows no such region"
GOVCLOUD: Final = "AWS GovCloud, and usage is metered"
FIXES: Final[Mapping[str, str]] = {
    UNKNOWN: "{region_fix}",
    DISAGREE: "Remove AWS_REGION and AWS_DEFAULT_REGION from the container: the platform sets them.",
    NO_REGION: "Correct AWS_REGION or AWS_DEFAULT_REGION, or remove it: the platform sets it. If the region is new,"
    " nothing is to be done.",
    GOVCLOUD: "Run the product in a commercial region: in GovCloud AWS Marketplace meters no dimensions of containers.",
}


def check(context: Context) -> Finding:
    """Return the region and its source."""
    if context.task_fault:
        return failed(RULE, f"{UNKNOWN}: {context.task_fault.hint}", _region_fix(context))
    region = context.region
    if region is None:
        asked = f"the task ARN, {_variables()}" if ecs.on_ecs(context.env) else _variables()
        return failed(RULE, f"{UNKNOWN}: {asked} and instance metadata", _region_fix(context))
    with context.sdk_environment():
        known = context.marketplace.knows_region()
    return judged(region, known, "MeterUsage" in context.operations)


def judged(region: Region, known: bool, meters: bool) -> Finding:
    """Return the finding about a region. `known`: to the SDK; `meters`: whether dimensions are metered."""
    seen = f"{region.name}, from {region.source}"
    if region.disagreement:
        return warned(RULE, f"{seen}; {region.disagreement}", FIXES[DISAGREE])
    if not known:
        return warned(RULE, f"{seen}; {NO_REGION}", FIXES[NO_REGION])
    if meters and region.name.startswith("us-gov-"):
        return warned(RULE, f"{seen}; {GOVCLOUD}", FIXES[GOVCLOUD])
    return passed(RULE, seen)


def _variables() -> str:
    return "AWS_REGION, AWS_DEFAULT_REGION"


def _region_fix(context: Context) -> str:
    facts = hint_facts(context.env, "", 1)
    return FIXES[UNKNOWN].format(region_fix=facts["region_fix"])
