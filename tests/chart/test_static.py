"""The chart's files agree with one another and with the sidecar; no helm is needed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

import sidecar
from sidecar.settings import SETTINGS, dimensions
from sidecar.settings.table import BY_NAME
from tests.chart import values_file, values_schema, values_table
from tests.chart.support import CASES, CHART, EXAMPLES, HELM
from tests.unit.marketplace.test_request_guard import BAD as BAD_PROXIES
from tests.unit.marketplace.test_request_guard import GOOD as GOOD_PROXIES

SCHEMA = json.loads((CHART / "values.schema.json").read_text())
VALUES = yaml.safe_load((CHART / "values.yaml").read_text())
ADD_ON = json.loads((CHART / "aws_mp_configuration_schema.json").read_text())
FREE = frozenset(
    {"global", "annotations", "labels", "extraLabels", "commonLabels", "commonAnnotations"}
    | {"tags", "podLabels", "podAnnotations", "seLinuxOptions"}
)
"""Objects whose keys the user chooses."""


def test_the_charts_app_version_is_the_sidecars() -> None:
    assert yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"] == sidecar.__version__


@pytest.mark.parametrize("chart", values_file.charts(), ids=lambda chart: chart.name)
class TestOneSource:
    """values.yaml has every word; the table and the schema are made from it."""

    def test_readme_has_the_table_that_values_make(self, chart: Path) -> None:
        text = (chart / "README.md").read_text()
        assert values_table.BLOCK.search(text)
        assert values_table.rewritten(chart, text) == text, "run: python -m tests.chart.values_table --write"

    def test_the_schema_is_what_values_make(self, chart: Path) -> None:
        again = values_schema.text(values_schema.schema(chart)) + "\n"
        assert (chart / "values.schema.json").read_text() == again, "run: python -m tests.chart.values_schema --write"

    def test_every_value_and_every_group_is_described(self, chart: Path) -> None:
        def described(group: values_file.Value) -> Iterator[tuple[str, str]]:
            for one in group.inner:
                yield one.path, one.description or one.shape.get("description", "")
                yield from described(one)

        found = dict(described(values_file.read(chart)))
        assert [path for path, words in found.items() if not words.endswith(".")] == []

    def test_the_defaults_meet_the_schema(self, chart: Path) -> None:
        shape = json.loads((chart / "values.schema.json").read_text())
        jsonschema.Draft7Validator.check_schema(shape)
        jsonschema.validate(yaml.safe_load((chart / "values.yaml").read_text()), shape)


VALUES_FILE = """\
# @schema.root
# definitions: {port: {maximum: 9}}
# @schema.root
group:
  # For those who change it.
  # @schema
  # minimum: 1
  # @schema
  # -- One
  # value.
  one: 2
# @schema
# type: [integer, "null"]
# @schema
# -- (int) Or none.
none: null
# -- A whole.
whole: {a: 1}
"""


def test_comments_of_a_value_become_its_row_and_its_schema(tmp_path: Path) -> None:
    (tmp_path / "values.yaml").write_text(VALUES_FILE)
    assert values_table.table(tmp_path).splitlines()[3:-1] == [
        "| `group.one` | int | `2` | One value. |",
        "| `none` | int | `nil` | Or none. |",
        '| `whole` | object | `{"a":1}` | A whole. |',
    ]
    shape = values_schema.schema(tmp_path)
    assert shape["properties"]["group"]["properties"] == {
        "one": {"description": "One value.", "type": "integer", "minimum": 1}
    }
    assert shape["required"] == ["group", "whole"]
    assert shape["definitions"] == {"port": {"maximum": 9}}


def test_a_null_without_types_is_refused(tmp_path: Path) -> None:
    (tmp_path / "values.yaml").write_text("# -- Or none.\nnone: null\n")
    with pytest.raises(ValueError, match="none is null: give its types"):
        values_schema.schema(tmp_path)


def objects(shape: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every object in a schema with its path."""
    if isinstance(shape, dict):
        if shape.get("type") == "object":
            yield path, shape
        for name, inner in {**shape.get("definitions", {}), **shape.get("properties", {})}.items():
            yield from objects(inner, f"{path}.{name}".lstrip("."))
        yield from objects(shape.get("items"), f"{path}[]")
        for inner in shape.get("oneOf", []):
            yield from objects(inner, path)


def test_the_schema_closes_every_object_of_ours() -> None:
    kubernetes_own = {"extraEnv[]", "extraVolumes[]", "extraVolumeMounts[]"}
    kubernetes_own |= {"podMonitor.relabelings[]", "podMonitor.metricRelabelings[]"}
    opened = {
        path
        for path, shape in objects(SCHEMA)
        if shape.get("additionalProperties") is not False and path.split(".")[-1] not in FREE
    }
    assert opened == kubernetes_own


