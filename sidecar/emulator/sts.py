"""Answer AssumeRoleWithWebIdentity: temporary credentials for a web identity token, as IRSA uses them; and
GetCallerIdentity, which says whose credentials signed a request.

Elsewhere: what the issued key may do (`callers`).

Invariants (AWS STS API Reference, "AssumeRoleWithWebIdentity", "GetCallerIdentity"; query protocol, version
2011-06-15):
- Requests are form-encoded, answers are XML. GetCallerIdentity is signed, for the service `sts`, and needs no
  permission; the other is unsigned.
- `Expiration` is now plus DurationSeconds (3600; 900 to 43200).
- The token may be any text and proves nothing here. One that Kubernetes issued (claim `kubernetes.io`,
  `pod.uid`) names the pod, and the key belongs to that workload. An access token of License Manager is checked
  (`access_tokens`), and names its refresh token. Any other text is a workload of its own,
  named after a digest of it: the same token is the same workload.
- `Expiration` and the expiry of a key are in real time, however the emulated clock was moved: the client
  that holds them counts by its own.
- Account and role of the issued key are those of the role ARN.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Mapping
from datetime import timedelta
from typing import Final
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

from sidecar.clock import iso
from sidecar.emulator import sigv4
from sidecar.emulator.access_tokens import ISSUER, claims_of
from sidecar.emulator.callers import Caller, IssuedKey
from sidecar.emulator.refusals import Refusal, refusal
from sidecar.emulator.state import EmulatorState
from sidecar.emulator.wire import Conditions, Incoming, Reply, ordered_error, retry_after_header

OPERATION: Final = "AssumeRoleWithWebIdentity"
IDENTITY: Final = "GetCallerIdentity"
SERVICE: Final = "sts"
CODES: Final[Mapping[str, str]] = {
    "UnrecognizedClientException": "InvalidClientTokenId",
    "ExpiredTokenException": "ExpiredToken",
    "InvalidSignatureException": "SignatureDoesNotMatch",
    "IncompleteSignatureException": "IncompleteSignature",
    "MissingAuthenticationTokenException": "MissingAuthenticationToken",
}
"""What a service of the query protocol calls the faults of a signed request."""
XML_NAMESPACE: Final = "https://sts.amazonaws.com/doc/2011-06-15/"
DURATION_SECONDS: Final = 3600
DURATION_SECONDS_MIN: Final = 900
DURATION_SECONDS_MAX: Final = 43200
KUBERNETES_CLAIM: Final = "kubernetes.io"

_ROLE_ARN = re.compile(r"arn:aws[\w-]*:iam::(?P<account>\d{12}):role/(?:[\w+=,.@/-]*/)?(?P<role>[\w+=,.@-]+)")
_KEY_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"


class SecurityTokenService:
    """The operation of STS that a pod needs, and the one that tells who is asking."""

    def operation(self, incoming: Incoming) -> str:
        action = _form(incoming).get("Action", "")
        if action not in (OPERATION, IDENTITY):
            raise refusal("InvalidAction", f"Could not find operation {action or '(no Action)'}.")
        return action

    def workload(self, emulated: EmulatorState, incoming: Incoming) -> str | None:
        token = _form(incoming).get("WebIdentityToken")
        if token:
            return workload_of(token)
        access_key = sigv4.access_key(incoming.headers)
        return emulated.callers.workload(access_key, emulated.behaviour) if access_key else None

    def perform(self, emulated: EmulatorState, operation: str, incoming: Incoming, conditions: Conditions) -> Reply:
        ordered_error(emulated, operation, conditions)
        if operation == IDENTITY:
            return _identity(emulated, incoming, conditions)
        form = _form(incoming)
        with emulated.lock:
            emulated.tokens.check(form.get("WebIdentityToken", ""), form.get("RoleArn", ""), conditions.real_now)
        key = _issue(form, conditions)
        emulated.callers.issue(key)
        return _xml(200, _result(key, form, incoming.request_id))

    def refuse(self, refused: Refusal, incoming: Incoming) -> Reply:
        fault_of = "Receiver" if refused.status >= 500 else "Sender"
        error = _tags({"Type": fault_of, "Code": refused.code, "Message": refused.message})
        body = f"<Error>{error}</Error><RequestId>{incoming.request_id}</RequestId>"
        whole = f'<ErrorResponse xmlns="{XML_NAMESPACE}">{body}</ErrorResponse>'
        return _xml(refused.status, whole, retry_after_header(refused))


def workload_of(token: str) -> str:
    """Return the pod a Kubernetes token names; for any other text, a name made from a digest of it."""
    claims = claims_of(token)
    kubernetes = claims.get(KUBERNETES_CLAIM)
    pod = kubernetes.get("pod") if isinstance(kubernetes, dict) else None
    uid = pod.get("uid") if isinstance(pod, dict) else None
    found = claims.get("sub") if claims.get("iss") == f"https://{ISSUER}" else uid
    if isinstance(found, str) and found:
        return found
    return "token-" + hashlib.sha256(token.encode("utf-8")).hexdigest()[:12]


def _identity(emulated: EmulatorState, incoming: Incoming, conditions: Conditions) -> Reply:
    """Return whose credentials signed the request. Raises Refusal, by STS's names of codes."""
    try:
        signed = sigv4.read(incoming.headers, conditions.real_now, SERVICE)
        caller = emulated.callers.authenticate(signed, conditions.behaviour, conditions.real_now)
    except Refusal as refused:
        raise refusal(CODES.get(refused.code, refused.code), refused.message, status=403) from refused
    return _xml(200, _answer(IDENTITY, _tags(_who(caller)), incoming.request_id))


