"""The files under `ecs/` are valid by AWS's models, and are what `ecs render` makes.

moto, cfn-lint and python-hcl2 come with the dependency group `ecs`; without them their tests are skipped.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import botocore.session
import jsonschema
import pytest
import yaml
from botocore.validate import ParamValidator

from sidecar.taskdef.container import EC2, FARGATE, NAME
from sidecar.taskdef.render import RenderOptions, as_text, render
from tests.ecs import shapes
from tests.ecs.templates import DIRECTORY, FILLED, filled, made

MADE = made()
DEFINITIONS = sorted(name for name in MADE if "/" not in name)
IAM = sorted((DIRECTORY / "iam").glob("*.json"))
MARKETPLACE = {"register-usage.json": "RegisterUsage", "meter-usage.json": "MeterUsage"}
LICENSE_MANAGER = ["CheckoutLicense", "CheckInLicense", "ExtendLicenseConsumption", "GetLicense"]
CLOUDFORMATION = DIRECTORY / "cloudformation.yaml"
README = DIRECTORY / "README.md"


def read(name: str) -> dict[str, Any]:
    return filled((DIRECTORY / name).read_text())


# -- task definitions


@pytest.mark.parametrize("name", sorted(MADE))
def test_a_file_is_what_ecs_render_makes(name: str) -> None:
    assert (DIRECTORY / name).read_text() == MADE[name], "run: python -m tests.ecs.templates --write"


@pytest.mark.parametrize("name", DEFINITIONS)
def test_a_file_rendered_again_stays_the_same(name: str) -> None:
    if name in ("gate-only.json", "saas.json"):
        pytest.skip("has no sidecar")
    found = json.loads((DIRECTORY / name).read_text())
    assert as_text(render(found, RenderOptions(gate=["app"]))[0]) == MADE[name]


@pytest.mark.parametrize("name", DEFINITIONS)
def test_a_definition_fits_awss_model(name: str) -> None:
    model = botocore.session.get_session().get_service_model("ecs")
    report = ParamValidator().validate(read(name), model.operation_model("RegisterTaskDefinition").input_shape)
    assert not report.has_errors(), report.generate_report()
    jsonschema.validate(read(name), shapes.register_task_definition())


@pytest.mark.parametrize(
    ("where", "value"),
    [
        ("stopTimeOut", 60),
        ("essential", "yes"),
        ("healthCheck", {"interval": 10}),
        ("dependsOn", [{"condition": "OK"}]),
    ],
)
def test_the_schema_sees_what_is_wrong(where: str, value: object) -> None:
    found = read("fargate.json")
    found["containerDefinitions"][0][where] = value
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(found, shapes.register_task_definition())


@pytest.mark.parametrize("name", DEFINITIONS)
def test_every_placeholder_is_listed_at_the_top_of_the_readme(name: str) -> None:
    placeholders = set(re.findall(r"<[A-Z_]+>", (DIRECTORY / name).read_text()))
    top = README.read_text().split("\n## ")[1]
    assert placeholders <= set(FILLED)
    assert {one for one in placeholders if f"`{one}`" not in top} == set()


@pytest.mark.parametrize("name", DEFINITIONS)
def test_nothing_is_published_and_no_region_is_set(name: str) -> None:
    for one in read(name)["containerDefinitions"]:
        assert "portMappings" not in one
        assert not [entry for entry in one.get("environment", []) if "REGION" in entry["name"]]


def test_a_stopped_spot_task_has_time_for_product_and_flush() -> None:
    """Fargate Spot warns two minutes ahead, for the whole task."""
    found = read("fargate.json")["containerDefinitions"]
    assert sum(one["stopTimeout"] for one in found) <= 120


# -- IAM


@pytest.mark.parametrize("path", IAM, ids=lambda path: path.name)
def test_a_policy_allows_one_thing(path: Path) -> None:
    document = json.loads(path.read_text())
    assert document["Version"] == "2012-10-17"
    assert len(document["Statement"]) == 1
    assert document["Statement"][0]["Effect"] == "Allow"


def test_the_metering_policies_name_operations_that_the_service_has() -> None:
    model = botocore.session.get_session().get_service_model("meteringmarketplace")
    for name, operation in MARKETPLACE.items():
        statement = json.loads((DIRECTORY / "iam" / name).read_text())["Statement"][0]
        assert statement == {"Effect": "Allow", "Action": f"aws-marketplace:{operation}", "Resource": "*"}
        assert operation in model.operation_names


def test_the_saas_policy_names_operations_that_the_service_has() -> None:
    model = botocore.session.get_session().get_service_model("meteringmarketplace")
    (statement,) = json.loads((DIRECTORY / "iam" / "saas.json").read_text())["Statement"]
    operations = {action.removeprefix("aws-marketplace:") for action in statement["Action"]}
    assert operations == {"BatchMeterUsage", "ResolveCustomer"} <= set(model.operation_names)


def test_a_saas_task_keeps_the_databases_password_out_of_its_definition() -> None:
    (service, _) = read("saas.json")["containerDefinitions"]
    assert [one["name"] for one in service["secrets"]] == ["SIDECAR_DATABASE_URL"]
    assert "SIDECAR_DATABASE_URL" not in {one["name"] for one in service["environment"]}


def test_the_contract_policy_names_operations_that_license_manager_has() -> None:
    model = botocore.session.get_session().get_service_model("license-manager")
    (statement,) = json.loads((DIRECTORY / "iam" / "checkout-license.json").read_text())["Statement"]
    actions = [f"license-manager:{operation}" for operation in LICENSE_MANAGER]
    assert statement == {"Effect": "Allow", "Action": actions, "Resource": "*"}
    assert set(LICENSE_MANAGER) <= set(model.operation_names)


# -- CloudFormation


class Loader(yaml.SafeLoader):
    """A YAML loader that reads `!Ref X` as the text `!Ref X`."""


def _tagged(loader: yaml.Loader, suffix: str, node: yaml.Node) -> object:
    if isinstance(node, yaml.ScalarNode):
        return f"!{suffix} {loader.construct_scalar(node)}"
    assert isinstance(node, yaml.SequenceNode)
    return {f"!{suffix}": loader.construct_sequence(node, deep=True)}


yaml.add_multi_constructor("!", _tagged, Loader)
STACK = yaml.load(CLOUDFORMATION.read_text(), Loader)
REFERENCES = {
    "<PRODUCT_IMAGE>": "!Ref ProductImage",
    "<SIDECAR_IMAGE>": "!Ref SidecarImage",
    "<TASK_ROLE_ARN>": "!GetAtt TaskRole.Arn",
    "<EXECUTION_ROLE_ARN>": "!GetAtt ExecutionRole.Arn",
    "<LOG_GROUP>": "!Ref LogGroup",
    "<REGION>": "!Ref AWS::Region",
}


def test_the_stacks_task_definition_is_the_one_ecs_render_makes() -> None:
    text = MADE["fargate.json"]
    for placeholder, reference in REFERENCES.items():
        text = text.replace(placeholder, reference)
    expected = shapes.cloudformation(json.loads(text))
    expected |= {"Family": "!Ref AWS::StackName", "RequiresCompatibilities": ["!Ref LaunchType"]}
    expected |= {"Cpu": "!Ref Cpu", "Memory": "!Ref Memory"}
    assert STACK["Resources"]["TaskDefinition"]["Properties"] == expected


def test_the_stacks_roles_allow_what_the_policy_files_do() -> None:
    role = STACK["Resources"]["TaskRole"]["Properties"]
    trust = json.loads((DIRECTORY / "iam/task-trust.json").read_text())
    assert role["AssumeRolePolicyDocument"] == trust
    (policy,) = role["Policies"]
    (statement,) = policy["PolicyDocument"]["Statement"]
    actions = [f"license-manager:{operation}" for operation in LICENSE_MANAGER]
    assert statement["Action"] == {"!If": ["ByContract", actions, "!Sub aws-marketplace:${MarketplaceAction}"]}
    assert STACK["Conditions"]["ByContract"] == {"!Equals": ["!Ref MarketplaceAction", "CheckoutLicense"]}
    assert STACK["Parameters"]["MarketplaceAction"]["AllowedValues"] == [*MARKETPLACE.values(), "CheckoutLicense"]


def test_no_arn_has_a_fixed_partition() -> None:
    text = CLOUDFORMATION.read_text() + "".join(path.read_text() for path in (DIRECTORY / "terraform").glob("*.tf"))
    assert re.findall(r"arn:aws[a-z-]*:", text) == []


def test_a_late_grant_does_not_trip_the_circuit_breaker() -> None:
    """The breaker counts tasks that stop or are found unhealthy; within this time the service ignores health."""
    service = STACK["Resources"]["Service"]["Properties"]
    assert service["DeploymentConfiguration"]["DeploymentCircuitBreaker"] == {"Enable": True, "Rollback": True}
    assert service["HealthCheckGracePeriodSeconds"] == "!Ref GatePatienceSeconds"
    assert STACK["Parameters"]["GatePatienceSeconds"]["Default"] > 1800
    terraform = (DIRECTORY / "terraform/variables.tf").read_text()
    assert f"default     = {STACK['Parameters']['GatePatienceSeconds']['Default']}\n" in terraform


# -- checked by moto


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Any:
    moto = pytest.importorskip("moto", reason="moto is not installed (dependency group `ecs`)")
    boto3 = pytest.importorskip("boto3")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    with moto.mock_aws():
        yield boto3


@pytest.mark.parametrize("name", DEFINITIONS)
def test_moto_registers_a_definition(aws: Any, name: str) -> None:
    ecs = aws.client("ecs")
    ecs.register_task_definition(**read(name))
    found = ecs.describe_task_definition(taskDefinition=read(name)["family"])["taskDefinition"]
    for given, kept in zip(read(name)["containerDefinitions"], found["containerDefinitions"], strict=True):
        assert {key: kept.get(key) for key in given} == given


@pytest.mark.parametrize(
    ("launch_type", "action", "allowed"),
    [
        (FARGATE, "RegisterUsage", "aws-marketplace:RegisterUsage"),
        (EC2, "MeterUsage", "aws-marketplace:MeterUsage"),
        (FARGATE, "CheckoutLicense", [f"license-manager:{operation}" for operation in LICENSE_MANAGER]),
    ],
    ids=["hours", "dimensions", "contract"],
)
def test_the_stack_deploys_in_moto(aws: Any, launch_type: str, action: str, allowed: object) -> None:
    aws.client("ecs").create_cluster(clusterName="shop")
    ec2, stacks = aws.client("ec2"), aws.client("cloudformation")
    given = {
        "Cluster": "shop",
        "Subnets": ec2.describe_subnets()["Subnets"][0]["SubnetId"],
        "SecurityGroups": ec2.describe_security_groups()["SecurityGroups"][0]["GroupId"],
        "ProductImage": "product:1",
        "SidecarImage": "gate:1",
        "LaunchType": launch_type,
        "MarketplaceAction": action,
    }
    stacks.create_stack(
        StackName="shop",
        TemplateBody=CLOUDFORMATION.read_text(),
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in given.items()],
        Capabilities=["CAPABILITY_IAM"],
    )
    (stack,) = stacks.describe_stacks(StackName="shop")["Stacks"]
    assert stack["StackStatus"] == "CREATE_COMPLETE"
    task = aws.client("ecs").describe_task_definition(taskDefinition="shop")["taskDefinition"]
    assert [one["name"] for one in task["containerDefinitions"]] == [NAME, "app"]
    outputs = {one["OutputKey"]: one["OutputValue"] for one in stack["Outputs"]}
    role = outputs["TaskRoleArn"].rpartition("/")[2]
    document = aws.client("iam").get_role_policy(RoleName=role, PolicyName="marketplace-metering")["PolicyDocument"]
    document = yaml.safe_load(document) if isinstance(document, str) else document  # moto may print it
    assert document["Statement"][0]["Action"] == allowed
    (service,) = aws.client("ecs").list_services(cluster="shop")["serviceArns"]
    assert outputs["ServiceName"] in service


# -- checked by cfn-lint, which has AWS's resource schemas and its list of IAM actions

REGIONS = ["us-east-1", "eu-central-1", "us-gov-west-1", "cn-north-1"]


def lint(path: Path) -> list[str]:
    cfnlint = pytest.importorskip("cfnlint.api", reason="cfn-lint is not installed (dependency group `ecs`)")
    config = cfnlint.ManualArgs(regions=REGIONS, include_checks=["I"])
    return [f"{one.rule.id} {one.message[:300]}" for one in cfnlint.lint_file(path, config)]


def template(directory: Path, kind: str, properties: dict[str, Any]) -> Path:
    path = directory / "template.json"
    path.write_text(json.dumps({"Resources": {"Judged": {"Type": kind, "Properties": properties}}}))
    return path


def test_cfn_lint_finds_nothing_in_the_stack() -> None:
    assert lint(CLOUDFORMATION) == []


@pytest.mark.parametrize("name", DEFINITIONS)
def test_cfn_lint_finds_nothing_in_a_definition(tmp_path: Path, name: str) -> None:
    judged = template(tmp_path, "AWS::ECS::TaskDefinition", shapes.cloudformation(read(name)))
    assert lint(judged) == []


@pytest.mark.parametrize("path", IAM, ids=lambda path: path.name)
def test_cfn_lint_knows_every_action_of_a_policy(tmp_path: Path, path: Path) -> None:
    document = json.loads(path.read_text())
    if path.name == "task-trust.json":
        judged = template(tmp_path, "AWS::IAM::Role", {"AssumeRolePolicyDocument": document})
    else:
        judged = template(tmp_path, "AWS::IAM::ManagedPolicy", {"PolicyDocument": document})
    assert lint(judged) == []


def test_cfn_lint_sees_an_action_that_does_not_exist(tmp_path: Path) -> None:
    statement = {"Effect": "Allow", "Action": "aws-marketplace:RegisterUse", "Resource": "*"}
    document = {"Version": "2012-10-17", "Statement": [statement]}
    (finding,) = lint(template(tmp_path, "AWS::IAM::ManagedPolicy", {"PolicyDocument": document}))
    assert finding.startswith("W3037")


# -- Terraform


def test_terraforms_sidecar_is_the_one_ecs_render_makes() -> None:
    main = (DIRECTORY / "terraform/main.tf").read_text()
    assert 'file("${path.module}/sidecar.json")' in main
    assert 'dependsOn        = [{ containerName = "entitlement-sidecar", condition = "HEALTHY" }]' in main
    assert f'name = "{read("fargate.json")["volumes"][0]["name"]}"' in main


def test_terraform_files_are_hcl_and_every_name_in_them_is_declared() -> None:
    hcl2 = pytest.importorskip("hcl2", reason="python-hcl2 is not installed (dependency group `ecs`)")
    whole = ""
    for path in sorted((DIRECTORY / "terraform").glob("*.tf")):
        assert hcl2.loads(path.read_text())
        whole += path.read_text()
    assert set(re.findall(r"\bvar\.(\w+)", whole)) == set(re.findall(r'^variable "(\w+)"', whole, re.M))
    assert set(re.findall(r"\blocal\.(\w+)", whole)) == {"logging", "sidecar", "product", "actions"}
    declared = set(re.findall(r'^resource "(\w+)" "(\w+)"', whole, re.M))
    assert set(re.findall(r"(?<!data\.)\b(aws_\w+)\.(\w+)", whole)) <= declared
    read_only = set(re.findall(r'^data "(\w+)" "(\w+)"', whole, re.M))
    assert set(re.findall(r"\bdata\.(aws_\w+)\.(\w+)", whole)) == read_only


def test_terraform_files_are_formatted() -> None:
    if shutil.which("terraform") is None:
        pytest.skip("terraform is not installed")
    words = ["terraform", "fmt", "-check", "-diff", "-recursive", str(DIRECTORY / "terraform")]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_terraform_finds_the_module_valid(tmp_path: Path) -> None:
    """Needs the AWS provider, from its registry or from TF_CLI_CONFIG_FILE's mirror."""
    if shutil.which("terraform") is None:
        pytest.skip("terraform is not installed")
    module = shutil.copytree(DIRECTORY / "terraform", tmp_path / "module")
    init = ["terraform", "init", "-backend=false", "-input=false", "-no-color"]
    started = subprocess.run(init, cwd=module, capture_output=True, text=True, timeout=300, check=False)
    if "could not connect to registry" in started.stderr or "Failed to query available provider" in started.stderr:
        pytest.skip("the AWS provider cannot be had here")
    assert started.returncode == 0, started.stderr
    done = subprocess.run(
        ["terraform", "validate", "-no-color"], cwd=module, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
