"""List the rules for an ECS task definition.

Sources: AWS Marketplace seller guide, "Container-based product requirements" and "Container products billing, metering,
and licensing integrations"; Amazon ECS API Reference, RegisterTaskDefinition.
"""

from __future__ import annotations

from typing import Final

from sidecar.listing.rule import ADD_VERSION, BILLING, POLICIES, SECURITY, Rule, Severity

ECS: Final = "https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_RegisterTaskDefinition.html"

READABLE: Final = Rule(
    id="task-readable",
    severity=Severity.ERROR,
    title="The task definition can be read",
    aws="A rule of this command: what cannot be read cannot be checked, and counts as a finding.",
    source=ECS,
    fix="Give the input of `aws ecs register-task-definition`, or the answer of `aws ecs describe-task-definition`.",
)
SIDECAR: Final = Rule(
    id="task-sidecar",
    severity=Severity.ERROR,
    title="The task has the sidecar, or waits for one elsewhere",
    aws="A paid container product has to ask AWS Marketplace whether the customer may run it, at its start.",
    source=BILLING,
    fix="Run `entitlement-sidecar ecs render TASKDEF --gate NAME --image IMAGE`.",
)
GATED: Final = Rule(
    id="task-gated",
    severity=Severity.ERROR,
    title="A container of the product waits for the sidecar",
    aws="A customer who is not entitled may not run the product: it has to end, or not to start.",
    source=BILLING,
    fix="Run `entitlement-sidecar ecs render TASKDEF --gate NAME --image IMAGE`, with each container to hold back.",
)
UNGATED: Final = Rule(
    id="task-ungated-container",
    severity=Severity.NOTE,
    title="A container runs for a customer who is not entitled",
    aws="A customer who is not entitled may not run the product; what is no part of it, such as a proxy or a log"
    " router, may run.",
    source=BILLING,
    fix="Name it with --gate too, where it is a part of the product.",
)
VALID: Final = Rule(
    id="task-valid",
    severity=Severity.ERROR,
    title="Nothing in the task breaks gate or metering, and ECS takes it",
    aws="The rules of `ecs render`: the role of the task and no keys, no region, a health check that asks the sidecar,"
    " a ledger on a volume of the task, times that ECS takes.",
    source=ECS,
    fix="Change what is named, or run `entitlement-sidecar ecs render` again.",
)
REGISTRY: Final = Rule(
    id="task-registry",
    severity=Severity.ERROR,
    title="Each image is in AWS Marketplace's registry",
    aws="All images that a product needs have to be in AWS Marketplace's registry, the sidecar's too; none may come"
    " from Docker Hub, Quay or any other.",
    source=POLICIES,
    fix="Push the image to the repository that AWS Marketplace made for the product, and name it so.",
)
TAG: Final = Rule(
    id="task-image-tag",
    severity=Severity.WARNING,
    title="Each image has a tag that stays",
    aws="A version of a product is a fixed set of images, which AWS scans when it is added; a tag that moves names"
    " another image later.",
    source=ADD_VERSION,
    fix="Name the image by the tag of its version, or by its digest.",
)
PRIVILEGES: Final = Rule(
    id="task-privileges",
    severity=Severity.ERROR,
    title="No container is privileged or runs as root",
    aws="Products must need the least privileges only, and run without root's by default.",
    source=SECURITY,
    fix="Remove privileged, and set user to a number other than 0.",
)
SECRETS: Final = Rule(
    id="task-secrets",
    severity=Severity.ERROR,
    title="There are no secrets in the environment, the command or the labels of a container",
    aws="Products may not have hardcoded secrets; access to AWS comes from the role of the task, never from keys.",
    source=SECURITY,
    fix="Name it under `secrets`, from AWS Secrets Manager or Systems Manager; keys of AWS are removed.",
)
ADVICE: Final = Rule(
    id="task-advice",
    severity=Severity.NOTE,
    title="`ecs render` would say or change this",
    aws="The notes of `ecs render`: valid, and still worth knowing.",
    source=ECS,
    fix="Run `entitlement-sidecar ecs render` to see the whole of it.",
)

RULES: Final[tuple[Rule, ...]] = (
    READABLE,
    SIDECAR,
    GATED,
    UNGATED,
    VALID,
    REGISTRY,
    TAG,
    PRIVILEGES,
    SECRETS,
    ADVICE,
)