def _who(caller: Caller) -> dict[str, str]:
    return {
        "Arn": f"arn:aws:sts::{caller.account}:assumed-role/{caller.role}/{caller.workload}",
        "UserId": f"{_role_id(caller.role)}:{caller.workload}",
        "Account": caller.account,
    }


def _role_id(role: str) -> str:
    return f"AROA{hashlib.sha256(role.encode()).hexdigest()[:17].upper()}"


def _answer(operation: str, result: str, request_id: str) -> str:
    return (
        f'<{operation}Response xmlns="{XML_NAMESPACE}"><{operation}Result>{result}</{operation}Result>'
        f"<ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata></{operation}Response>"
    )


def _issue(form: Mapping[str, str], conditions: Conditions) -> IssuedKey:
    for name in ("RoleArn", "RoleSessionName", "WebIdentityToken"):
        if not form.get(name):
            raise _invalid(name[0].lower() + name[1:], "Member must not be null")
    role = _ROLE_ARN.fullmatch(form["RoleArn"])
    if role is None:
        raise refusal("ValidationError", f"{form['RoleArn']} is invalid")
    return IssuedKey(
        access_key="ASIA" + "".join(secrets.choice(_KEY_ALPHABET) for _ in range(16)),
        session_token=secrets.token_urlsafe(48),
        workload=workload_of(form["WebIdentityToken"]),
        account=role["account"],
        role=role["role"],
        issued_at=conditions.now,
        expires_at=conditions.real_now + _duration(form.get("DurationSeconds")),
    )


def _duration(seconds: str | None) -> timedelta:
    if seconds is None:
        return timedelta(seconds=DURATION_SECONDS)
    if not seconds.isdigit() or not DURATION_SECONDS_MIN <= int(seconds) <= DURATION_SECONDS_MAX:
        raise _invalid("durationSeconds", f"Member must be between {DURATION_SECONDS_MIN} and {DURATION_SECONDS_MAX}")
    return timedelta(seconds=int(seconds))


def _result(key: IssuedKey, form: Mapping[str, str], request_id: str) -> str:
    session = form["RoleSessionName"]
    credentials = _tags(
        {
            "AccessKeyId": key.access_key,
            # It is not checked what is signed with it, so it is made up and not kept.
            "SecretAccessKey": secrets.token_urlsafe(30),
            "SessionToken": key.session_token,
            "Expiration": iso(key.expires_at),
        }
    )
    user = _tags(
        {
            "Arn": f"arn:aws:sts::{key.account}:assumed-role/{key.role}/{session}",
            "AssumedRoleId": f"{_role_id(key.role)}:{session}",
        }
    )
    result = f"<Credentials>{credentials}</Credentials><AssumedRoleUser>{user}</AssumedRoleUser>" + _tags(
        {"SubjectFromWebIdentityToken": key.workload}
    )
    return _answer(OPERATION, result, request_id)


def _invalid(member: str, constraint: str) -> Refusal:
    return refusal(
        "ValidationError",
        f"1 validation error detected: Value at '{member}' failed to satisfy constraint: {constraint}",
    )


def _form(incoming: Incoming) -> dict[str, str]:
    return dict(parse_qsl(incoming.body.decode("utf-8", "replace"), keep_blank_values=True))


def _tags(values: Mapping[str, str]) -> str:
    return "".join(f"<{name}>{escape(value)}</{name}>" for name, value in values.items())


def _xml(status: int, body: str, headers: Mapping[str, str] | None = None) -> Reply:
    return Reply(status=status, content_type="text/xml", body=body.encode("utf-8"), headers=dict(headers or {}))
