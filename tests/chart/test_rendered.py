"""The chart renders alone, in a parent, under an alias and twice in an umbrella."""

from __future__ import annotations

import itertools
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.chart.kubeconform import CLASSIC, NATIVE, refusals
from tests.chart.schemas import VERSIONS
from tests.chart.support import (
    CASES,
    CHART,
    EXAMPLES,
    HELM,
    NAME,
    PARENT,
    container,
    helm_template,
    in_parent,
    of_kind,
    pod_of,
    ran,
    refusal,
    render,
    tool,
)

ROLE = "arn:aws:iam::123456789012:role/metering"
ROLE_KEY = "eks.amazonaws.com/role-arn"
WITHOUT_SCHEMA = "PodMonitor,PrometheusRule,Certificate,Issuer"


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return in_parent(tmp_path_factory.mktemp("parent"))


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    copy = tmp_path_factory.mktemp("example") / "bookshop"
    shutil.copytree(EXAMPLES / "after", copy, ignore=shutil.ignore_patterns("charts"))
    done = vendor(copy)
    assert done.returncode == 0, done.stdout + done.stderr
    return copy


def vendor(chart: Path, *more: str) -> Any:
    flags = ("--registry", "r.example.com", "--repository", "acme/gate", "--tag", "9.9")
    return ran(HELM / "vendor", chart, *flags, *more)


def env(*names: str) -> list[dict[str, str]]:
    return [{"name": name, "value": "x"} for name in names]


def values_of(case: Path) -> dict[str, Any]:
    return dict(yaml.safe_load(case.read_text()) or {})


def gate_only(case: Path) -> bool:
    """Whether gate-only workloads can ask the metered one: not at a port that is not known."""
    return "freePorts" not in values_of(case)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name.removesuffix("-values.yaml"))
class TestEachCase:
    def test_lints_strictly_alone_and_in_a_parent(self, case: Path, parent: Path, tmp_path: Path) -> None:
        helm = tool("helm")
        done = ran(helm, "lint", "--strict", CHART, "--values", case)
        assert done.returncode == 0, done.stdout + done.stderr
        inner = tmp_path / "values.yaml"
        inner.write_text(yaml.safe_dump({NAME: values_of(case)}))
        # Not --with-subcharts: with it helm lints the subchart by the parent's values, which a closed schema refuses.
        done = ran(helm, "lint", "--strict", parent, "--values", inner)
        assert done.returncode == 0, done.stdout + done.stderr

    def test_passes_the_restricted_profile(self, case: Path, parent: Path) -> None:
        for manifest in render(parent, {NAME: values_of(case), "gateOnly": gate_only(case)}):
            if manifest["kind"] == "Deployment":
                assert violations(pod_of(manifest)) == []


@pytest.mark.parametrize("version", VERSIONS)
class TestKubernetesSchemas:
    def test_every_case_is_valid(self, version: str, parent: Path) -> None:
        found = {}
        for case in CASES:
            values = values_of(case)
            if version != CLASSIC or values.get("containerMode") == "classic":
                found[case.stem] = render(parent, {NAME: values, "gateOnly": gate_only(case)})
        assert found
        assert refusals(found, version) == ""

    def test_the_example_is_valid(self, version: str, example: Path) -> None:
        values = {"entitlement": {"containerMode": "classic"}} if version == CLASSIC else {}
        assert refusals({"example": render(example, values)}, version) == ""

    def test_a_field_that_no_version_has_is_refused(self, version: str, parent: Path) -> None:
        manifests = render(parent, {NAME: {"containerMode": "classic"}})
        container(pod_of(of_kind(manifests, "Deployment")), NAME, "containers")["readynessProbe"] = {}
        assert "readynessProbe" in refusals({"wrong": manifests}, version)


def test_a_native_sidecar_is_refused_by_a_cluster_that_is_too_old(parent: Path) -> None:
    assert "restartPolicy" in refusals({"native": render(parent)}, CLASSIC)


def test_a_profile_of_app_armor_needs_the_version_that_readme_names(parent: Path) -> None:
    manifests = render(parent, {NAME: {"securityContext": {"appArmorProfile": {"type": "RuntimeDefault"}}}})
    assert "appArmorProfile" in refusals({"armor": manifests}, NATIVE[0])
    assert refusals({"armor": manifests}, NATIVE[1]) == ""


def violations(pod: dict[str, Any]) -> list[str]:
    """Return violations of the restricted Pod Security profile, in the fields that pods here use."""
    spec, found = pod["spec"], []
    outer = spec.get("securityContext") or {}
    for one in [*(spec.get("initContainers") or []), *spec["containers"]]:
        own = one.get("securityContext") or {}
        if own.get("allowPrivilegeEscalation") is not False or own.get("privileged"):
            found.append(f"{one['name']}: privileges")
        if own.get("capabilities", {}).get("drop") != ["ALL"]:
            found.append(f"{one['name']}: capabilities")
        if not own.get("runAsNonRoot", outer.get("runAsNonRoot")) or own.get("runAsUser") == 0:
            found.append(f"{one['name']}: user")
        profile = own.get("seccompProfile") or outer.get("seccompProfile") or {}
        if profile.get("type") not in ("RuntimeDefault", "Localhost"):
            found.append(f"{one['name']}: seccomp")
    allowed = {
        "configMap",
        "csi",
        "downwardAPI",
        "emptyDir",
        "ephemeral",
        "persistentVolumeClaim",
        "projected",
        "secret",
    }
    found += [one["name"] for one in spec.get("volumes") or [] if not set(one) - {"name"} <= allowed]
    return found


