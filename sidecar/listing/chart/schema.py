"""Check the schemas of a chart's values: Helm's own, and what an add-on offers its buyers.

Invariants:
- What a secret is called is found by its name; no value of one is repeated.

Sources: AWS Marketplace seller guide, "Add-on configuration requirements and best practices for add-on providers".
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Final

from sidecar.listing.chart.chart import VALUES
from sidecar.listing.chart.sources import ADD_ON, CATALOG, CONFIGURATION
from sidecar.listing.chart.subject import Subject
from sidecar.listing.chart.yaml_text import YamlFault, read
from sidecar.listing.finding import Finding
from sidecar.listing.rule import Rule, Severity
from sidecar.quick_dataclasses import dataclass

VALUES_SCHEMA: Final = "values.schema.json"
ADD_ON_SCHEMA: Final = "aws_mp_configuration_schema.json"
PARAMETERS: Final = "aws_mp_addon_parameters.json"

MISSING: Final = Rule(
    id="chart-schema-missing",
    severity=Severity.WARNING,
    title="The chart has values.schema.json and aws_mp_configuration_schema.json",
    aws="An add-on that lets its buyers configure anything must have aws_mp_configuration_schema.json at its root. "
    "values.schema.json lets Helm refuse a misspelt value, which otherwise counts for nothing.",
    source=CONFIGURATION,
    fix='Write both, each with "$schema": "https://json-schema.org/draft-07/schema"; '
    "the second with what a buyer may set, and nothing else.",
)
JSON: Final = Rule(
    id="chart-schema-json",
    severity=Severity.ERROR,
    title="The chart's JSON files are JSON objects",
    aws="EKS checks a buyer's configuration by the schema; AWS reads both files when a version is added.",
    source=CONFIGURATION,
    fix="Correct the file.",
)
DRAFT: Final = Rule(
    id="chart-schema-draft",
    severity=Severity.ERROR,
    title="The schema's $schema is draft-04, draft-06, draft-07 or 2019-09",
    aws="EKS add-ons know these drafts; any other keeps the add-on from being released.",
    source=CONFIGURATION,
    fix='Write "$schema": "https://json-schema.org/draft-07/schema".',
)
CAMEL_CASE: Final = Rule(
    id="chart-schema-camel-case",
    severity=Severity.ERROR,
    title="Parameters that a buyer may set are camelCase",
    aws="Configuration parameters must be camelCase and are rejected otherwise.",
    source=CONFIGURATION,
    fix="Rename the value, or give the dependency an alias in camelCase.",
)
DESCRIPTION: Final = Rule(
    id="chart-schema-description",
    severity=Severity.ERROR,
    title="Every parameter that a buyer may set has a description",
    aws="The EKS console shows it as the label of the parameter.",
    source=CONFIGURATION,
    fix="Add a description.",
)
NO_SECRET: Final = Rule(
    id="chart-schema-secret",
    severity=Severity.ERROR,
    title="No parameter takes a secret",
    aws="The configuration of an add-on is plain text; buyers give the name of a Secret. AWS answers "
    "INVALID_HELM_SENSITIVE_CONFIG.",
    source=CATALOG,
    fix="Take the name of a Secret instead, under a name that says so: apiKeySecretName.",
)
OFFERED: Final = Rule(
    id="chart-schema-offered",
    severity=Severity.WARNING,
    title="Nothing is offered that EKS sets, or that AWS asks not to offer",
    aws="Region, cluster name, VPC and account come from EKS. Images, pull secrets, service accounts, probes, security "
    "contexts, overrides of names and extra volumes are not recommended.",
    source=CONFIGURATION,
    fix="Leave it out of the schema; values.yaml may still have it.",
)
DEFAULT: Final = Rule(
    id="chart-schema-default",
    severity=Severity.WARNING,
    title="Parameters and their defaults are those of values.yaml",
    aws="A default in the schema is documentation only; it must be the one that values.yaml has, and the two kept in "
    "step.",
    source=CONFIGURATION,
    fix="Write the same into both.",
)
EXTRA_VALUE: Final = Rule(
    id="chart-schema-k8version",
    severity=Severity.ERROR,
    title="values.schema.json admits the value k8version",
    aws="AWS renders with --set k8version=VERSION. A schema that closes the outermost object refuses that, and AWS "
    "answers INVALID_HELM_TEMPLATE.",
    source=ADD_ON,
    fix='Add "k8version": {"type": ["string", "number"]} to the properties.',
)
POD_IDENTITY: Final = Rule(
    id="chart-addon-parameters",
    severity=Severity.WARNING,
    title="aws_mp_addon_parameters.json is left out, or grants Pod Identity what it says",
    aws="The file describes permissions for EKS Pod Identity alone. Pay-as-you-go products may not use Pod Identity: "
    "metering needs IRSA. Elsewhere, an empty list of policies was refused.",
    source=ADD_ON,
    fix="Delete the file for a metered product; else name a service account and its managed policies.",
)
RULES: Final = (
    *(MISSING, JSON, DRAFT, CAMEL_CASE, DESCRIPTION, NO_SECRET, OFFERED, DEFAULT, EXTRA_VALUE),
    POD_IDENTITY,
)

DRAFTS: Final = re.compile(r"https?://json-schema\.org/(?:draft-0[467]|draft/2019-09)/schema#?")
_CAMEL: Final = re.compile(r"[a-z][A-Za-z0-9]*")
_SECRET: Final = re.compile(
    r"passw(?:or)?d|passphrase|secret|token|apikey|licen[cs]ekey|privatekey|accesskey|certificate|credential",
    re.IGNORECASE,
)
_NAMED: Final = re.compile(r"(?:name|names|ref|refs|file|path|field|header|arn|enabled|create|keyname)", re.IGNORECASE)
FROM_EKS: Final = frozenset(
    {"region", "awsRegion", "clusterName", "vpcId", "accountId", "clusterEndpoint", "clusterDnsIp"}
)
NOT_RECOMMENDED: Final = frozenset(
    {
        "image",
        "images",
        "imagePullSecrets",
        "imagePullPolicy",
        "livenessProbe",
        "readinessProbe",
        "startupProbe",
        "probes",
    }
    | {"podDisruptionBudget", "serviceAccount", "serviceAccountName", "priorityClassName", "podSecurityContext"}
    | {"securityContext", "updateStrategy", "nameOverride", "fullnameOverride", "podSecurityPolicy"}
    | {"extraVolumes", "extraVolumeMounts"}
)
DEPTH_MAX: Final = 40


@dataclass(frozen=True, kw_only=True)
class _Property:
    path: tuple[str, ...]
    schema: Mapping[str, object]
    line: int | None

    @property
    def name(self) -> str:
        return self.path[-1]

    @property
    def dotted(self) -> str:
        return ".".join(self.path)


def check(subject: Subject) -> Iterator[Finding]:
    """Yield what the schemas and the values break."""
    texts = subject.chart.texts
    for path in (VALUES_SCHEMA, ADD_ON_SCHEMA):
        if path not in texts and path not in subject.contents:
            yield subject.finding(MISSING, path, f"{path} is missing.")
    loaded = {path: _load(texts[path]) for path in (VALUES_SCHEMA, ADD_ON_SCHEMA, PARAMETERS) if path in texts}
    for path, one in loaded.items():
        if isinstance(one, str):
            yield subject.finding(JSON, path, f"{path} {one}.", line=1)
        elif path != PARAMETERS:
            yield from _draft(subject, path, one)
    yield from _admits(subject, loaded.get(VALUES_SCHEMA))
    yield from _properties(subject, loaded.get(ADD_ON_SCHEMA))
    yield from _parameters(subject, loaded.get(PARAMETERS))


Loaded = dict[str, object] | str | None


def _load(text: str) -> dict[str, object] | str:
    """Return a JSON object, or what is wrong with it."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as exc:
        return f"is no JSON: {exc}" if isinstance(exc, ValueError) else "nests too deep"
    return value if isinstance(value, dict) else "holds no object"


