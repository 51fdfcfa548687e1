"""Call helm for a chart, and check what only it can say: lint, rendering, other regions, an account that is there.

Sources: AWS Marketplace seller guide, "Requirements for Amazon EKS add-on products", "Helm chart structure
requirements" (other regions) and "Adding a new version" (`${AWSMP_SERVICE_ACCOUNT}` of Quick Launch).
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from sidecar.listing.chart import rendered
from sidecar.listing.chart.chart import METADATA, VALUES
from sidecar.listing.chart.helm import VERSIONS, Helm, Run
from sidecar.listing.chart.manifests import Manifest, containers, parse, pods
from sidecar.listing.chart.sources import ADD_ON, CATALOG, STRUCTURE, VERSION
from sidecar.listing.chart.subject import Subject
from sidecar.listing.chart.yaml_text import Path as ValuePath
from sidecar.listing.finding import Finding
from sidecar.listing.registry import MARKETPLACE
from sidecar.listing.rule import Rule, Severity

LINT: Final = Rule(
    id="chart-helm-lint",
    severity=Severity.ERROR,
    title="helm lint --strict --with-subcharts passes",
    aws="AWS answers INVALID_HELM_LINT. Its public checker calls lint with these flags.",
    source=CATALOG,
    fix="Run it, and correct what it names.",
)
TEMPLATE: Final = Rule(
    id="chart-helm-template",
    severity=Severity.ERROR,
    title="helm template passes with the chart's own values, as AWS calls it",
    aws="AWS renders with the default values, --set k8version=VERSION, --kube-version, --namespace, --include-crds and "
    "--no-hooks, for every version of Kubernetes that the listing names, and answers INVALID_HELM_TEMPLATE.",
    source=CATALOG,
    fix="Give every value that is required a default. Keep kubeVersion wide enough.",
)
REGION: Final = Rule(
    id="chart-image-region",
    severity=Severity.ERROR,
    title="Another region in values.yaml reaches every image",
    aws="A changed region in values.yaml must change every image of the deployed resources.",
    source=STRUCTURE,
    fix="Take registry, repository and tag of every image from values.yaml, without a condition that passes them by.",
)
ACCOUNT: Final = Rule(
    id="chart-service-account",
    severity=Severity.ERROR,
    title="The chart creates its service account by default",
    aws="Paid add-ons call AWS by the service account, and EKS ties the role to one that is there.",
    source=ADD_ON,
    fix="Render a ServiceAccount, with serviceAccount.create: true in values.yaml.",
)
QUICK_LAUNCH: Final = Rule(
    id="chart-quick-launch",
    severity=Severity.ERROR,
    title="A value names a service account that is there already",
    aws="A paid chart needs one override parameter with ${AWSMP_SERVICE_ACCOUNT}: Quick Launch makes the account and "
    "gives its name. AWS answers NO_SERVICE_ACCOUNT_CONFIGURATION without it.",
    source=VERSION,
    fix="Have serviceAccount.create and serviceAccount.name: with create: false, render no account and use the name in "
    "pods.",
)
RULES: Final = (LINT, TEMPLATE, REGION, ACCOUNT, QUICK_LAUNCH)

OTHER_REGION: Final = "eu-west-1"
PROBE_ACCOUNT: Final = "listing-check-account"


def check(subject: Subject, helm: Helm, found: Sequence[Finding]) -> Iterator[Finding]:
    """Yield what helm refuses and what it renders. `found`: findings that need no helm."""
    lint = helm.lint()
    yield from _failed(subject, LINT, lint)
    runs = [lint] if lint.stopped else list(_templates(helm))
    yield from _failed(subject, TEMPLATE, *(run for run in runs if not run.ok))
    if not runs[-1].ok:
        return
    manifests = list(parse(runs[-1].output))
    everything = parse(helm.template(VERSIONS[-1], hooks=True).output)
    yield from rendered.check(subject, manifests + [one for one in everything if one.is_hook], found)
    yield from _region(subject, helm, manifests)
    yield from _accounts(subject, helm, manifests)


def _templates(helm: Helm) -> Iterator[Run]:
    """Render for each version of Kubernetes, until a call had to be stopped."""
    for version in VERSIONS:
        run = helm.template(version)
        yield run
        if run.stopped:
            return


def renders(findings: Collection[Finding]) -> bool:
    """Return whether the chart was rendered, so that what is rendered was checked."""
    return not any(one.rule is TEMPLATE for one in findings)


def _failed(subject: Subject, rule: Rule, *runs: Run) -> Iterator[Finding]:
    for run in runs:
        if not run.ok:
            yield subject.finding(rule, METADATA, f"{run.command} fails: {_reason(run)}", seen=run.command)


def _reason(run: Run) -> str:
    """Return the lines of helm's output that say what is wrong."""
    lines = [line.strip() for line in f"{run.error}\n{run.output}".splitlines()]
    told = [line for line in lines if line.startswith(("[ERROR]", "[WARNING]"))] or [line for line in lines if line]
    return " ".join(told)[:1_000] or "without a message."