def test_the_profile_check_notices() -> None:
    assert violations({"spec": {"containers": [{"name": "x"}], "volumes": [{"name": "h", "hostPath": {}}]}})


def test_alone_and_by_default_the_chart_renders_nothing() -> None:
    assert render(CHART) == []


def test_disabled_it_leaves_nothing_in_the_parents_pods(parent: Path) -> None:
    everything = {
        "enabled": False,
        "gateMode": "readinessGate",
        "config": {"reask_seconds": 1},
        "serviceAccount": {"create": True},
        "podMonitor": {"enabled": True},
        "prometheusRule": {"enabled": True},
        "dashboard": {"enabled": True},
    }
    manifests = render(parent, {NAME: everything, "gateOnly": True})
    assert {one["kind"] for one in manifests} == {"Deployment", "Service"}
    assert NAME not in yaml.safe_dump(manifests)


def test_an_alias_gives_its_own_values(parent: Path) -> None:
    values = {"under": "second", NAME: {"productCode": "one"}, "second": {"productCode": "two"}}
    pod = pod_of(of_kind(render(parent, values), "Deployment"))
    assert {"name": "SIDECAR_PRODUCT_CODE", "value": "two"} in container(pod, f"{NAME}-second")["env"]
    assert pod["metadata"]["labels"]["entitlement-sidecar.io/part-of-second"] == "rel-second"


def test_a_parent_that_passes_its_own_context_is_refused(parent: Path, tmp_path: Path) -> None:
    wrong = in_parent(tmp_path)
    template = wrong / "templates" / "_pod.tpl"
    template.write_text(template.read_text().replace("(index .Subcharts .Values.under)", "."))
    assert "Pass .Subcharts.<name or alias of the dependency>" in refusal(wrong, {})


NEEDED: list[tuple[str, dict[str, Any]]] = [
    ("initContainer", {}),
    ("podAnnotations", {}),
    ("terminationGracePeriodSeconds", {}),
    ("classicContainer", {"containerMode": "classic"}),
    ("classicContainer", {"containerMode": "classic", "gateMode": "readiness"}),
    ("waitCommand", {"containerMode": "classic"}),
    ("waitEnv", {"containerMode": "classic", "probePort": 9484}),
    ("productEnv", {"probePort": 9484}),
    ("productEnv", {"freePorts": True}),
    ("productMounts", {"apiSocket": {"enabled": True}}),
    ("readinessGates", {"gateMode": "readinessGate", "rbac": {"subjects": ["x"]}}),
    ("podLabels", {"podMonitor": {"enabled": True}}),
    ("podLabels", {"podLabels": {"team": "x"}}),
    ("imagePullSecrets", {"imagePullSecrets": ["pull"]}),
    ("gateOnlyPodAnnotations", {"mesh": "istio"}),
]
"""Helper and values: a pod without this helper has no gate, or a broken one."""


def without(helper: str, directory: Path) -> Path:
    """Return the parent without this helper in its pods."""
    chart = in_parent(directory)
    for path in (chart / "templates").iterdir():
        text = re.sub(r"(\(| )include \"entitlement-sidecar\." + helper + r"\" \$gate", r'\1print ""', path.read_text())
        path.write_text(text)
    return chart


@pytest.mark.parametrize(("helper", "values"), NEEDED)
def test_a_pod_without_a_helper_that_the_values_need_is_refused(
    helper: str, values: dict[str, Any], tmp_path: Path
) -> None:
    words = refusal(without(helper, tmp_path), {NAME: values, "gateOnly": "freePorts" not in values})
    assert f"does not include the helper {helper}, which stands above" in words


@pytest.mark.parametrize("helper", sorted({helper for helper, values in NEEDED if values}))
def test_a_pod_without_a_helper_that_the_values_do_not_need_renders(helper: str, tmp_path: Path) -> None:
    assert render(without(helper, tmp_path), {"gateOnly": True})


@pytest.mark.parametrize("helper", sorted({helper for helper, _ in NEEDED}))
def test_disabled_no_helper_is_needed(helper: str, tmp_path: Path) -> None:
    assert render(without(helper, tmp_path), {NAME: {"enabled": False}, "gateOnly": True})


def test_pull_secrets_of_a_gate_only_pod_are_needed_too(tmp_path: Path) -> None:
    chart = in_parent(tmp_path)
    path = chart / "templates" / "gateonly.yaml"
    path.write_text(path.read_text().replace('include "entitlement-sidecar.imagePullSecrets" $gate', 'print ""'))
    words = refusal(chart, {NAME: {"imagePullSecrets": ["pull"]}, "gateOnly": True})
    assert "which stands above gateOnlyInitContainer" in words


def test_a_container_below_the_volumes_is_refused(tmp_path: Path) -> None:
    chart = in_parent(tmp_path)
    path = chart / "templates" / "_pod.tpl"
    line = '    {{- include "entitlement-sidecar.classicContainer" $gate | nindent 4 }}\n'
    head, tail = path.read_text().split(line)
    path.write_text(head + tail.replace("{{- end -}}", "  ephemeralContainers:\n" + line + "{{- end -}}"))
    assert "classicContainer, which stands above volumes" in refusal(chart, {NAME: {"containerMode": "classic"}})