def _draft(subject: Subject, path: str, schema: Mapping[str, object]) -> Iterator[Finding]:
    draft = schema.get("$schema")
    if not isinstance(draft, str) or not DRAFTS.fullmatch(draft):
        message = f"$schema is {draft!r}." if draft is not None else "$schema is missing."
        yield subject.finding(
            DRAFT, path, message, line=_line(subject.chart.texts[path], "$schema"), seen=str(draft or "")
        )


def _admits(subject: Subject, schema: Loaded) -> Iterator[Finding]:
    if not isinstance(schema, dict) or schema.get("additionalProperties", True) is not False:
        return
    known, patterns = schema.get("properties"), schema.get("patternProperties")
    if "k8version" in (known if isinstance(known, dict) else {}) or patterns:
        return
    line = _line(subject.chart.texts[VALUES_SCHEMA], "additionalProperties")
    message = "additionalProperties is false, and k8version is no property."
    yield subject.finding(EXTRA_VALUE, VALUES_SCHEMA, message, line=line)


def _properties(subject: Subject, schema: Loaded) -> Iterator[Finding]:
    if not isinstance(schema, dict):
        return
    for one in _walk(schema, subject.chart.texts[ADD_ON_SCHEMA]):
        for rule, message in _faults(subject, one):
            yield subject.finding(rule, ADD_ON_SCHEMA, f"{one.dotted} {message}.", line=one.line, place=one.dotted)


