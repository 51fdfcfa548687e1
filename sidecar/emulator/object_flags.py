"""Read flags that describe what the emulator starts with: a JSON object, or a YAML or JSON file with one or a list.

Elsewhere: what the objects mean (`licenses`, `customers`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import yaml

from sidecar.emulator.refusals import BadCommand


def load_objects(flag: str, given: str, example: str) -> list[Mapping[str, object]]:
    """Return the objects of one flag. Raises BadCommand, which names it."""
    try:
        text = given if given.lstrip().startswith("{") else Path(given).read_text(encoding="utf-8")
        found = json.loads(text) if text is given else yaml.safe_load(text)
    except OSError as problem:
        raise BadCommand(f"{flag} {given}: cannot be read: {problem.strerror}") from problem
    except (ValueError, yaml.YAMLError) as problem:
        raise BadCommand(f"{flag} {given}: is neither JSON nor a file of YAML or JSON") from problem
    objects = found if isinstance(found, list) else [found]
    if not all(isinstance(each, dict) for each in objects):
        raise BadCommand(f"{flag} {given}: must be an object such as {example}")
    return objects
