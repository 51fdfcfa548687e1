"""Check that the settings are right, from every source that `run` reads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Final

from sidecar.doctor.context import Context
from sidecar.doctor.finding import Finding, failed, passed, warned
from sidecar.settings import Settings

RULE: Final = "Every setting has a value that `run` accepts; with a wrong one it ends with exit code 78."
FIXES: Final[Mapping[str, str]] = {
    "a setting is wrong": "{problem}",
    "a variable of the AWS SDK is set that is ignored": "Remove {names} from the container: the sidecar ignores such"
    " variables, which could direct it to another host or account.",
}
IGNORED: Final = "a variable of the AWS SDK is set that is ignored"


def check(context: Context) -> Finding:
    """Return every problem of the settings at once, or where they come from."""
    if context.settings is None:
        problems = context.settings_problems
        names = ", ".join(dict.fromkeys(problem.setting for problem in problems))
        return failed(RULE, f"{len(problems)} wrong: {names}", "\n".join(map(str, problems)))
    seen = _sources(context.settings)
    if context.settings.ignored:
        names = ", ".join(context.settings.ignored)
        return warned(RULE, f"{seen}; set and ignored: {names}", FIXES[IGNORED].format(names=names))
    return passed(RULE, seen)


def _sources(settings: Settings) -> str:
    """Return the product, how it is checked, and how many settings each source gave."""
    counts = Counter(origin for origin in settings.origins.values() if origin != "default")
    given = ", ".join(f"{count} from {origin}" for origin, count in sorted(counts.items()))
    return f"product {settings.product}, {settings.entitlement_check.value}; {given}"