def _walk(schema: Mapping[str, object], text: str) -> Iterator[_Property]:
    """Yield every property of a schema with its path, breadth first."""
    try:
        lines = read(text.replace("\t", " ")).lines
    except YamlFault:
        lines = {}
    left: list[tuple[tuple[str, ...], tuple[str | int, ...], Mapping[str, object]]] = [((), (), schema)]
    while left:
        path, place, one = left.pop(0)
        properties = one.get("properties")
        if isinstance(properties, dict) and len(path) < DEPTH_MAX:
            for name, inner in properties.items():
                found = inner if isinstance(inner, dict) else {}
                where = (*place, "properties", name)
                yield _Property(path=(*path, name), schema=found, line=lines.get(where))
                left.append(((*path, name), where, found))
        items = one.get("items")
        if isinstance(items, dict) and len(place) < 2 * DEPTH_MAX:
            left.append((path, (*place, "items"), items))


def _faults(subject: Subject, one: _Property) -> Iterator[tuple[Rule, str]]:
    if not _CAMEL.fullmatch(one.name):
        yield CAMEL_CASE, "is not camelCase"
    if not str(one.schema.get("description", "")).strip():
        yield DESCRIPTION, "has no description"
    if is_secret(one.name) and one.schema.get("type") not in ("object", "boolean", "integer", "number"):
        yield NO_SECRET, "is called like a secret"
    if one.name in FROM_EKS:
        yield OFFERED, "is what EKS itself sets"
    elif one.name in NOT_RECOMMENDED:
        yield OFFERED, "is not recommended to offer"
    elif "default" in one.schema and VALUES not in subject.unread:
        there = subject.values.get(one.path)
        if there != one.schema["default"]:
            shown = f"{one.schema['default']!r}, and values.yaml has {there!r}"
            yield DEFAULT, f"has the default {'that values.yaml has not' if is_secret(one.name) else shown}"


def is_secret(name: str) -> bool:
    """Return whether a key is called like a secret, and not like the name of one."""
    return bool(_SECRET.search(name)) and not _NAMED.search(_SECRET.sub("", name)) and not name.startswith("existing")


def _parameters(subject: Subject, document: Loaded) -> Iterator[Finding]:
    if not isinstance(document, dict):
        return
    permissions = document.get("permissions")
    granted = permissions.get("permissionsList") if isinstance(permissions, dict) else None
    empty = not isinstance(granted, list) or not all(
        isinstance(one, dict) and one.get("managedPolicies") for one in granted
    )
    message = (
        "an entry has no managedPolicies." if empty or not granted else "metered products may not use Pod Identity."
    )
    line = _line(subject.chart.texts[PARAMETERS], "permissions")
    yield subject.finding(POD_IDENTITY, PARAMETERS, message, line=line)


def _line(text: str, key: str) -> int:
    """Return the first line that has a key of JSON, 1 where none has."""
    found = re.search(rf'"{re.escape(key)}"\s*:', text)
    return text.count("\n", 0, found.start()) + 1 if found else 1