class TestTheExampleUnderOtherValues:
    """The pods of the example, not only those of a test, have the values that a buyer sets."""

    @staticmethod
    def pods(example: Path, **values: Any) -> dict[str, dict[str, Any]]:
        return {
            one["metadata"]["name"]: pod_of(one)
            for one in render(example, {"entitlement": values})
            if one["kind"] in ("Deployment", "StatefulSet", "CronJob")
        }

    def test_classic_has_a_sidecar_and_a_product_that_waits_where_it_listens(self, example: Path) -> None:
        pod = self.pods(example, containerMode="classic", probePort=9484)["rel-api"]
        assert not pod["spec"]["initContainers"]
        product, ours = pod["spec"]["containers"]
        assert product["command"] == ["entitlement-sidecar", "exec", "--", "/app/api"]
        binds = {"SIDECAR_PROBE_BIND": ":9484", "SIDECAR_API_BIND": "127.0.0.1:9485"}
        assert product["env"] == [{"name": name, "value": value} for name, value in binds.items()]
        assert [one for one in product["env"] if one not in ours["env"]] == []
        assert ours["name"] == NAME

    def test_native_leaves_the_product_alone(self, example: Path) -> None:
        (product,) = self.pods(example)["rel-api"]["spec"]["containers"]
        assert product["command"] == ["/app/api"]
        assert not product["env"]

    def test_a_product_is_told_where_usage_goes_with_the_ports_moved(self, example: Path) -> None:
        (product,) = self.pods(example, probePort=9484)["rel-api"]["spec"]["containers"]
        assert product["command"] == ["/app/api"]
        assert product["env"] == [{"name": "SIDECAR_API_BIND", "value": "127.0.0.1:9485"}]

    def test_classic_does_not_start_a_product_whose_command_is_unknown(self, example: Path) -> None:
        values = {"api": {"command": []}, "entitlement": {"containerMode": "classic"}}
        assert 'the command of workload "api" is empty' in refusal(example, values)
        render(example, values | {"entitlement": {"containerMode": "classic", "gateMode": "readiness"}})

    def test_a_readiness_gate_is_in_the_pod(self, example: Path) -> None:
        pod = self.pods(example, gateMode="readinessGate", rbac={"subjects": ["x"]})["rel-api"]
        assert pod["spec"]["readinessGates"] == [{"conditionType": "entitlement-sidecar.io/entitled"}]

    def test_every_pod_passes_by_the_mesh(self, example: Path) -> None:
        key = "traffic.sidecar.istio.io/excludeOutboundPorts"
        ports = {name: pod["metadata"]["annotations"][key] for name, pod in self.pods(example, mesh="istio").items()}
        assert ports == {"rel-api": "443", "rel-worker": "8484", "rel-search": "8484", "rel-report": "8484"}

    def test_the_service_account_is_the_charts_own_or_the_one_that_is_named(self, example: Path) -> None:
        own = render(example)
        assert of_kind(own, "ServiceAccount")["metadata"]["name"] == "rel-bookshop"
        given = render(example, {"serviceAccount": {"create": False, "name": "given"}})
        assert "ServiceAccount" not in {one["kind"] for one in given}
        for manifests, name in ((own, "rel-bookshop"), (given, "given")):
            api = next(one for one in manifests if one["kind"] == "Deployment" and "api" in one["metadata"]["name"])
            assert pod_of(api)["spec"]["serviceAccountName"] == name

    def test_every_pod_can_pull_the_image(self, example: Path) -> None:
        for name, pod in self.pods(example, imagePullSecrets=["one", "two"]).items():
            assert pod["spec"]["imagePullSecrets"] == [{"name": "one"}, {"name": "two"}], name


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"serviceAccount": {"roleArn": "arn:aws:iam::123456789012:role/x"}}, "serviceAccount.create is false"),
        ({"gateMode": "readinessGate"}, "rbac.subjects is empty"),
        ({"containerMode": "classic", "waitCommand": []}, "waitCommand is empty"),
        ({"state": {"existingVolume": "v", "medium": "Memory"}}, "set one or the other"),
        ({"apiPort": 8484}, "both 8484"),
        ({"probePort": 65535}, "apiPort, the one above it, is no port"),
        ({"freePorts": True, "probePort": 9484}, "probePort is 9484, but freePorts is true"),
        ({"freePorts": True, "apiPort": 9485}, "apiPort is 9485, but with freePorts there is no such port"),
        ({"apiSocket": {"enabled": True}, "apiPort": 9485}, "with apiSocket.enabled there is no such port"),
        ({"apiSocket": {"mode": "0066"}}, "mode"),
        ({"freePorts": True, "podMonitor": {"enabled": True}}, "Prometheus cannot know a free port"),
        ({"extraEnv": env("POD_UID")}, "extraEnv has POD_UID, which the chart sets itself"),
        ({"logLevel": "info", "extraEnv": env("SIDECAR_LOG_LEVEL")}, "has SIDECAR_LOG_LEVEL, which the chart sets"),
        ({"proxy": {"httpsProxy": "http://p"}, "extraEnv": env("HTTPS_PROXY")}, "HTTPS_PROXY, which the chart sets"),
        ({"extraEnv": env("SIDECAR_FLUSH_SECONDS")}, "follows the value flushSeconds. Set that instead"),
        ({"extraEnv": env("SIDECAR_GRACE_SECONDS")}, "follows the value appGraceSeconds. Set that instead"),
        ({"extraEnv": env("SIDECAR_PROBE_BIND")}, "follows the value probePort. Set that instead"),
        ({"extraEnv": env("SIDECAR_API_BIND")}, "follows the value apiPort. Set that instead"),
        ({"extraEnv": env("SIDECAR_STATE_DIR")}, "follows the value state. Set that instead"),
        ({"extraEnv": env("X", "X")}, "extraEnv has X twice"),
        ({"licenseSecret": "s", "extraEnv": env("AWS_ROLE_ARN")}, "has AWS_ROLE_ARN, which the chart sets itself"),
        ({"extraEnv": env("AWS_REGION")}, "extraEnv has AWS_REGION, and IRSA's webhook then leaves its own"),
        ({"extraEnv": env("AWS_DEFAULT_REGION", "AWS_ROLE_ARN")}, "extraEnv has AWS_ROLE_ARN, and IRSA's"),
        ({"extraEnv": env("AWS_WEB_IDENTITY_TOKEN_FILE")}, "extraEnv has AWS_WEB_IDENTITY_TOKEN_FILE, and IRSA's"),
        ({"dimensions": ["x", {"name": "x"}]}, 'dimensions has "x" twice'),
        ({"dimensions": [{"name": "x", "scale": 0.0000015}]}, 'the scale of dimension "x" is'),
        ({"serviceAccount": {"create": True, "roleArn": ROLE, "annotations": {ROLE_KEY: ROLE}}}, "Keep roleArn"),
        ({"gateMod": "x"}, "gateMod"),
        ({"config": {"reask_secondz": 60}}, "reask_secondz"),
        ({"config": {"probe_bind": ":1"}}, "probe_bind"),
        ({"state": {"subPath": "../x"}}, "subPath"),
        *(
            ({name: None}, name)
            for name in ("enabled", "containerMode", "gateMode", "probePort", "probes", "appGraceSeconds", "image")
        ),
        ({"state": None}, "state"),
        ({"gateOnly": None}, "gateOnly"),
        ({"probes": {"readiness": None}}, "readiness"),
    ],
)
def test_conflicting_values_are_refused_with_the_remedy(parent: Path, values: dict[str, Any], words: str) -> None:
    said = refusal(parent, {NAME: values, "gateOnly": "freePorts" not in values})
    assert words in said
    assert "nil pointer" not in said
    assert ("entitlement-sidecar: " in said) or ("don't meet the specifications of the schema" in said)


