"""Check what a chart renders with its default values, as AWS Marketplace renders it.

Sources: AWS Marketplace seller guide, "Requirements for Amazon EKS add-on products" and "Security policies".
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from typing import Final

from sidecar.listing.chart import images, secrets
from sidecar.listing.chart.helm import NAMESPACE
from sidecar.listing.chart.manifests import Manifest, Object, containers, mapping, pods
from sidecar.listing.chart.sources import ADD_ON, SECURITY
from sidecar.listing.chart.subject import Subject
from sidecar.listing.chart.template_rules import ANNOTATION, BUILT_IN, HOOK
from sidecar.listing.chart.template_rules import NAMESPACE as NAMESPACE_RULE
from sidecar.listing.finding import Finding
from sidecar.listing.registry import Reference, reference
from sidecar.listing.rule import Rule, Severity

WORKLOAD: Final = Rule(
    id="chart-workload",
    severity=Severity.ERROR,
    title="The chart renders a Deployment or a DaemonSet",
    aws="EKS follows the deployment of an add-on by them; with a StatefulSet, a Job or resources of its own it fails.",
    source=ADD_ON,
    fix="Add a Deployment or a DaemonSet, if need be one that does nothing.",
)
CUSTOM: Final = Rule(
    id="chart-custom-resource",
    severity=Severity.ERROR,
    title="A custom resource does not come with its definition",
    aws="The add-on framework does not install a custom resource definition and a resource of that kind together.",
    source=ADD_ON,
    fix="Publish the definitions as an add-on of their own, or let customers apply the resources by the instructions.",
)
ARCHITECTURES: Final = Rule(
    id="chart-architectures",
    severity=Severity.ERROR,
    title="Pods run on AMD64 and on ARM64",
    aws="Add-ons support both architectures: many customers run AWS Graviton.",
    source=ADD_ON,
    fix="Take kubernetes.io/arch out of nodeSelector and affinity, or admit both.",
)
NAMESPACE_SAID: Final = Rule(
    id="chart-namespace-said",
    severity=Severity.WARNING,
    title="Every object says its namespace",
    aws="The namespace of an add-on is a templated one. A manifest without it goes wherever it is applied to.",
    source=ADD_ON,
    fix="Write namespace: {{ .Release.Namespace | quote }} under metadata.",
)
WILDCARD: Final = Rule(
    id="chart-rbac-wildcard",
    severity=Severity.WARNING,
    title="No role grants everything",
    aws="Products take the least permissions, and those of an add-on name the resources.",
    source=ADD_ON,
    fix="Name API groups, resources and verbs, and resourceNames where they are known.",
)
PRIVILEGES: Final = Rule(
    id="chart-privileges",
    severity=Severity.WARNING,
    title="No container asks for root, or for the privileges of its node",
    aws="Containers run without root by default and require the least privileges.",
    source=SECURITY,
    fix="Take it away, or make it a value that is off.",
)
CREDENTIALS: Final = Rule(
    id="chart-aws-credentials",
    severity=Severity.ERROR,
    title="No container is given AWS access keys",
    aws="Containers must not ask for AWS credentials: on EKS they take an IAM role by the service account.",
    source=SECURITY,
    fix="Drop AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; annotate the service account with a role.",
)
RULES: Final = (WORKLOAD, CUSTOM, ARCHITECTURES, NAMESPACE_SAID, WILDCARD, PRIVILEGES, CREDENTIALS)

ARCH_LABELS: Final = ("kubernetes.io/arch", "beta.kubernetes.io/arch")
BOTH: Final = frozenset({"amd64", "arm64"})
CLUSTER_WIDE: Final = frozenset(
    {"Namespace", "ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition", "PriorityClass", "StorageClass"}
    | {"PersistentVolume", "IngressClass", "RuntimeClass", "APIService", "MutatingWebhookConfiguration", "CSIDriver"}
    | {
        "ValidatingWebhookConfiguration",
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicyBinding",
        "Node",
        "CSINode",
    }
    | {"CertificateSigningRequest", "ClusterIssuer", "FlowSchema", "PriorityLevelConfiguration", "VolumeSnapshotClass"}
    | {"MutatingAdmissionPolicy", "MutatingAdmissionPolicyBinding", "ClusterTrustBundle", "DeviceClass", "GatewayClass"}
)
"""Kinds that have no namespace."""
_OF_VALUES: Final = (images.REGISTRY, images.ONE_LEVEL, images.TAG)
KEYS: Final = frozenset({"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"})


def check(subject: Subject, manifests: Sequence[Manifest], found: Collection[Finding]) -> Iterator[Finding]:
    """Yield what the rendered objects break. `found`: what was found without rendering, not to be found again."""
    if not any(one.kind in ("Deployment", "DaemonSet") for one in manifests):
        kinds = ", ".join(sorted({one.kind for one in manifests})) or "nothing"
        yield subject.finding(WORKLOAD, "Chart.yaml", f"it renders {kinds}.", seen=kinds)
    yield from _custom(subject, manifests)
    yield from _architectures(subject, manifests)
    seen = {(one.rule.id, one.file) for one in found}
    for manifest in manifests:
        yield from _namespace(subject, manifest, seen)
        yield from _hook(subject, manifest, seen)
        yield from _roles(subject, manifest)
        yield from secrets.find_rendered(subject, manifest)
        for pod in pods(manifest):
            yield from _pod(subject, manifest, pod)
            yield from _images(subject, manifest, pod, found)


def _at(subject: Subject, rule: Rule, manifest: Manifest, message: str, needle: str = "", seen: str = "") -> Finding:
    """Return a finding in the template of an object, in the line that has `needle` where one does."""
    path, line = place(subject, manifest.source, needle)
    return subject.finding(rule, path, f"{manifest.title}: {message}", line=line, seen=seen)


def place(subject: Subject, source: str, needle: str = "") -> tuple[str, int | None]:
    """Return path and line of what helm calls the source of an object: it writes aliases where directories are."""
    tail = source.rpartition("charts/")[2].partition("/")[2] if "charts/" in source else source
    texts = subject.texts
    near = [path for path in texts if path == source] or [path for path in texts if path.endswith(f"/{tail}")]
    if not near:
        return source or "Chart.yaml", None
    found = re.search(needle, texts[near[0]], re.MULTILINE) if needle else None
    return near[0], texts[near[0]].count("\n", 0, found.start()) + 1 if found else None


def _custom(subject: Subject, manifests: Sequence[Manifest]) -> Iterator[Finding]:
    defined = set()
    for one in manifests:
        if one.kind == "CustomResourceDefinition":
            spec = mapping(one.value.get("spec"))
            defined.add((str(spec.get("group")), str(mapping(spec.get("names")).get("kind"))))
    for one in manifests:
        if (one.group, one.kind) in defined:
            yield _at(subject, CUSTOM, one, "the chart has its definition too.", seen=f"{one.group}/{one.kind}")


def _architectures(subject: Subject, manifests: Sequence[Manifest]) -> Iterator[Finding]:
    """Yield pods for one architecture, but where pods of the same kind of object take the others."""
    admitted = [(manifest, architectures(pod)) for manifest in manifests for pod in pods(manifest)]
    of_kind: dict[str, set[str]] = {}
    for manifest, found in admitted:
        of_kind.setdefault(manifest.kind, set()).update(found)
    for manifest, found in admitted:
        together = of_kind[manifest.kind]
        if not found >= BOTH and not (together >= BOTH and found):
            only = " and ".join(sorted(found)) or "neither"
            yield _at(subject, ARCHITECTURES, manifest, f"its pods run on {only}.", r"kubernetes\.io/arch", only)


def architectures(pod: Object) -> frozenset[str]:
    """Return which of AMD64 and ARM64 a pod admits."""
    found = set(BOTH)
    selector = mapping(pod.get("nodeSelector"))
    for label in ARCH_LABELS:
        if label in selector:
            found &= {str(selector[label])}
    affinity = mapping(mapping(pod.get("affinity")).get("nodeAffinity"))
    terms = mapping(affinity.get("requiredDuringSchedulingIgnoredDuringExecution")).get("nodeSelectorTerms")
    if isinstance(terms, list) and terms:
        found &= set().union(*(_of_term(mapping(term)) for term in terms))
    return frozenset(found)


def _of_term(term: Object) -> set[str]:
    found = set(BOTH)
    expressions = term.get("matchExpressions")
    for one in expressions if isinstance(expressions, list) else []:
        held = mapping(one).get("values")
        values = {str(value) for value in (held if isinstance(held, list) else [])}
        if mapping(one).get("key") in ARCH_LABELS:
            operator = mapping(one).get("operator")
            found = found & values if operator == "In" else found - values if operator == "NotIn" else found
    return found


def _namespace(subject: Subject, manifest: Manifest, seen: Collection[tuple[str, str]]) -> Iterator[Finding]:
    name = manifest.metadata.get("name") if manifest.kind == "Namespace" else manifest.metadata.get("namespace")
    if manifest.kind in CLUSTER_WIDE and manifest.kind != "Namespace":
        return
    if not name:
        if not BUILT_IN.fullmatch(str(manifest.value.get("apiVersion"))):  # perhaps cluster-wide: nothing here says it
            return
        needle = rf"^kind: *[\"']?{re.escape(manifest.kind)}\b"
        yield _at(subject, NAMESPACE_SAID, manifest, "metadata has no namespace.", needle)
    elif name != NAMESPACE:
        found = _at(
            subject, NAMESPACE_RULE, manifest, f"its namespace is {name} in every release.", r"namespace:", str(name)
        )
        if (found.rule.id, found.file) not in seen:
            yield found


def _hook(subject: Subject, manifest: Manifest, seen: Collection[tuple[str, str]]) -> Iterator[Finding]:
    if manifest.is_hook:
        found = _at(subject, HOOK, manifest, f"it is rendered with {ANNOTATION}.", "annotations:", ANNOTATION)
        if (found.rule.id, found.file) not in seen:
            yield found


def _roles(subject: Subject, manifest: Manifest) -> Iterator[Finding]:
    rules = manifest.value.get("rules") if manifest.kind in ("Role", "ClusterRole") else None
    for one in rules if isinstance(rules, list) else []:
        for key in ("apiGroups", "resources", "verbs"):
            held = mapping(one).get(key)
            if isinstance(held, list) and "*" in held:
                yield _at(subject, WILDCARD, manifest, f"{key} has *.", rf"{key}:.*\*|^\s*- [\"']?\*", f"{key}: *")


def _pod(subject: Subject, manifest: Manifest, pod: Object) -> Iterator[Finding]:
    for key in ("hostNetwork", "hostPID", "hostIPC"):
        if pod.get(key) is True:
            yield _at(subject, PRIVILEGES, manifest, f"{key} is true.", rf"{key}:", key)
    for title, holder in (("the pod", pod), *((str(one.get("name")), one) for one in containers(pod))):
        context = mapping(holder.get("securityContext"))
        for key, value in (("privileged", True), ("runAsUser", 0), ("runAsNonRoot", False)):
            if context.get(key) is value or (key == "runAsUser" and context.get(key) == 0):
                yield _at(subject, PRIVILEGES, manifest, f"{title} has {key}: {str(value).lower()}.", rf"{key}:", key)
    for container in containers(pod):
        env = container.get("env")
        for one in env if isinstance(env, list) else []:
            name = str(mapping(one).get("name"))
            if name in KEYS:
                yield _at(subject, CREDENTIALS, manifest, f"{container.get('name')} is given {name}.", name, name)


def _images(subject: Subject, manifest: Manifest, pod: Object, found: Collection[Finding]) -> Iterator[Finding]:
    """Yield rendered images that no value holds, or that break a rule and were not found among the values."""
    known = {(one.rule.id, reference(one.seen).path) for one in found if one.rule in _OF_VALUES}
    for container in containers(pod):
        text = str(container.get("image", ""))
        one = reference(text)
        fixed = _at(subject, images.IN_VALUES, manifest, f"{text} is in no values.yaml.", r"image:", text)
        if not _is_in_values(subject, one.path) and not _is_found(one, fixed.file, found):
            yield fixed
        for rule, fault in ((images.REGISTRY, images.fault_of_registry(one)), (images.TAG, images.fault_of_tag(one))):
            if fault and not _is_known(rule, one.path, known):
                yield _at(subject, rule, manifest, f"{text} {fault}.", r"image:", text)


def _is_known(rule: Rule, path: str, known: Collection[tuple[str, str]]) -> bool:
    """Return whether the image of that path has the same fault among the values."""
    same = {rule.id, images.ONE_LEVEL.id} if rule is images.REGISTRY else {rule.id}
    return any(id_ in same and (path == held or path.endswith(f"/{held}")) for id_, held in known)


def _is_found(image: Reference, file: str, found: Collection[Finding]) -> bool:
    """Return whether an image was found in the same file without rendering it."""
    last = image.path.rpartition("/")[2]
    return any(one.rule is images.IN_VALUES and one.file == file and last in one.seen for one in found)


def _is_in_values(subject: Subject, path: str) -> bool:
    """Return whether the last part of an image's path is among the values."""
    last = path.rpartition("/")[2]
    return any(isinstance(value, str) and last in value for _, value in subject.values.leaves())
