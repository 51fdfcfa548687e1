"""Check the rights in the cluster's API, where a token for it is mounted for the sidecar."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sidecar.doctor.context import Context
from sidecar.doctor.finding import Finding, failed, passed, skipped
from sidecar.pod_status import rights
from sidecar.pod_status.access import ApiAccess, api_access
from sidecar.pod_status.writer import ApiServerError
from sidecar.printable import one_line

RULE: Final = (
    "Where a token for the cluster's API is mounted for the sidecar, its account may write the pod's condition and"
    " events: patch pods/status, create events, patch events."
)
VARIABLES: Final = "variables of the pod are missing"
SILENT: Final = "the API server does not answer"
TOKEN: Final = "the API server does not accept the token"  # noqa: S105 - what is seen, not a secret
REFUSED: Final = "the API server refuses the question"
RIGHTS: Final = "a right is missing"
FIXES: Final[Mapping[str, str]] = {
    VARIABLES: "Add to the sidecar's container, from the downward API: {names} (POD_NAME is metadata.name,"
    " POD_NAMESPACE is metadata.namespace, POD_UID is metadata.uid).",
    SILENT: "Allow egress from this pod to {server} (network policy), and mount ca.crt of kube-root-ca.crt beside the"
    " token in {mount}.",
    TOKEN: "Mount a projected serviceAccountToken without an audience of your own at {mount}/token, and recreate the"
    " pod.",
    REFUSED: "Look at the API server's audit log: it answers {code} {reason} to a SelfSubjectAccessReview, which every"
    " account may create.",
    RIGHTS: "In the chart: rbac.create, and the account in rbac.subjects. By hand:\n"
    "kubectl create role sidecar-condition -n {namespace} --verb=patch --resource=pods/status\n"
    "kubectl create role sidecar-events -n {namespace} --verb=create,patch --resource=events\n"
    "kubectl create rolebinding sidecar-condition -n {namespace} --role=sidecar-condition"
    " --serviceaccount={namespace}:{account}\n"
    "kubectl create rolebinding sidecar-events -n {namespace} --role=sidecar-events"
    " --serviceaccount={namespace}:{account}",
}


def check(context: Context) -> Finding:
    """Return which rights the pod's account has."""
    api = api_access(context.env, context.api_mount)
    if api is None:
        return skipped(RULE, f"not asked for: no token is mounted at {context.api_mount}")
    if api.missing:
        names = ", ".join(api.missing)
        return failed(RULE, f"a token is mounted, and not set: {names}", FIXES[VARIABLES].format(names=names))
    return _asked(api)


def _asked(api: ApiAccess) -> Finding:
    server = f"{api.host}:{api.port}"
    who = f"pod {api.namespace}/{api.pod}, account {api.service_account or 'not named'}, API server {server}"
    facts = {"mount": api.mount, "server": server, "namespace": api.namespace, "account": api.service_account or "NAME"}
    try:
        missing = rights.missing_rights(api)
    except ApiServerError as exc:
        fix = FIXES[TOKEN if exc.code == 401 else REFUSED]
        facts |= {"code": str(exc.code), "reason": exc.reason}
        return failed(RULE, f"{who}: answers {exc.code} {exc.reason}", fix.format(**facts))
    except OSError as exc:
        return failed(RULE, f"{who}: {one_line(str(exc))}", FIXES[SILENT].format(**facts))
    if missing:
        return failed(RULE, f"{who}: may not {', '.join(map(str, missing))}", FIXES[RIGHTS].format(**facts))
    return passed(RULE, f"{who}: may {', '.join(map(str, rights.NEEDED))}")