@pytest.mark.parametrize(
    "values",
    [
        {"extraEnv": env("SIDECAR_LOG_LEVEL", "HTTPS_PROXY", "AWS_PROFILE")},
        {"extraEnv": env("AWS_REGION", "AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE")},
        {"dimensions": ["x", {"name": "small", "scale": 0.000001}, {"name": "big", "scale": 100_000_000}]},
        {"serviceAccount": {"create": True, "annotations": {ROLE_KEY: ROLE}}},
        {"enabled": False, "serviceAccount": {"roleArn": ROLE}, "probePort": 8485},
    ],
)
def test_compatible_values_are_not_refused(parent: Path, values: dict[str, Any]) -> None:
    assert render(parent, {NAME: values})


def test_no_key_is_given_twice(parent: Path) -> None:
    """YAML readers differ in which of two values they take."""
    labels = {"team": "of the object"}
    values = {
        "extraLabels": {"team": "of all", "more": "x"},
        "podMonitor": {"enabled": True, "labels": labels},
        "prometheusRule": {"enabled": True, "labels": labels},
        "dashboard": {"enabled": True, "labels": labels},
    }
    done = helm_template(parent, {NAME: values})
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("team: of the object") == 3
    assert "team: of all" not in done.stdout
    assert done.stdout.count("more: x") == 3


def test_a_name_made_of_digits_stays_text(example: Path) -> None:
    gate = {
        "gateMode": "readinessGate",
        "rbac": {"subjects": ["123"]},
        "config": {"reask_seconds": 1},
        "imagePullSecrets": ["456"],
        "caBundle": {"configMap": "789", "key": "1"},
        "state": {"existingVolume": "12"},
        "podMonitor": {"enabled": True},
        "prometheusRule": {"enabled": True},
        "dashboard": {"enabled": True},
        "serviceAccount": {"create": True, "name": "321"},
    }
    names = {"name", "namespace", "app.kubernetes.io/instance", "serviceAccountName", "serviceName", "image"}

    def found(place: Any) -> Iterator[tuple[str, object]]:
        for key, value in place.items() if isinstance(place, dict) else enumerate(place):
            if isinstance(value, dict | list):
                yield from found(value)
            elif key in names:
                yield str(key), value

    for manifest in render(example, {"entitlement": gate}, flags=("--namespace", "456"), release="123"):
        for key, value in found(manifest):
            assert isinstance(value, str), (manifest["kind"], key, value)


def test_zero_seconds_are_a_value(parent: Path) -> None:
    values = {NAME: {"containerMode": "classic", "appGraceSeconds": 20}, "appGraceSeconds": 0}
    pod = pod_of(of_kind(render(parent, values), "Deployment"))
    assert pod["spec"]["terminationGracePeriodSeconds"] == 15
    assert container(pod, NAME, "containers")["lifecycle"]["preStop"]["exec"]["command"] == ["sleep", "0"]


@pytest.mark.parametrize(
    "values",
    [{}, {"flushSeconds": 60}, {"appGraceSeconds": 5}, {"config": {"flush_seconds": 40}}],
    ids=str,
)
@pytest.mark.parametrize("own", [None, 0, 90])
def test_a_native_sidecar_hears_of_the_end_and_knows_the_pods_grace(
    parent: Path, values: dict[str, Any], own: int | None
) -> None:
    pod = pod_of(of_kind(render(parent, {NAME: values, "appGraceSeconds": own}), "Deployment"))
    ours = container(pod, NAME)
    assert ours["lifecycle"] == {"preStop": {"exec": {"command": ["entitlement-sidecar", "pre-stop"]}}}
    (grace,) = (one["value"] for one in ours["env"] if one["name"] == "SIDECAR_GRACE_SECONDS")
    assert int(grace) == pod["spec"]["terminationGracePeriodSeconds"]


