"""List the rules for an image.

Sources: AWS Marketplace seller guide, "Container-based product requirements" and "Container products billing, metering,
and licensing integrations"; OCI image specification, annotations.md.
"""

from __future__ import annotations

from typing import Final

from sidecar.listing.rule import ADD_VERSION, BILLING, POLICIES, SECURITY, Rule, Severity

REGISTER_USAGE: Final = "https://docs.aws.amazon.com/marketplace/latest/userguide/container-metering-registerusage.html"
POD_SECURITY: Final = "https://kubernetes.io/docs/concepts/security/pod-security-standards/"
ANNOTATIONS: Final = "https://github.com/opencontainers/image-spec/blob/main/annotations.md"
LAYERS: Final = "https://github.com/opencontainers/image-spec/blob/main/layer.md"

READABLE: Final = Rule(
    id="image-readable",
    severity=Severity.ERROR,
    title="The image can be read",
    aws="A rule of this command: what cannot be read cannot be checked, and counts as a finding.",
    source=LAYERS,
    fix="Give an OCI layout, an archive of `podman save` or `docker save`, or the name of an image on this machine.",
)
LINUX: Final = Rule(
    id="image-linux",
    severity=Severity.ERROR,
    title="The image is for Linux",
    aws="AWS Marketplace lists container products for Linux.",
    source=POLICIES,
    fix="Build for linux/amd64 and linux/arm64.",
)
ARCHITECTURES: Final = Rule(
    id="image-architectures",
    severity=Severity.WARNING,
    title="An index has linux/amd64 and linux/arm64",
    aws="An Amazon EKS add-on has to run on both AMD64 and ARM64; AWS Marketplace refuses one that has one of them.",
    source=POLICIES,
    fix="Build with `docker buildx build --platform linux/amd64,linux/arm64`; ignore the rule"
    " where no add-on is listed.",
)
ONE_PLATFORM: Final = Rule(
    id="image-one-platform",
    severity=Severity.NOTE,
    title="Only one platform was looked at",
    aws="An Amazon EKS add-on has to run on both AMD64 and ARM64. `save` of an engine has the platform of its machine.",
    source=POLICIES,
    fix="Check all of them: `docker buildx build --output type=oci,dest=image.tar`, or `skopeo copy --all … oci:DIR`.",
)
PLATFORM_TRUE: Final = Rule(
    id="image-platform-true",
    severity=Severity.ERROR,
    title="The platform in the index is that of the image",
    aws="The index decides which image a node runs; one for another processor does not start there.",
    source="https://github.com/opencontainers/image-spec/blob/main/image-index.md",
    fix="Build each platform with `--platform`; do not tag one image for several.",
)
ATTESTATIONS: Final = Rule(
    id="image-attestations",
    severity=Severity.ERROR,
    title="There are no attestations in the image",
    aws="An image may have no layers of unsupported architectures, such as the in-toto attestations that BuildKit adds"
    " with the platform unknown/unknown.",
    source=SECURITY,
    fix="Build with `docker buildx build --provenance=false --sbom=false`.",
)
LAYER_TYPES: Final = Rule(
    id="image-layer-types",
    severity=Severity.ERROR,
    title="Each layer is a tar of files that a runtime unpacks",
    aws="An image may have no layers of unsupported architectures; a layer that is no file system cannot be scanned or"
    " run.",
    source=SECURITY,
    fix="Leave artifacts out of the image; push them under a name of their own.",
)
LAYER_PATHS: Final = Rule(
    id="image-layer-paths",
    severity=Severity.ERROR,
    title="Each path of a layer stays in the image",
    aws="A path that leads out of the image is an attack on what unpacks it; runtimes refuse such a layer.",
    source=LAYERS,
    fix="Find out what wrote the layer, and build it again without.",
)
NON_ROOT: Final = Rule(
    id="image-non-root",
    severity=Severity.ERROR,
    title="The image does not run as root",
    aws="Images should by default run without root's privileges, and with the least that they need.",
    source=SECURITY,
    fix="End the Dockerfile with USER and a number, such as `USER 65532:65532`.",
)
USER_NUMBER: Final = Rule(
    id="image-user-number",
    severity=Severity.WARNING,
    title="The image's user is a number",
    aws="Images should by default run without root's privileges. With `runAsNonRoot` the kubelet refuses a user that is"
    " a name: it cannot see that the name is not root's.",
    source=POD_SECURITY,
    fix="Write the number of the user: `USER 65532:65532`.",
)
SECRETS: Final = Rule(
    id="image-secrets",
    severity=Severity.ERROR,
    title="There are no secrets in the image",
    aws="Images may not have hardcoded secrets: keys, passwords or tokens, even hashed. A layer that a higher one"
    " removes from is shipped all the same.",
    source=SECURITY,
    fix="Take it out of the layer that brings it, and revoke it. While building use `RUN --mount=type=secret`.",
)
REPOSITORY: Final = Rule(
    id="image-git-repository",
    severity=Severity.WARNING,
    title="There is no Git repository in the image",
    aws="Images may not have hardcoded secrets; a repository has every version of every file, and often a remote's"
    " password.",
    source=SECURITY,
    fix="Write `.git` into .dockerignore.",
)
PASSWORD_LOGIN: Final = Rule(
    id="image-password-login",
    severity=Severity.ERROR,
    title="No user of the image has a password",
    aws="Password logins are not allowed, and no password may be in an image, even hashed.",
    source=SECURITY,
    fix="Lock the user: `passwd -l NAME`, or `!` in its field of /etc/shadow.",
)
AWS_VARIABLES: Final = Rule(
    id="image-aws-variables",
    severity=Severity.ERROR,
    title="The image sets neither region nor credentials of AWS",
    aws="Metering takes the region that the task or pod really runs in, and the role of the task or of the service"
    " account; the agent of ECS sets no region where the image names one.",
    source=REGISTER_USAGE,
    fix="Remove the ENV line.",
)
TAG: Final = Rule(
    id="image-tag",
    severity=Severity.WARNING,
    title="The image has a tag that stays",
    aws="A version of a product is a fixed set of images, which AWS scans when it is added; a tag that moves names"
    " another image later.",
    source=ADD_VERSION,
    fix="Tag the image with its version: `registry/repository:1.2.3`.",
)
LABELS: Final = Rule(
    id="image-labels",
    severity=Severity.NOTE,
    title="Labels say what the image is",
    aws="No rule of AWS. Who finds the image in a registry reads its title, version and revision from these labels.",
    source=ANNOTATIONS,
    fix="Set org.opencontainers.image.title, .version and .revision with LABEL.",
)
PRODUCT_MANIFEST: Final = Rule(
    id="image-product-manifest",
    severity=Severity.ERROR,
    title="The sidecar in the image has the product's manifest",
    aws="Where the product code may come from outside, the software has to check it against a list built into it;"
    " metering that customers can alter is strongly advised against.",
    source=BILLING,
    fix="COPY product.yaml to /etc/entitlement-sidecar/product.yaml, and seal it: see docs/howto/seal-your-product.md.",
)
SEALED: Final = Rule(
    id="image-manifest-sealed",
    severity=Severity.ERROR,
    title="The product's manifest is sealed, and the digest is that of the manifest",
    aws="Where the product code may come from outside, the software has to check it against a list built into it. An"
    " unsealed manifest can be hidden by a volume; with another digest the sidecar does not start.",
    source=BILLING,
    fix='As root, behind COPY: RUN ["entitlement-sidecar", "manifest", "seal",'
    ' "/etc/entitlement-sidecar/product.yaml"].',
)
EMULATOR: Final = Rule(
    id="image-emulator",
    severity=Severity.ERROR,
    title="There is no emulator of AWS Marketplace in the image",
    aws="The emulator grants whatever it is told to; metering that customers can alter is strongly advised against.",
    source=BILLING,
    fix="Build on the image for production: entitlement-sidecar, not entitlement-sidecar-emulator.",
)

RULES: Final[tuple[Rule, ...]] = (
    READABLE,
    LINUX,
    ARCHITECTURES,
    ONE_PLATFORM,
    PLATFORM_TRUE,
    ATTESTATIONS,
    LAYER_TYPES,
    LAYER_PATHS,
    NON_ROOT,
    USER_NUMBER,
    SECRETS,
    REPOSITORY,
    PASSWORD_LOGIN,
    AWS_VARIABLES,
    TAG,
    LABELS,
    PRODUCT_MANIFEST,
    SEALED,
    EMULATOR,
)
OF_FILES: Final[tuple[Rule, ...]] = (
    LAYER_PATHS,
    SECRETS,
    REPOSITORY,
    PASSWORD_LOGIN,
    PRODUCT_MANIFEST,
    SEALED,
    EMULATOR,
)
"""Rules that need the files of the layers."""
