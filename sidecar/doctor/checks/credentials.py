"""Check which credentials the SDK takes here, and whether AWS Marketplace accepts them for the operations asked.

Invariants:
- The SDK itself resolves them, in the environment that it has under `run`: profiles, credential files and, in a pod or
  task, the node's role are not among its sources there.
- No key, token or secret is shown: only names of variables and files, the role, and the SDK's name of the source.
- An annotation of the service account cannot be seen from here; only what was injected can.

Sources: AWS Marketplace API Reference, RegisterUsage and MeterUsage (IRSA on EKS, task role on ECS); EKS user guide,
IRSA and Pod Identity; amazon-eks-pod-identity-webhook, README; botocore's credential resolver.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from sidecar.doctor import license_credentials
from sidecar.doctor.context import IRSA_VARIABLES, Context
from sidecar.doctor.finding import Finding, failed, passed, warned
from sidecar.doctor.hints import failure_hint
from sidecar.doctor.masking import masked
from sidecar.doctor.web_identity import WebIdentity
from sidecar.entitlement.answer import AnsweredBy
from sidecar.marketplace import credentials, license_access
from sidecar.marketplace.sdk_errors import CallFailed, call_failed
from sidecar.platform import ecs, eks
from sidecar.quick_dataclasses import dataclass
from sidecar.settings import Platform

KEYS: Final = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
RELATIVE, FULL = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI"
AUTHORIZATION: Final = "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"
PROFILES: Final = ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE")

RULE: Final = (
    "AWS Marketplace takes RegisterUsage and MeterUsage from IRSA on EKS and from the task role on ECS, and from no"
    " other source."
)
AGENTCORE_RULE: Final = "On AgentCore Runtime AWS Marketplace takes MeterUsage from the runtime's execution role."
STATIC: Final = "access keys in the environment"
HALF: Final = "one key of a pair"
POD_IDENTITY: Final = "EKS Pod Identity"
POD_IDENTITY_BESIDE: Final = "EKS Pod Identity beside IRSA"
NOT_INJECTED: Final = "nothing was injected into the pod"
HALF_IRSA: Final = "one variable of IRSA without the other"
NO_TASK_ROLE: Final = "a task without a task role"
NODE_ROLE: Final = "the node's role"
OUTSIDE: Final = "no credentials, outside EKS and ECS"
NO_EXECUTION_ROLE: Final = "no credentials, on AgentCore Runtime"
KEYS_ON_AGENTCORE: Final = "access keys in the environment, on AgentCore Runtime"
ADDRESS: Final = "a credentials address that the SDK refuses"
AUDIENCE: Final = "a service-account token for another audience"
REFUSED: Final = "the SDK or STS refuses"
FIXES: Final[Mapping[str, str]] = {
    STATIC: "Remove AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN from the container: they win over"
    " IRSA and the task role, and metering does not accept them. Only the emulator does.",
    HALF: "Remove {key} from the container; the other key of the pair is not set.",
    POD_IDENTITY: "Metering does not accept Pod Identity. Delete the association (it wins over IRSA):"
    " aws eks list-pod-identity-associations --cluster-name CLUSTER --namespace {namespace} --service-account {account}"
    " names its ID; aws eks delete-pod-identity-association --cluster-name CLUSTER --association-id ID.\n"
    "Then kubectl annotate serviceaccount {account} -n {namespace} eks.amazonaws.com/role-arn=ROLE_ARN, and recreate"
    " the pod.",
    POD_IDENTITY_BESIDE: "IRSA is used. Remove AWS_CONTAINER_CREDENTIALS_FULL_URI from the container, or delete the Pod"
    " Identity association: in the next pod the webhook injects that one alone.",
    NOT_INJECTED: "kubectl get serviceaccount {account} -n {namespace} -o yaml must show the annotation"
    " eks.amazonaws.com/role-arn. If not: kubectl annotate serviceaccount {account} -n {namespace}"
    " eks.amazonaws.com/role-arn=ROLE_ARN.\nThen recreate the pod: a pod gets credentials when it is created, never"
    " later, and one created in the same second as its account may get none.\nIf it still has none, check that the"
    " pod's annotation eks.amazonaws.com/skip-containers does not name this container.",
    HALF_IRSA: "Remove {set} from the container: set by hand it keeps the webhook from injecting both. Then recreate"
    " the pod.",
    NO_TASK_ROLE: "Set taskRoleArn in the task definition (executionRoleArn is the agent's own), register it again, and"
    " update the service: aws ecs update-service --cluster CLUSTER --service SERVICE --task-definition FAMILY.",
    NODE_ROLE: "Metering does not accept the node's role. EKS: IRSA for the pod's service account. ECS: taskRoleArn.",
    OUTSIDE: "Run it in a pod on Amazon EKS with IRSA or in an Amazon ECS task with a task role. For the emulator set"
    " AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY to any text.",
    NO_EXECUTION_ROLE: "Give the runtime an execution role that allows aws-marketplace:MeterUsage. For the emulator set"
    " AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY to any text.",
    KEYS_ON_AGENTCORE: "Remove AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN from the container: they"
    " win over the execution role, and metering does not accept them. Only the emulator does.",
    ADDRESS: "Remove AWS_CONTAINER_CREDENTIALS_FULL_URI from the container: it names {host}. The SDK asks loopback and"
    " the addresses of ECS and EKS alone, and neither IRSA nor the task role needs the variable.",
    AUDIENCE: "Remove the annotation eks.amazonaws.com/audience from serviceaccount {account} -n {namespace}, or the"
    " audience from the token's volume, and recreate the pod: STS wants sts.amazonaws.com.",
    REFUSED: "{hint}",
    **license_credentials.FIXES,
}


@dataclass(frozen=True, kw_only=True)
class Resolved:
    """What the SDK made of the environment."""

    env: Mapping[str, str]
    method: str | None = None
    """botocore's name of the source; None where it found none."""
    failure: CallFailed | None = None
    """Why none could be resolved, where one was tried."""
    failure_hint: str = ""
    operations: tuple[str, ...] = ()
    token: WebIdentity | None = None
    """What the token of IRSA says of itself, where there is one."""
    contract: bool = False
    """Whether License Manager is asked, and not metering alone."""
    agentcore: bool = False
    """Whether the settings say that this is AgentCore Runtime."""
    emulated: bool = False
    """Whether the settings name another endpoint than AWS's."""