def test_a_classic_sidecar_is_held_back_and_counts_from_sigterm(parent: Path) -> None:
    """The kubelet ends it beside the product: nothing of its own time is used up."""
    pod = pod_of(of_kind(render(parent, {NAME: {"containerMode": "classic"}}), "Deployment"))
    ours = container(pod, NAME, "containers")
    assert ours["lifecycle"]["preStop"]["exec"]["command"] == ["sleep", "30"]
    assert "SIDECAR_GRACE_SECONDS" not in [one["name"] for one in ours["env"]]


@pytest.mark.parametrize(("seconds", "limit"), [(0, []), (5, ["--timeout", "5"]), (None, ["--timeout", "60"])])
def test_a_gate_only_workload_may_wait_without_a_limit(seconds: int | None, limit: list[str], tmp_path: Path) -> None:
    chart = in_parent(tmp_path)
    path = chart / "templates" / "gateonly.yaml"
    more = "" if seconds is None else f' "timeoutSeconds" {seconds}'
    path.write_text(path.read_text().replace('"workload" "helper"', f'"workload" "helper"{more}'))
    manifests = render(chart, {NAME: {"gateOnly": {"timeoutSeconds": 60}}, "gateOnly": True})
    helper = next(one for one in manifests if one["metadata"]["name"] == "rel-helper")
    assert container(pod_of(helper), "entitlement-gate").get("args", [])[3:] == limit


@pytest.mark.parametrize(
    ("gate", "seconds"),
    [
        ({}, 10),
        ({"flushSeconds": 20}, 20),
        ({"config": {"flush_seconds": 40}}, 40),
        ({"config": {"flush_seconds": 40}, "flushSeconds": 20}, 20),
    ],
)
def test_the_grace_has_the_flush_that_the_sidecar_reads(parent: Path, gate: dict[str, Any], seconds: int) -> None:
    pod = pod_of(of_kind(render(parent, {NAME: gate}), "Deployment"))
    assert pod["spec"]["terminationGracePeriodSeconds"] == 30 + seconds + 5


def test_the_startup_gate_never_gives_up_and_shows_its_line(parent: Path) -> None:
    ours = container(pod_of(of_kind(render(parent), "Deployment")), NAME)
    assert ours["restartPolicy"] == "Always"
    assert ours["args"] == ["run"]
    assert "command" not in ours
    assert ours["startupProbe"]["exec"]["command"] == ["entitlement-sidecar", "healthcheck"]
    assert ours["startupProbe"]["failureThreshold"] == 2**31 - 1
    assert ours["livenessProbe"]["httpGet"]["path"] == "/healthz"
    assert ours["readinessProbe"]["httpGet"]["path"] == "/entitled"


def test_no_probe_ever_asks_readyz(parent: Path) -> None:
    for case in CASES:
        workload = of_kind(render(parent, {NAME: values_of(case)}), "Deployment")
        assert "/readyz" not in str(pod_of(workload))


def test_the_api_token_is_in_our_container_alone(parent: Path) -> None:
    pod = pod_of(
        of_kind(render(parent, {NAME: {"kubernetesApi": {"enabled": True}, "rbac": {"subjects": ["x"]}}}), "Deployment")
    )
    assert "entitlement-sidecar-api" in [one["name"] for one in container(pod, NAME)["volumeMounts"]]
    assert "entitlement-sidecar-api" not in [
        one["name"] for one in container(pod, "product", "containers")["volumeMounts"]
    ]
    assert pod["spec"]["automountServiceAccountToken"] is False


def test_a_licenses_secret_is_in_our_container_alone(parent: Path) -> None:
    pod = pod_of(of_kind(render(parent, {NAME: {"licenseSecret": "product-license"}}), "Deployment"))
    ours = container(pod, NAME)
    assert [one["name"] for one in ours["env"] if one["name"].startswith("AWS_")] == [
        "AWS_WEB_IDENTITY_REFRESH_TOKEN_FILE",
        "AWS_ROLE_ARN",
        "AWS_REGION",
    ]
    (volume,) = [one for one in pod["spec"]["volumes"] if "secret" in one]
    assert (volume["name"], volume["secret"]["secretName"]) == (f"{NAME}-license", "product-license")
    others = [one for one in pod["spec"]["containers"] if one["name"] != NAME]
    assert f"{NAME}-license" not in {mount["name"] for one in others for mount in one.get("volumeMounts", [])}


def test_without_a_licenses_secret_no_role_is_set(parent: Path) -> None:
    pod = pod_of(of_kind(render(parent), "Deployment"))
    assert [one for one in container(pod, NAME)["env"] if one["name"].startswith("AWS_")] == []


def test_a_gate_only_workload_asks_a_sidecar_and_never_aws(parent: Path) -> None:
    helper = next(
        pod_of(one)
        for one in render(parent, {"gateOnly": True})
        if one["kind"] == "Deployment" and one["metadata"]["name"].endswith("helper")
    )
    gate = container(helper, "entitlement-gate")
    asks = gate["startupProbe"]["exec"]["command"]
    assert asks == ["entitlement-sidecar", "wait", "--timeout", "0", "--url", "http://rel-web:8484"]
    assert gate["startupProbe"]["failureThreshold"] == 2**31 - 1
    assert gate["restartPolicy"] == "Always"
    assert "env" not in gate


@pytest.mark.parametrize("values", [{"gateOnly": {"timeoutSeconds": 60}}, {"containerMode": "classic"}])
def test_a_gate_only_wait_with_an_end_or_on_an_old_cluster_is_no_sidecar(values: dict[str, Any], parent: Path) -> None:
    manifests = [one for one in render(parent, {"gateOnly": True, NAME: values}) if one["kind"] == "Deployment"]
    helper = next(pod_of(one) for one in manifests if one["metadata"]["name"].endswith("helper"))
    gate = container(helper, "entitlement-gate")
    assert gate["args"][:3] == ["wait", "--url", "http://rel-web:8484"]
    assert {"command", "startupProbe", "restartPolicy"}.isdisjoint(gate)


