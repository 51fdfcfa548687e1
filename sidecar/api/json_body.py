"""Read the JSON object in a request's body strictly.

Invariants:
- Nothing is guessed: a name given twice and a name that the route does not take are refused, each with the rule.
"""

from __future__ import annotations

from collections.abc import Sequence

from sidecar.strict_json import Repeated, parse, shown


class Malformed(ValueError):
    """A request that cannot be read. The text becomes the detail of a 400."""


def read_object(body: bytes, names: Sequence[str]) -> dict[str, object]:
    """Return the members of the object in a body, which have these names and no other. Raises Malformed.

    An empty body is an object without members.
    """
    try:
        found = parse(body.decode() or "{}")
    except UnicodeDecodeError:
        raise Malformed("The body is not UTF-8.") from None
    except ValueError as exc:
        raise Malformed(f"The body {exc}") from None
    if isinstance(found, Repeated):
        raise Malformed(f"{shown(found.name)} is given twice.")
    if not isinstance(found, dict):
        raise Malformed(f"The body is {shown(found)}, not an object.")
    if unknown := [name for name in found if name not in names]:
        fields = f"there are {', '.join(names)}" if len(names) > 1 else f"there is {names[0]}"
        raise Malformed(f"{shown(unknown[0])} is not a field; {fields}.")
    return found
