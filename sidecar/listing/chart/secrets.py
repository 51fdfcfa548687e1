"""Find secrets that a chart brings along: in values, in files, and in what its templates write.

Invariants:
- No secret is given out: its place and kind alone.
- The name of a Secret is none: `existingSecret: shop-db`.

Sources: AWS Marketplace seller guide, "Container-based product requirements" (no hardcoded secrets).
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from typing import Final

from sidecar.listing.chart.chart import VALUES
from sidecar.listing.chart.manifests import Manifest, containers, mapping, pods
from sidecar.listing.chart.sources import ADD_ON
from sidecar.listing.chart.subject import Subject
from sidecar.listing.finding import Finding
from sidecar.listing.rule import Rule, Severity
from sidecar.listing.secret_values import HARMLESS, NAME
from sidecar.secret_forms import kinds

PLAIN_SECRET: Final = Rule(
    id="chart-values-secret",
    severity=Severity.ERROR,
    title="No value, template or file holds a secret",
    aws="Nothing that AWS Marketplace lists may hold a password, a key or a credential.",
    source=ADD_ON,
    fix="Empty the value; take the name of a Secret that the customer makes.",
)

_OWN: Final = re.compile(
    r"(?:access|api|app|auth|client|consumer|cookie|encryption|hmac|jwt|oauth|session|shared)secret", re.IGNORECASE
)
"""A `…Secret` that is one itself. Any other is the name of one, as charts write it."""
_OBJECT_NAME: Final = re.compile(r"[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?")
_FILLED_IN: Final = re.compile(r"://[^\s/@]*(?:\$[({]|\{\{|<)[^\s/@]*@")
"""User and password of a URL that come from elsewhere."""
_KEY_TEXT: Final = re.compile(r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----\s+[A-Za-z0-9+/=]{4}")
_LITERAL_MIN: Final = 4
"""Characters of a text that is looked for in a template."""


def find(subject: Subject) -> Iterator[Finding]:
    """Yield secrets in values and files."""
    for path, value in subject.values.leaves():
        if path and isinstance(value, str) and (kind := _kind_of(subject, path, value)):
            file, line = subject.values.place(path)
            name = ".".join(map(str, path))
            yield subject.finding(PLAIN_SECRET, file, f"{name} {kind}.", line=line, place=name)
    values = {f"{chart.directory}{VALUES}" for chart in subject.charts}
    for written, text in subject.texts.items():
        if written not in values:
            yield from _in_text(subject, written, text)


def find_rendered(subject: Subject, manifest: Manifest) -> Iterator[Finding]:
    """Yield secrets that stand in the template of an object: in a Secret, or in the environment of a container."""
    source = next((text for path, text in subject.texts.items() if path == manifest.source), "")
    for name, value in (*_of_secret(manifest), *_of_environment(manifest)):
        if len(value) >= _LITERAL_MIN and value in source and (kind := kind_of(name, value)):
            line = source.count("\n", 0, source.index(value)) + 1
            message = f"{manifest.title}: {name} {kind}."
            yield subject.finding(PLAIN_SECRET, manifest.source, message, line=line, place=name)


def kind_of(name: str, value: str) -> str:
    """Return in words why a value is a secret; empty where it is none."""
    found = next(kinds(_FILLED_IN.sub("://", value).encode("utf-8", "surrogateescape")), "")
    if found:
        return f"has {found}"
    key = re.sub(r"[-_]", "", name)
    if key.lower().startswith("existing") or "{{" in value or HARMLESS.fullmatch(value.strip()):
        return ""
    names_one = key.lower().endswith("secret") and not _OWN.search(key) and _OBJECT_NAME.fullmatch(value)
    return "is called like a secret, and is not empty" if NAME.fullmatch(key) and not names_one else ""


def _kind_of(subject: Subject, path: tuple[str | int, ...], value: str) -> str:
    """Return in words why a value is a secret. The `value` beside a `name` is called by that."""
    name = str(path[-1])
    if name == "value":
        tree: object = subject.values.tree
        for key in path[:-1]:
            tree = tree[key] if isinstance(tree, list) and isinstance(key, int) else mapping(tree).get(str(key))
        name = str(mapping(tree).get("name", name))
    return kind_of(name, value)


def _in_text(subject: Subject, path: str, text: str) -> Iterator[Finding]:
    """Yield the lines of a file that have the form of a credential."""
    for number, line in enumerate(text.split("\n"), 1):
        found = next(kinds(line.encode(), in_files=True), "")
        if found and found != "a private key":
            yield subject.finding(PLAIN_SECRET, path, f"{found} stands here.", line=number)
    for begin in _KEY_TEXT.finditer(text):
        line_number = text.count("\n", 0, begin.start()) + 1
        yield subject.finding(PLAIN_SECRET, path, "a private key stands here.", line=line_number)


def _of_secret(manifest: Manifest) -> Iterator[tuple[str, str]]:
    if manifest.kind == "Secret":
        for name, value in mapping(manifest.value.get("stringData")).items():
            yield name, str(value)
        for name, value in mapping(manifest.value.get("data")).items():
            yield name, str(value)
            yield name, _decoded(str(value))


def _decoded(text: str) -> str:
    try:
        return base64.b64decode(text, validate=True).decode()
    except ValueError:
        return ""


def _of_environment(manifest: Manifest) -> Iterator[tuple[str, str]]:
    for container in (one for pod in pods(manifest) for one in containers(pod)):
        env = container.get("env")
        for one in env if isinstance(env, list) else []:
            if isinstance(mapping(one).get("value"), str):
                yield str(one.get("name")), one["value"]