def test_dimensions_arrive_as_the_settings_read_them(parent: Path) -> None:
    from sidecar.settings.dimensions import read_dimensions

    values = values_of(CHART / "ci" / "settings-values.yaml")
    ours = container(pod_of(of_kind(render(parent, {NAME: values}), "Deployment")), NAME)
    sent = next(one["value"] for one in ours["env"] if one["name"] == "SIDECAR_DIMENSIONS")
    assert [one.name for one in read_dimensions(sent)] == ["requests", "gb_hours"]


def test_without_values_no_setting_is_sent_that_the_manifest_may_seal(parent: Path) -> None:
    ours = container(pod_of(of_kind(render(parent), "Deployment")), NAME)
    assert [one["name"] for one in ours["env"]] == [
        "POD_UID",
        "POD_NAME",
        "POD_NAMESPACE",
        "SERVICE_ACCOUNT",
        "NODE_NAME",
        "SIDECAR_GRACE_SECONDS",
    ]


class TestVendoring:
    def test_the_image_comes_from_the_vendored_values(self, example: Path) -> None:
        manifests = render(example)
        images = {
            one["image"]
            for manifest in manifests
            if manifest["kind"] in ("Deployment", "StatefulSet", "CronJob")
            for one in pod_of(manifest)["spec"]["initContainers"]
        }
        assert images == {"r.example.com/acme/gate:9.9"}

    def test_bare_lint_and_template_pass_as_aws_runs_them(self, example: Path) -> None:
        helm = tool("helm")
        done = ran(helm, "lint", "--strict", "--with-subcharts", example)
        assert done.returncode == 0, done.stdout + done.stderr
        flags = ("--include-crds", "--no-hooks", "--set", "k8version=1.33", "--kube-version", "1.33")
        render(example, flags=flags)

    def test_only_one_workload_of_the_example_asks_aws(self, example: Path) -> None:
        asking = [
            manifest["metadata"]["name"]
            for manifest in render(example)
            if manifest["kind"] in ("Deployment", "StatefulSet", "CronJob")
            for one in pod_of(manifest)["spec"]["initContainers"]
            if one["name"] == NAME
        ]
        assert asking == ["rel-api"]

    def test_vendoring_again_changes_nothing(self, example: Path) -> None:
        before = (example / "charts" / NAME / "values.yaml").read_text()
        assert vendor(example).returncode == 0
        assert (example / "charts" / NAME / "values.yaml").read_text() == before

    def test_a_package_beside_the_copy_is_removed_and_others_stay(self, example: Path) -> None:
        helm = tool("helm")
        assert ran(helm, "dependency", "update", example).returncode == 0
        (packed,) = (example / "charts").glob("*.tgz")
        other = example / "charts" / "entitlement-sidecar-extras-1.0.0.tgz"
        other.write_text("")
        done = vendor(example)
        assert f"{packed}: removed; do not run helm dependency" in done.stdout
        assert not packed.exists()
        assert other.exists()
        other.unlink()

    @pytest.mark.parametrize(
        ("parent_name", "alias", "pattern"),
        [
            ("bookshop", "entitlement", r"bookshop-entitlement"),
            ("bookshop", "Pro_Plan", r"bookshop-pro-plan-[0-9a-f]{6}"),
            ("a" * 28, "entitlement", r"a{28}-entitlement"),
            ("a" * 29, "entitlement", r"a{29}-ent-[0-9a-f]{6}"),
            ("Book.Shop", "entitlement", r"book-shop-[0-9a-f]{6}-entitlement"),
            ("'quoted'", "entitlement", r"quoted-entitlement"),
        ],
    )
    def test_what_the_copy_renders_is_named_after_parent_and_alias(
        self, parent_name: str, alias: str, pattern: str, tmp_path: Path
    ) -> None:
        (found,) = self.names(tmp_path, parent_name, alias)
        assert re.fullmatch(pattern, found)

    def test_parents_whose_names_look_alike_get_different_names(self, tmp_path: Path) -> None:
        alike = ["book.shop", "book-shop", "Book-Shop", "a" * 41, "a" * 42, "a" * 35 + ".x", "a" * 35 + "-x"]
        found = [self.names(tmp_path / str(at), name, "entitlement")[0] for at, name in enumerate(alike)]
        assert len(set(found)) == len(alike)
        assert max(map(len, found)) <= 40

    @pytest.mark.parametrize("aliases", [("basic", "pro"), ("b" * 60 + "1", "b" * 60 + "2"), ("a_b", "a-b", "A-b")])
    def test_two_aliases_of_one_copy_get_two_names(self, aliases: tuple[str, ...], tmp_path: Path) -> None:
        found = self.names(tmp_path, "bookshop", *aliases)
        assert len(set(found)) == len(aliases)

    @staticmethod
    def names(directory: Path, parent_name: str, *aliases: str) -> list[str]:
        """Return what the copy names its objects under each alias, without the release."""
        directory.mkdir(exist_ok=True)
        chart = f"apiVersion: v2\nname: {parent_name}\nversion: 1.0.0\ndependencies:\n"
        entry = f"  - {{name: {NAME}, version: 0.1.0, repository: 'file://charts/{NAME}', alias: %s}}\n"
        (directory / "Chart.yaml").write_text(chart + "".join(entry % one for one in aliases))
        assert vendor(directory).returncode == 0
        manifests = render(directory, {one: {"config": {"reask_seconds": 1}} for one in aliases})
        return [one["metadata"]["name"].removeprefix("rel-") for one in manifests]

    @pytest.mark.parametrize(
        "flags",
        [
            ("--registry", "https://r.example.com"),
            ("--registry", ""),
            ("--repository", "acme/gate:1"),
            ("--tag", "a b"),
            ("--digest", "sha256:abc"),
            ("--name", "Book.Shop"),
            ("--name", "a" * 41),
            ("--prefix", 'a"b'),
        ],
    )
    def test_a_flag_of_another_form_is_refused_before_anything_is_written(
        self, flags: tuple[str, str], tmp_path: Path
    ) -> None:
        shutil.copytree(EXAMPLES / "before", tmp_path / "bookshop")
        done = vendor(tmp_path / "bookshop", *flags)
        assert done.returncode == 2
        assert f"{flags[0]}: {flags[1]!r} is not of the form" in done.stderr
        assert not (tmp_path / "bookshop" / "charts").exists()

    def test_a_flag_of_the_right_form_is_taken(self, tmp_path: Path) -> None:
        shutil.copytree(EXAMPLES / "after", tmp_path / "bookshop", ignore=shutil.ignore_patterns("charts"))
        digest = "sha256:" + "a" * 64
        flags = ("--registry", "r.example.com:5000/mirror/", "--digest", digest, "--name", "shop", "--prefix", "acme")
        assert f"with r.example.com:5000/mirror/acme/gate@{digest}" in vendor(tmp_path / "bookshop", *flags).stdout

    def test_two_parents_in_one_umbrella_do_not_collide(self, tmp_path: Path) -> None:
        umbrella = tmp_path / "umbrella"
        (umbrella / "charts").mkdir(parents=True)
        (umbrella / "Chart.yaml").write_text("apiVersion: v2\nname: umbrella\nversion: 1.0.0\n")
        for name in ("red", "blue"):
            product = in_parent(tmp_path / name)
            words = (product / "Chart.yaml").read_text().replace("name: parent", f"name: {name}")
            (product / "Chart.yaml").write_text(words)
            pod = product / "templates"
            for path in pod.iterdir():
                text = (
                    path.read_text()
                    .replace('"parent.pod"', f'"{name}.pod"')
                    .replace(".Release.Name }}-", f".Release.Name }}}}-{name}-")
                )
                path.write_text(text.replace('"entitlement-sidecar.', f'"{name}.'))
            assert vendor(product, "--prefix", name).returncode == 0
            shutil.move(product, umbrella / "charts" / name)
        on = {
            "gateMode": "readinessGate",
            "config": {"reask_seconds": 1},
            "serviceAccount": {"create": True},
            "podMonitor": {"enabled": True},
            "prometheusRule": {"enabled": True},
            "dashboard": {"enabled": True},
        }
        manifests = render(
            umbrella, {"red": {NAME: {**on, "productCode": "red1"}}, "blue": {NAME: {**on, "productCode": "blue1"}}}
        )
        names = [(one["kind"], one["metadata"]["name"]) for one in manifests]
        assert len(names) == len(set(names)) == 2 * 9
        codes = {
            one["metadata"]["name"]: next(
                value["value"]
                for value in container(pod_of(one), NAME)["env"]
                if value["name"] == "SIDECAR_PRODUCT_CODE"
            )
            for one in manifests
            if one["kind"] == "Deployment"
        }
        assert codes == {"rel-red-web": "red1", "rel-blue-web": "blue1"}


