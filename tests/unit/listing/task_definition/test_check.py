"""Each rule for a task definition: one that breaks it, and a twin that does not."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from sidecar.listing.finding import Checked, Finding
from sidecar.listing.rule import Rule
from sidecar.listing.task_definition import rules
from sidecar.listing.task_definition.check import check
from sidecar.taskdef.render import RenderOptions, render

ROOT = Path(__file__).parents[4]
REGISTRY = "709825985650.dkr.ecr.us-east-1.amazonaws.com/shop"
Json = dict[str, Any]
Change = Callable[[Json], object]

PRODUCT: Json = {
    "family": "shop",
    "taskRoleArn": "arn:aws:iam::123456789012:role/shop",
    "networkMode": "awsvpc",
    "requiresCompatibilities": ["FARGATE"],
    "cpu": "256",
    "memory": "512",
    "containerDefinitions": [
        {
            "name": "app",
            "image": f"{REGISTRY}/app:1.2.3",
            "essential": True,
            "user": "1000",
            "environment": [{"name": "MODE", "value": "fast"}],
            "logConfiguration": {"logDriver": "awslogs"},
        }
    ],
}
GOOD: Json = render(PRODUCT, RenderOptions(gate=["app"], image=f"{REGISTRY}/gate:1.2.3"))[0]


def container(definition: Json, name: str = "app") -> Json:
    found: Json = next(one for one in definition["containerDefinitions"] if one["name"] == name)
    return found


def environment(name: str, value: str) -> Change:
    return lambda one: container(one)["environment"].append({"name": name, "value": value})


def unchanged(_: Json) -> None: ...


def remove_sidecar(one: Json) -> None:
    one["containerDefinitions"] = [container(one)]
    del container(one)["dependsOn"]


BREAKS: Mapping[Rule, tuple[Change, Change]] = {
    rules.READABLE: (lambda one: one.pop("containerDefinitions"), unchanged),
    rules.SIDECAR: (remove_sidecar, unchanged),
    rules.GATED: (lambda one: container(one)["dependsOn"][0].update(condition="START"), unchanged),
    rules.UNGATED: (
        lambda one: one["containerDefinitions"].append({"name": "logs", "image": f"{REGISTRY}/logs:1"}),
        unchanged,
    ),
    rules.VALID: (
        lambda one: container(one, "entitlement-sidecar").update(user="0"),
        lambda one: container(one, "entitlement-sidecar").update(user="1000"),
    ),
    rules.REGISTRY: (
        lambda one: container(one).update(image="docker.io/shop/app:1.2.3"),
        lambda one: container(one).update(image=f"{REGISTRY}/other:1.2.3".replace("us-east-1", "eu-west-1")),
    ),
    rules.TAG: (
        lambda one: container(one).update(image=f"{REGISTRY}/app:latest"),
        lambda one: container(one).update(image=f"{REGISTRY}/app@sha256:{'0' * 64}"),
    ),
    rules.PRIVILEGES: (
        lambda one: container(one).update(user="root"),
        lambda one: container(one).update(user="1000:0"),
    ),
    rules.SECRETS: (environment("DB_PASSWORD", "hunter2"), environment("DB_PASSWORD_FILE", "/run/secrets/db")),
    rules.ADVICE: (lambda one: one.pop("taskRoleArn"), unchanged),
}
"""Rule → a change that breaks it, and one that does not."""


def checked(tmp_path: Path, definition: object) -> Checked:
    path = tmp_path / "taskdef.json"
    path.write_text(json.dumps(definition, indent=2))
    return check(str(path))


def found(tmp_path: Path, change: Change, rule: Rule) -> list[Finding]:
    definition = copy.deepcopy(GOOD)
    change(definition)
    return [one for one in checked(tmp_path, definition).findings if one.rule is rule]


@pytest.mark.parametrize("rule", BREAKS, ids=lambda rule: rule.id)
def test_a_definition_that_breaks_a_rule_is_found(rule: Rule, tmp_path: Path) -> None:
    assert found(tmp_path, BREAKS[rule][0], rule)


@pytest.mark.parametrize("rule", BREAKS, ids=lambda rule: rule.id)
def test_a_twin_that_keeps_the_rule_is_not(rule: Rule, tmp_path: Path) -> None:
    assert found(tmp_path, BREAKS[rule][1], rule) == []


def test_every_rule_has_a_definition_that_breaks_it() -> None:
    assert set(BREAKS) == set(rules.RULES)


def test_what_ecs_render_makes_has_no_finding(tmp_path: Path) -> None:
    assert checked(tmp_path, GOOD).findings == []


def test_a_described_definition_reads_as_a_registered_one(tmp_path: Path) -> None:
    assert checked(tmp_path, {"taskDefinition": {**GOOD, "revision": 3}}).findings == []


def test_a_finding_has_the_line_of_its_field(tmp_path: Path) -> None:
    definition = copy.deepcopy(GOOD)
    container(definition).update(user="root")
    lines = json.dumps(definition, indent=2).splitlines()
    one = next(one for one in checked(tmp_path, definition).findings if one.rule is rules.PRIVILEGES)
    assert one.line == lines.index('      "user": "root",') + 1
    assert one.place == "containerDefinitions[1].user"


def test_a_problem_of_ecs_render_has_the_place_of_its_container(tmp_path: Path) -> None:
    one = found(tmp_path, BREAKS[rules.VALID][0], rules.VALID)[0]
    assert (one.place, one.line is not None) == ("containerDefinitions[0].user", True)


def test_a_secret_is_never_shown(tmp_path: Path) -> None:
    assert "hunter2" not in repr(found(tmp_path, environment("DB_PASSWORD", "hunter2"), rules.SECRETS))


@pytest.mark.parametrize("condition", ["COMPLETE", "START"])
def test_a_gate_elsewhere_is_waited_for_with_success_alone(condition: str, tmp_path: Path) -> None:
    definition = json.loads((ROOT / "ecs" / "gate-only.json").read_text())
    assert {one.rule for one in checked(tmp_path, definition).findings} == {rules.REGISTRY}
    container(definition)["dependsOn"][0]["condition"] = condition
    assert rules.GATED in {one.rule for one in checked(tmp_path, definition).findings}


@pytest.mark.parametrize("name", ["ec2", "ec2-bridge", "fargate", "gate-only"])
def test_our_own_examples_have_their_placeholders_alone(name: str) -> None:
    """What has to be filled in: the two images. Notes are notes."""
    found = check(str(ROOT / "ecs" / f"{name}.json")).findings
    assert [(one.rule, one.seen) for one in found if one.rule is not rules.ADVICE] == [
        (rules.REGISTRY, "<SIDECAR_IMAGE>"),
        (rules.REGISTRY, "<PRODUCT_IMAGE>"),
    ]


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "7", '{"containerDefinitions": 7}', '{"containerDefinitions": [{}]}', '{"a":' * 100_000, "\ud800"],
    ids=["empty", "open", "list", "number", "no-list", "no-name", "deep", "no-text"],
)
def test_what_is_no_definition_is_a_finding(text: str, tmp_path: Path) -> None:
    path = tmp_path / "taskdef.json"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    found = check(str(path))
    assert ({one.rule for one in found.findings}, found.complete) == ({rules.READABLE}, False)


def test_a_file_that_is_missing_or_too_large_is_a_finding(tmp_path: Path) -> None:
    assert not check(str(tmp_path / "missing.json")).complete
    (tmp_path / "large.json").write_bytes(b" " * ((1 << 20) + 1))
    assert "64 KiB" in check(str(tmp_path / "large.json")).findings[0].message


def test_a_text_indented_with_tabs_has_its_lines(tmp_path: Path) -> None:
    path = tmp_path / "taskdef.json"
    path.write_text(json.dumps({**GOOD, "containerDefinitions": [PRODUCT["containerDefinitions"][0]]}, indent="\t"))
    assert [one.line for one in check(str(path)).findings if one.rule is rules.SIDECAR] != [None]


@pytest.mark.parametrize("value", [7, "x", [], {}, [7], True], ids=str)
def test_a_field_of_a_wrong_type_is_a_finding_or_passed_over(value: object, tmp_path: Path) -> None:
    for name in ("entitlement-sidecar", "app"):
        for field in ("image", "command", "user", "dependsOn", "environment", "privileged", "secrets", "links"):
            definition = copy.deepcopy(GOOD)
            container(definition, name)[field] = value
            checked(tmp_path, definition)
            remove = [one for one in definition["containerDefinitions"] if one["name"] == "app"]
            checked(tmp_path, {**definition, "containerDefinitions": remove})


def test_a_container_that_runs_exec_is_held_back_by_it(tmp_path: Path) -> None:
    definition = copy.deepcopy(GOOD)
    app = container(definition)
    del app["dependsOn"]
    assert rules.GATED in {one.rule for one in checked(tmp_path, definition).findings}
    app["entryPoint"] = ["/usr/local/bin/entitlement-sidecar", "exec", "--", "/app"]
    assert {one.rule for one in checked(tmp_path, definition).findings} == {rules.ADVICE}


def test_keys_of_aws_are_found_wherever_they_come_from(tmp_path: Path) -> None:
    def from_a_secret(one: Json) -> None:
        container(one)["secrets"] = [
            {"name": "DB_PASSWORD", "valueFrom": "arn:aws:ssm:x"},
            {"name": "AWS_SECRET_ACCESS_KEY", "valueFrom": "arn:aws:ssm:y"},
        ]

    assert [one.place for one in found(tmp_path, from_a_secret, rules.SECRETS)] == [
        "containerDefinitions[1].secrets[1]"
    ]


@pytest.mark.parametrize(
    "field", [{"command": ["run", "--password=hunter2hunter2"]}, {"dockerLabels": {"api_key": "hunter2hunter2"}}]
)
def test_a_secret_beside_the_environment_is_found_and_not_shown(tmp_path: Path, field: Json) -> None:
    secrets = found(tmp_path, lambda one: container(one).update(field), rules.SECRETS)
    assert [one.place for one in secrets] == [f"containerDefinitions[1].{next(iter(field))}"]
    assert "hunter2" not in repr(secrets)