def test_the_schema_knows_every_value_and_no_other() -> None:
    assert set(SCHEMA["properties"]) == {*VALUES, "global"}


def test_what_the_settings_file_leaves_out_are_settings() -> None:
    assert set(values_schema.NOT_IN_CONFIG) < set(BY_NAME)


def merged(values: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    """Merge values as Helm does: null removes a value."""
    found = dict(values)
    for name, value in more.items():
        inner = found.get(name)
        found[name] = merged(inner, value) if isinstance(inner, dict) and isinstance(value, dict) else value
    return {name: value for name, value in found.items() if value is not None}


def of_dimension(**fields: Any) -> dict[str, Any]:
    return {"dimensions": [{"name": "x", **fields}]}


WEAKER: list[dict[str, Any]] = [
    {"privileged": True},
    {"allowPrivilegeEscalation": True},
    {"readOnlyRootFilesystem": False},
    {"runAsNonRoot": False},
    {"runAsUser": 0},
    {"capabilities": {"add": ["NET_ADMIN"]}},
    {"seccompProfile": {"type": "Unconfined"}},
    {"appArmorProfile": {"type": "Unconfined"}},
]
"""Security contexts that would break the restricted profile or the read-only root."""
OF_THE_POD = [
    "affinity",
    "automountServiceAccountToken",
    "deploymentAnnotations",
    "dnsConfig",
    "dnsPolicy",
    "hostAliases",
    "nodeSelector",
    "podDisruptionBudget",
    "podSecurityContext",
    "priorityClassName",
    "replicaCount",
    "runtimeClassName",
    "schedulerName",
    "terminationGracePeriodSeconds",
    "tolerations",
    "topologySpreadConstraints",
    "updateStrategy",
]
"""Values of other charts that belong to the parent's pod or workload; README says so."""
WRONG: list[dict[str, Any]] = [
    {"gateMod": "startup"},
    {"image": {"nme": "x"}},
    {"gateMode": "maybe"},
    {"publicKey": "x"},
    {"region": "us-east-1"},
    {"config": {"reask_secondz": 60}},
    {"config": {"reask_seconds": "soon"}},
    *({"config": {name: "x"}} for name in values_schema.NOT_IN_CONFIG),
    *({name: None} for name in VALUES if name not in ("flushSeconds", "apiPort", "runAsUser", "runAsGroup")),
    {"image": {"tag": None}},
    {"probes": {"readiness": None}},
    {"probes": {"readiness": {"periodSeconds": None}}},
    {"gateOnly": {"timeoutSeconds": None}},
    *({"state": {"subPath": path}} for path in ("/x", "x/", "..", "../x", "x/..", "x/../y", ".", "x//y", "./x")),
    {"state": {"existingVolume": "Data"}},
    {"dimensions": [{"nam": "x"}]},
    {"dimensions": ["x", "x"]},
    *(of_dimension(aggregation=kind) for kind in ("max", "last", "unique")),
    of_dimension(aggregation="max", scope="pod", tags=["tenant"]),
    of_dimension(tags=["tenant", "tenant"]),
    *(of_dimension(scale=scale) for scale in (0, -1, 10**9, "0", "0.000", "-1", "0.0000001", "1e3", "", "1000000000")),
    {"extraLabels": {"app.kubernetes.io/name": "x"}},
    {"commonLabels": {"app.kubernetes.io/version": "x"}},
    {"commonAnnotations": {"x": 1}},
    {"podLabels": {"entitlement-sidecar.io/part-of": "x"}},
    {"podAnnotations": {"traffic.sidecar.istio.io/excludeInboundPorts": "1"}},
    {"runAsUser": "65532"},
    {"extraEnvFrom": [{"name": "x"}]},
    {"extraEnvFrom": [{"configMapRef": {"name": "x"}, "secretRef": {"name": "x"}}]},
    *({"securityContext": weaker} for weaker in WEAKER),
    *({name: {}} for name in OF_THE_POD),
    {"podMonitor": {"labels": {"app.kubernetes.io/instance": "x"}}},
]
RIGHT: list[dict[str, Any]] = [
    {},
    {"k8version": "1.33"},
    {"k8version": 1.33},
    {"global": {"any": {"thing": 1}}},
    {"flushSeconds": None, "runAsUser": None, "runAsGroup": None},
    {"runAsUser": "", "runAsGroup": ""},
    {"config": {"reask_seconds": 60, "on_dispute": "hold"}},
    *({"state": {"subPath": path}} for path in ("", "x", "x/y", ".x", "..x", "x..", "...", "x/.y")),
    {"dimensions": ["x", "y"]},
    of_dimension(aggregation="sum", tags=["tenant"]),
    *(of_dimension(aggregation=kind, scope="singleton") for kind in ("max", "last", "unique")),
    *(of_dimension(scale=scale) for scale in (1, 0.001, 999_999_999, "0.000001", "1.5", "10")),
    {"extraLabels": {"team": "x"}},
    {"commonLabels": {"team": "x"}, "commonAnnotations": {"team": "x"}},
    {"podLabels": {"team": "x"}, "podAnnotations": {"team": "x"}},
    {"extraEnvFrom": [{"prefix": "X_", "secretRef": {"name": "x", "optional": True}}]},
    {"securityContext": {"seccompProfile": {"type": "Localhost", "localhostProfile": "x.json"}}},
    {"securityContext": {"appArmorProfile": {"type": "RuntimeDefault"}, "seLinuxOptions": {"level": "s0"}}},
]


@pytest.mark.parametrize("wrong", WRONG, ids=str)
def test_the_schema_refuses(wrong: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(merged(VALUES, wrong), SCHEMA)


@pytest.mark.parametrize("right", RIGHT, ids=str)
def test_the_schema_admits(right: dict[str, Any]) -> None:
    jsonschema.validate(merged(VALUES, right), SCHEMA)


@pytest.mark.parametrize("written", [*BAD_PROXIES, " http://p:1", "http://p:99999999"])
def test_the_schema_refuses_what_is_no_proxy(written: str) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(merged(VALUES, {"proxy": {"httpsProxy": written}}), SCHEMA)


@pytest.mark.parametrize("written", ["", *(one for one in GOOD_PROXIES if one.isascii())])
def test_the_schema_admits_a_proxy(written: str) -> None:
    jsonschema.validate(merged(VALUES, {"proxy": {"httpsProxy": written}}), SCHEMA)


@pytest.mark.parametrize("written", [" .svc", ".svc\n", ".svc "])
def test_the_schema_refuses_blanks_around_what_no_proxy_is_for(written: str) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(merged(VALUES, {"proxy": {"noProxy": written}}), SCHEMA)
    jsonschema.validate(merged(VALUES, {"proxy": {"noProxy": ".svc, 10.0.0.0/8"}}), SCHEMA)


@pytest.mark.parametrize("values", [one for one in (*WRONG, *RIGHT) if one.get("dimensions")], ids=str)
def test_the_sidecar_reads_the_dimensions_that_the_schema_admits(values: dict[str, Any]) -> None:
    try:
        dimensions.read_dimensions(json.dumps(values["dimensions"]))
    except dimensions.DimensionsFault:
        assert values in WRONG
    else:
        assert values in RIGHT


def test_no_value_is_a_setting_that_the_manifest_should_seal() -> None:
    sealed = {"publicKey", "publicKeyFile", "publicKeyVersion", "entitlementCheck", "endpointUrl", "clockUrl"}
    assert sealed.isdisjoint(SCHEMA["properties"])


@pytest.mark.parametrize(
    ("value", "setting"),
    [("onDenied", "on_denied"), ("onMeteringOverdue", "on_metering_overdue"), ("logLevel", "log_level")],
)
def test_a_choice_has_the_words_of_its_setting(value: str, setting: str) -> None:
    choices = BY_NAME[setting].choices
    assert choices is not None
    assert SCHEMA["properties"][value]["enum"] == ["", *(one.value for one in choices)]


def test_dimensions_have_the_fields_of_the_setting() -> None:
    chart = SCHEMA["properties"]["dimensions"]
    one, ours = chart["items"]["oneOf"][1], dimensions.schema()["oneOf"][1]["items"]["oneOf"][1]  # type: ignore[index]
    assert set(one["properties"]) == set(ours["properties"])
    assert chart["maxItems"] == dimensions.DIMENSIONS_MAX
    for field in ("aggregation", "scope"):
        assert one["properties"][field]["enum"] == ours["properties"][field]["enum"]


def test_listeners_and_the_flush_are_the_sidecars_own_by_default() -> None:
    assert BY_NAME["probe_bind"].default == f":{VALUES['probePort']}"
    assert str(BY_NAME["api_bind"].default).startswith(f"127.0.0.1:{VALUES['probePort'] + 1},")
    rules = (CHART / "templates" / "_rules.tpl").read_text()
    assert f"$default := {BY_NAME['flush_seconds'].default} -" in rules


def test_every_setting_the_templates_set_exists() -> None:
    known = {setting.variable for setting in SETTINGS} | {"SIDECAR_CONFIG"}
    text = "\n".join(path.read_text() for path in (CHART / "templates").iterdir())
    assert set(re.findall(r'(?:name: |")(SIDECAR_\w+)', text)) <= known


def test_every_variable_that_names_the_pod_is_given() -> None:
    from sidecar.platform import eks

    read = set(re.findall(r'"([A-Z]+_[A-Z]+)"', (CHART.parent.parent / "sidecar/platform/eks.py").read_text()))
    text = (CHART / "templates" / "_container.tpl").read_text()
    assert {eks.UID, "POD_NAME", "NODE_NAME"} <= read
    assert read <= set(re.findall(r"name: (\w+)", text))


FILES = [
    path
    for top in (CHART, EXAMPLES / "after")
    for path in top.rglob("*")
    if path.is_file() and "charts" not in path.relative_to(top).parts
]


class TestAddOnRules:
    """What AWS's check of EKS add-on charts searches for, as text: comments and README count."""

    def test_no_hook(self) -> None:
        assert [path for path in FILES if "helm.sh" + "/hook" in path.read_text()] == []

    def test_nothing_of_the_release_but_name_and_namespace(self) -> None:
        lines = [line for path in FILES for line in path.read_text().splitlines() if re.search(".Release.", line)]
        assert len(lines) > 20
        found = {word for line in lines for word in re.findall(r".Release(.\w*)", line)}
        assert found == {".Name", ".Namespace"}

    def test_no_lookup_and_no_capabilities(self) -> None:
        for path in (CHART / "templates").iterdir():
            for word in ("lookup", ".Capabilities"):
                assert word not in path.read_text(), path

    def test_dependencies_come_from_inside(self) -> None:
        chart = yaml.safe_load((EXAMPLES / "after" / "Chart.yaml").read_text())
        assert all(one["repository"].startswith("file://") for one in chart["dependencies"])

    def test_every_object_says_its_namespace(self) -> None:
        for path in (CHART / "templates").glob("*.yaml"):
            said = "\n  namespace: {{ .Release.Namespace | quote }}" in path.read_text()
            assert said is not path.name.startswith("cluster"), path

    def test_no_template_names_an_image(self) -> None:
        text = "\n".join(path.read_text() for path in (CHART / "templates").iterdir())
        assert set(re.findall(r"^ *(?:- )?image: (.*)$", text, re.MULTILINE)) == {
            '{{ include "entitlement-sidecar.image" $context | quote }}'
        }

    def test_no_region_and_no_role_is_set_but_those_of_a_licenses_secret(self) -> None:
        text = "\n".join(path.read_text() for path in (CHART / "templates").iterdir())
        assert re.findall(r"name: (AWS_(?:DEFAULT_)?REGION|AWS_ROLE_ARN|AWS_WEB_IDENTITY_TOKEN_FILE)", text) == [
            "AWS_ROLE_ARN",
            "AWS_REGION",
        ], "below `with licenseSecret` alone; test_rendered renders without"

    def test_the_configuration_schema_is_one_that_aws_reads(self) -> None:
        assert ADD_ON["$schema"] == "http://json-schema.org/draft-07/schema#"
        jsonschema.Draft7Validator.check_schema(ADD_ON)
        for path, shape in objects(ADD_ON):
            assert shape.get("additionalProperties") is False, path
            for name, inner in shape["properties"].items():
                assert inner.get("description"), name
                assert re.fullmatch(r"[a-z][A-Za-z]*", name)

    def test_the_configuration_schema_offers_what_the_values_have_and_aws_allows(self) -> None:
        offered = ADD_ON["properties"]["entitlement"]["properties"]
        assert set(offered) <= set(VALUES)
        refused = {"image", "imagePullSecrets", "serviceAccount", "probes", "runAsUser", "runAsGroup", "aws"}
        assert refused.isdisjoint(offered)


def test_each_case_differs_from_the_defaults() -> None:
    assert len(CASES) >= 15
    assert all(yaml.safe_load(path.read_text()) for path in CASES if path.name != "default-values.yaml")


def test_the_examples_difference_is_short() -> None:
    import difflib

    before, after = EXAMPLES / "before", EXAMPLES / "after"
    changed = 0
    for path in sorted(before.rglob("*")):
        if path.is_file():
            other = (after / path.relative_to(before)).read_text().splitlines()
            lines = difflib.unified_diff(path.read_text().splitlines(), other, n=0)
            changed += sum(1 for line in lines if line[0] in "+-" and line[:3] not in ("+++", "---"))
    assert 0 < changed <= 60


def test_no_file_names_a_path_outside_the_project() -> None:
    for path in HELM.rglob("*"):
        if path.is_file():
            assert "../shared" not in path.read_text(), path