OBJECTS: list[dict[str, Any]] = [
    {"config": {"reask_seconds": 1}},
    {"kubernetesApi": {"enabled": True}, "rbac": {"subjects": ["x"]}},
    {"podMonitor": {"enabled": True}},
    {"prometheusRule": {"enabled": True}},
    {"dashboard": {"enabled": True}},
    {"serviceAccount": {"create": True}},
]
"""Values, each of which renders objects."""


class TestTwoCopiesInOneRelease:
    """Helm renders two objects of one name without a word, and the API server keeps the second."""

    @pytest.mark.parametrize("values", OBJECTS, ids=lambda values: str(next(iter(values))))
    def test_two_aliases_of_one_name_are_refused_by_their_paths(self, values: dict[str, Any], parent: Path) -> None:
        named = {"nameOverride": "one", **values}
        words = refusal(parent, {NAME: named, "second": named})
        assert f"parent/charts/{NAME} and parent/charts/second" in words or f"second and parent/charts/{NAME}" in words
        taken = r"both name their ([A-Z][A-Za-z]+|pods' part-of label) \"rel-one(-dashboard)?\"\."
        assert re.search(rf"{taken} Set ({NAME}|second)\.nameOverride to another", words)

    def test_two_names_that_end_as_one_are_refused(self, parent: Path) -> None:
        """What is compared is the object's name, not what it is made from."""
        first = {"nameOverride": "one", "dashboard": {"enabled": True}}
        second = {"nameOverride": "one-dashboard", "config": {"reask_seconds": 1}}
        words = refusal(parent, {NAME: first, "second": second})
        assert 'both name their ConfigMap "rel-one-dashboard". Set ' in words
        render(parent, {NAME: second, "second": {**first, "nameOverride": "two"}})

    @pytest.mark.parametrize("names", [("one", "one"), ("one", "one-dashboard")])
    def test_whatever_two_copies_render_no_object_is_there_twice(self, names: tuple[str, str], parent: Path) -> None:
        outcomes = []
        alike = len(set(names)) == 1
        pairs = itertools.combinations_with_replacement(OBJECTS, 2) if alike else itertools.product(OBJECTS, OBJECTS)
        for first, second in pairs:
            values = {NAME: {"nameOverride": names[0], **first}, "second": {"nameOverride": names[1], **second}}
            done = helm_template(parent, values)
            outcomes.append(done.returncode)
            if done.returncode:
                assert "are two copies of this chart in one release" in done.stderr
            else:
                found = [
                    (one["kind"], one["metadata"]["name"])
                    for one in yaml.load_all(done.stdout, yaml.CSafeLoader)
                    if one
                ]
                assert len(found) == len(set(found)), (first, second)
        assert 0 in outcomes
        assert 1 in outcomes

    @pytest.mark.parametrize(
        "second",
        [
            {"nameOverride": "two", "config": {"reask_seconds": 1}},
            {"nameOverride": "one", "config": {"reask_seconds": 1}, "enabled": False},
            {"nameOverride": "one"},
            {"nameOverride": "one", "serviceAccount": {"create": True}},
        ],
    )
    def test_two_aliases_that_render_different_objects_are_not(self, second: dict[str, Any], parent: Path) -> None:
        render(parent, {NAME: {"nameOverride": "one", "config": {"reask_seconds": 1}}, "second": second})

    def test_two_copies_that_create_one_service_account_are_refused(self, parent: Path) -> None:
        account = {"serviceAccount": {"create": True, "name": "metering"}}
        words = refusal(parent, {NAME: account, "second": account})
        assert 'both name their ServiceAccount "metering". Set ' in words
        assert "serviceAccount.name to another name" in words
        render(parent, {NAME: account, "second": {"serviceAccount": {"create": True}}})

    def test_a_monitor_that_would_select_another_copys_pods_is_refused(self, parent: Path) -> None:
        monitor = {"podMonitor": {"enabled": True}}
        words = refusal(parent, {NAME: {"nameOverride": "one"}, "second": {"nameOverride": "one", **monitor}})
        assert 'both name their pods\' part-of label "rel-one"' in words
        render(parent, {NAME: {"nameOverride": "one", **monitor}, "second": {"nameOverride": "one"}})

    def test_pods_of_two_copies_never_have_one_part_of_label(self, tmp_path: Path) -> None:
        """Neither copy renders an object, and the label is all that tells their pods apart."""
        chart = self.umbrella(tmp_path, "")
        words = refusal(chart, {})
        assert f'both name their pods\' part-of label "rel-{NAME}". Set ' in words
        assert f".{NAME}.nameOverride to another name" in words
        render(chart, {"red": {NAME: {"enabled": False}}})
        found = render(chart, {"red": {NAME: {"nameOverride": "red"}}})
        labels = [pod_of(one)["metadata"]["labels"] for one in found if one["kind"] == "Deployment"]
        assert {one["entitlement-sidecar.io/part-of"] for one in labels} == {"rel-red", f"rel-{NAME}"}

    @staticmethod
    def umbrella(directory: Path, alias: str) -> Path:
        """Return an umbrella that uses one parent as `red` and as `blue`; the parent's dependency has this alias."""
        product = in_parent(directory / "umbrella" / "charts")
        entry = (
            f"  - {{name: {NAME}, version: 0.1.0, repository: 'file://charts/{NAME}'{alias and f', alias: {alias}'}}}\n"
        )
        path = product / "Chart.yaml"
        path.write_text(path.read_text().split("dependencies:")[0] + "dependencies:\n" + entry)
        values = product / "values.yaml"
        values.write_text(values.read_text().replace(f"under: {NAME}", f"under: {alias or NAME}"))
        for template in (product / "templates").iterdir():
            text = template.read_text().replace(".Release.Name }}-", ".Release.Name }}-{{ .Chart.Name }}-")
            template.write_text(text)
        uses = "".join(f"  - {{name: parent, version: 0.0.1, alias: {one}}}\n" for one in ("red", "blue"))
        (directory / "umbrella" / "Chart.yaml").write_text(
            f"apiVersion: v2\nname: umbrella\nversion: 1.0.0\ndependencies:\n{uses}"
        )
        return directory / "umbrella"

    def test_a_parent_used_twice_is_told_about_the_alias_that_helm_loses(self, tmp_path: Path) -> None:
        words = refusal(self.umbrella(tmp_path, "entitlement"), {})
        assert "An umbrella uses the parent twice" in words
        assert "remove the alias there" in words

    def test_a_parent_used_twice_without_that_alias_renders_both_gates(self, tmp_path: Path) -> None:
        codes = {one: {NAME: {"productCode": one, "config": {"reask_seconds": 1}}} for one in ("red", "blue")}
        chart = self.umbrella(tmp_path, "")
        assert f"umbrella/charts/red/charts/{NAME}" in refusal(chart, codes)
        codes["red"][NAME]["nameOverride"] = "red"
        found = render(chart, codes)
        assert {one["metadata"]["name"] for one in found if one["kind"] == "ConfigMap"} == {"rel-red", f"rel-{NAME}"}
        pods = [container(pod_of(one), NAME)["env"] for one in found if one["kind"] == "Deployment"]
        assert {one["value"] for env in pods for one in env if one["name"] == "SIDECAR_PRODUCT_CODE"} == {"red", "blue"}


@pytest.mark.parametrize("which", ["chart", "parent"])
def test_the_suites_of_helm_unittest_pass(which: str, parent: Path) -> None:
    unittest = tool("helm-unittest")
    if which == "chart":
        done = ran(unittest, "--strict", CHART)
    else:
        assert (PARENT / "tests").is_dir()
        done = ran(unittest, "--strict", "--with-subchart=false", parent)
    assert done.returncode == 0, done.stdout + done.stderr