def check(context: Context) -> Finding:
    """Return the source of the credentials, and whether AWS accepts it for the operations of these settings."""
    found = judged(_resolve(context))
    return Finding(status=found.status, seen=masked(found.seen), rule=found.rule, fix=masked(found.fix))


def _resolve(context: Context) -> Resolved:
    method: str | None = None
    failure, hint = None, ""
    with context.sdk_environment():
        try:
            if context.settings and context.region:
                marketplace = context.marketplace
                (marketplace.fetch_credentials if context.by_contract else marketplace.ready)()  # asks STS where needed
            found = context.marketplace.session().get_credentials()
            method = found.method if found else None
        except Exception as exc:  # whatever the SDK raises while it resolves credentials
            failure = call_failed(exc, AnsweredBy.METER_USAGE, context.now())
            hint = failure_hint(context, failure)
    return Resolved(
        env=context.env,
        method=method,
        failure=failure,
        failure_hint=hint,
        operations=context.operations,
        contract=context.by_contract,
        token=WebIdentity.of(context.env.get(IRSA_VARIABLES[1], "")),
        agentcore=context.settings is not None and context.settings.platform is Platform.AGENTCORE,
        emulated=bool(context.settings and context.settings.endpoint_url),
    )


# -- the verdict, pure --------------------------------------------------------------------------------


def judged(found: Resolved) -> Finding:
    """Return the finding about what the SDK resolved."""
    env = found.env
    if found.failure is not None:
        said = f"; {found.token}" if found.token else ""
        rule = license_credentials.RULE if found.contract else RULE
        return failed(rule, f"{found.failure.code}; {_environment(env)}{said}", _failure_fix(found))
    if found.contract and "MeterUsage" not in found.operations:
        return license_credentials.judged(found.method, env, _environment(env))
    if found.agentcore:
        return _on_agentcore(found)
    if found.method is None:
        why = _why_none(env)
        return failed(RULE, f"{why}; {_environment(env)}", _filled(why, env))
    source = credentials.source(found.method, env)
    role = f", {source.role}" if source.role else ""
    seen = f"{source.name}{role} (the SDK's {found.method})"
    if source.caution:
        why = _why_refused(found.method, env)
        if why == STATIC and found.emulated:
            return warned(RULE, f"{seen}, for an endpoint that is not AWS", FIXES[STATIC])
        accepted = f"not accepted for {' and '.join(found.operations) or 'metering'}"
        return failed(RULE, f"{seen}: {accepted}; {_environment(env)}", _filled(why, env))
    seen = f"{seen}, accepted for {' and '.join(found.operations) or 'metering'}"
    trap = _trap(found.method, env)
    if trap is not None:
        return warned(RULE, f"{seen}; {trap}; {_environment(env)}", _filled(trap, env))
    return passed(RULE, seen)