def _rendered(helm: Helm, values: Mapping[str, object]) -> list[Manifest] | str:
    """Render with other values. Returns helm's message where it refuses them."""
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "values.json"
        file.write_text(json.dumps(values))
        run = helm.template(VERSIONS[-1], "--values", str(file))
    return list(parse(run.output)) if run.ok else _reason(run)


def _region(subject: Subject, helm: Helm, manifests: Sequence[Manifest]) -> Iterator[Finding]:
    moved = MARKETPLACE.replace("us-east-1", OTHER_REGION)
    values = _changed(subject.values.tree, MARKETPLACE, moved)
    if not values:
        return
    moved_manifests = _rendered(helm, values)
    if isinstance(moved_manifests, str):
        yield subject.finding(REGION, VALUES, f"with {OTHER_REGION} in it, helm template fails: {moved_manifests}")
        return
    for one in moved_manifests:
        for container in (container for pod in pods(one) for container in containers(pod)):
            image = str(container.get("image"))
            if image.startswith(MARKETPLACE):
                path, line = rendered.place(subject, one.source, r"image:")
                message = f"{one.title}: {image} stays where values.yaml names {OTHER_REGION}."
                yield subject.finding(REGION, path, message, line=line, seen=image)


def _changed(tree: Mapping[str, object], old: str, new: str) -> dict[str, object]:
    """Return what of the values changes with a replacement: mappings by key, lists as a whole."""
    changed: dict[str, object] = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            inner = _changed(value, old, new)
            if inner:
                changed[key] = inner
        elif isinstance(value, str | list) and old in json.dumps(value, default=str):
            changed[key] = json.loads(json.dumps(value, default=str).replace(old, new))
    return changed


def _accounts(subject: Subject, helm: Helm, manifests: Sequence[Manifest]) -> Iterator[Finding]:
    if not any(one.kind == "ServiceAccount" for one in manifests):
        message = "no ServiceAccount is rendered with the default values."
        yield subject.finding(ACCOUNT, VALUES, message, line=_create_line(subject))
    faults = []
    for path, values in _account_values(subject):
        fault = _launch_fault(_rendered(helm, values))
        if not fault:
            return
        faults.append((path, fault))
    if not faults:
        message = "no value is called serviceAccount.name or serviceAccountName."
        yield subject.finding(QUICK_LAUNCH, VALUES, message)
        return
    path, fault = faults[0]
    file, line = subject.values.place(path)
    name = ".".join(map(str, path))
    yield subject.finding(QUICK_LAUNCH, file, f"with {name} set, {fault}.", line=line, place=name)


def _create_line(subject: Subject) -> int | None:
    """Return the line of the outermost chart's values that says whether an account is made."""
    places = [subject.values.place((*path, "create")) for path, _ in subject.values.mappings() if _is_account(path)]
    return next((line for file, line in places if file == VALUES), None)


def _is_account(path: ValuePath) -> bool:
    """Return whether a mapping is an account, or one of several: `serviceAccounts.web`."""
    above, last = ("", *(str(key).lower() for key in path))[-2:]
    return last.endswith("serviceaccount") or above.endswith("serviceaccounts")


def _account_values(subject: Subject) -> Iterator[tuple[ValuePath, Mapping[str, object]]]:
    """Yield each value that may name a service account, and values that name one by it."""
    for path, value in subject.values.mappings():
        if _is_account(path) and "name" in value:
            create = {"create": False} if "create" in value else {}
            yield (*path, "name"), _nested(path, {**create, "name": PROBE_ACCOUNT})
    for path, leaf in subject.values.leaves():
        if str(path[-1]).lower().endswith(("serviceaccountname", "serviceaccount")) and not isinstance(leaf, bool):
            yield path, _nested(path, PROBE_ACCOUNT)


def _nested(path: ValuePath, value: object) -> dict[str, object]:
    for key in reversed(path):
        value = {str(key): value}
    assert isinstance(value, dict)
    return value


def _launch_fault(manifests: Sequence[Manifest] | str) -> str:
    if isinstance(manifests, str):
        return f"helm template fails: {manifests}"
    if any(one.kind == "ServiceAccount" and one.metadata.get("name") == PROBE_ACCOUNT for one in manifests):
        return "the chart renders that account itself"
    if not any(pod.get("serviceAccountName") == PROBE_ACCOUNT for one in manifests for pod in pods(one)):
        return "no pod uses it"
    return ""
