"""Read what helm renders: objects, each with the template that it comes from.

Invariants:
- What is no object of Kubernetes is left out; helm lint and the cluster speak of that.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from sidecar.listing.chart.yaml_text import YamlFault, read
from sidecar.quick_dataclasses import dataclass

HOOK: Final = "helm.sh/hook"
"""The annotation that makes an object a hook."""
DEPTH_MAX: Final = 30
_SOURCE: Final = re.compile(r"^# Source: (?P<path>\S+)$", re.MULTILINE)
_PODS: Final = ("containers", "initContainers", "ephemeralContainers")

Object = Mapping[str, object]


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """One rendered object."""

    source: str
    """Path of its template relative to the chart, as helm names it."""
    value: Object

    @property
    def kind(self) -> str:
        """Return its kind."""
        return str(self.value.get("kind", ""))

    @property
    def metadata(self) -> Object:
        """Return its metadata, empty where it has none."""
        return mapping(self.value.get("metadata"))

    @property
    def is_hook(self) -> bool:
        """Return whether Helm runs it as a hook."""
        return HOOK in mapping(self.metadata.get("annotations"))

    @property
    def title(self) -> str:
        """Return kind and name."""
        return f"{self.kind} {self.metadata.get('name', '')}".strip()

    @property
    def group(self) -> str:
        """Return the group of its API, empty for the core one."""
        return str(self.value.get("apiVersion", "")).rpartition("/")[0]


def mapping(value: object) -> Object:
    """Return a mapping as it is, and an empty one for anything else."""
    return value if isinstance(value, dict) else {}


def parse(output: str) -> Iterator[Manifest]:
    """Yield the objects in what helm template writes, those in lists one by one."""
    for text in re.split(r"^---[ \t]*$", output, flags=re.MULTILINE):
        found = _SOURCE.search(text)
        source = found["path"].partition("/")[2] if found else ""
        try:
            value = read(text).value
        except YamlFault:
            continue
        for one in _objects(value):
            yield Manifest(source=source, value=one)


def _objects(value: object) -> Iterator[Object]:
    one = mapping(value)
    if one.get("kind") == "List":
        items = one.get("items")
        yield from (mapping(item) for item in (items if isinstance(items, list) else []) if mapping(item).get("kind"))
    elif one.get("kind"):
        yield one


def pods(manifest: Manifest) -> Iterator[Object]:
    """Yield every pod's spec in an object, wherever it stands: a mapping with a list of containers."""
    left: list[tuple[object, int]] = [(manifest.value, 0)]
    while left:
        value, depth = left.pop()
        if depth > DEPTH_MAX:
            continue
        if isinstance(value, dict):
            if any(isinstance(value.get(key), list) for key in _PODS):
                yield value
            left.extend((inner, depth + 1) for inner in value.values())
        elif isinstance(value, list):
            left.extend((inner, depth + 1) for inner in value)


def containers(pod: Object) -> Iterator[Object]:
    """Yield the containers of a pod, init containers first."""
    for key in ("initContainers", "containers", "ephemeralContainers"):
        held = pod.get(key)
        yield from (one for one in (held if isinstance(held, list) else []) if isinstance(one, dict))