def _on_agentcore(found: Resolved) -> Finding:
    """Return the finding where the execution role is the source: how the runtime hands it out is not documented."""
    if found.method is None:
        seen = f"{NO_EXECUTION_ROLE}; {_environment(found.env)}"
        return failed(AGENTCORE_RULE, seen, FIXES[NO_EXECUTION_ROLE])
    if found.method != "env":
        return passed(AGENTCORE_RULE, f"the SDK's {found.method}; whether it is the execution role cannot be seen here")
    if found.emulated:
        return warned(AGENTCORE_RULE, f"{STATIC}, for an endpoint that is not AWS", FIXES[KEYS_ON_AGENTCORE])
    return failed(AGENTCORE_RULE, f"{KEYS_ON_AGENTCORE}; {_environment(found.env)}", FIXES[KEYS_ON_AGENTCORE])


def _why_refused(method: str, env: Mapping[str, str]) -> str:
    if method == "env":
        return STATIC
    if credentials.pod_identity(env):
        return POD_IDENTITY
    return NO_TASK_ROLE if ecs.on_ecs(env) else NODE_ROLE


def _why_none(env: Mapping[str, str]) -> str:
    """Return why there may be no credentials in this environment."""
    if _half(env, IRSA_VARIABLES):
        return HALF_IRSA
    if _half(env, KEYS):
        return HALF
    if ecs.on_ecs(env):
        return NO_TASK_ROLE
    return NOT_INJECTED if eks.in_kubernetes(env) else OUTSIDE


def _trap(method: str, env: Mapping[str, str]) -> str | None:
    """Return what is set beside an accepted source and should not be."""
    if method == "assume-role-with-web-identity" and credentials.pod_identity(env):
        return POD_IDENTITY_BESIDE
    return HALF if _half(env, KEYS) else None


def _failure_fix(found: Resolved) -> str:
    """Return the fix of what the SDK or STS refused; where the environment says more than the error, that."""
    env, failure = found.env, found.failure
    assert failure is not None
    if failure.code == "PartialCredentialsError":
        return _filled(HALF, env)
    if found.contract and license_credentials.variables(env):
        return found.failure_hint
    if _half(env, IRSA_VARIABLES):
        return _filled(HALF_IRSA, env)
    if not found.contract and credentials.pod_identity(env) and not all(env.get(name) for name in IRSA_VARIABLES):
        return _filled(POD_IDENTITY, env)
    if failure.code == "ValueError" and env.get(FULL) and not env.get(RELATIVE):
        return _filled(ADDRESS, env)
    if failure.asked is AnsweredBy.STS and found.token and not found.token.for_sts:
        return f"{_filled(AUDIENCE, env)}\n{found.failure_hint}"
    return found.failure_hint


def _half(env: Mapping[str, str], pair: tuple[str, str]) -> bool:
    return bool(env.get(pair[0])) != bool(env.get(pair[1]))


def _filled(why: str, env: Mapping[str, str]) -> str:
    places = {
        "{key}": _names(env, KEYS),
        "{set}": _names(env, IRSA_VARIABLES),
        "{account}": env.get("SERVICE_ACCOUNT") or "ACCOUNT",
        "{namespace}": env.get("POD_NAMESPACE") or "NAMESPACE",
        "{host}": _host(env.get(FULL, "")),
    }
    text = FIXES[why]
    for place, value in places.items():
        text = text.replace(place, value)
    return text


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or "no host"
    except ValueError:  # such as a bracket that is not closed
        return "no host"


def _names(env: Mapping[str, str], names: tuple[str, ...]) -> str:
    return " and ".join(name for name in names if env.get(name))


def _environment(env: Mapping[str, str]) -> str:
    """Return the names of what is set, never a value that may be a secret."""
    wanted = (
        *KEYS,
        "AWS_SESSION_TOKEN",
        *IRSA_VARIABLES,
        *license_access.VARIABLES,
        RELATIVE,
        FULL,
        AUTHORIZATION,
    )
    found = [name for name in wanted if env.get(name)]
    ignored = [name for name in PROFILES if env.get(name)]
    text = f"set: {', '.join(found)}" if found else "no variable of credentials is set"
    return text + (f"; set and ignored: {', '.join(ignored)}" if ignored else "")
