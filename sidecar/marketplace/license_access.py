"""Get credentials outside AWS from the refresh token of a license, for License Manager alone.

AWS Marketplace's launch page puts a refresh token and a role into a secret of the customer's cluster. The token becomes
an access token for an hour (GetAccessToken, unsigned: there is nothing yet to sign with), and that, as a web identity,
the role's credentials (AssumeRoleWithWebIdentity). Not tried on AWS: the emulator plays both calls.

Invariants:
- Used only where a file is named (`VARIABLES`) and nothing that the platform gives comes first: not IRSA, not the
  credentials of a container. It comes before the role of an instance.
- The file is read for each exchange, so that a secret that was replaced counts at once.
- Credentials are exchanged again before they end (the SDK's refresh window).
- No token is in an error or a log: errors name the variable and the call.

Sources: AWS Marketplace seller guide, "Integrating an AWS Marketplace for Containers Anywhere product with License
Manager" (both variables, the order of providers); AWS License Manager API Reference, GetAccessToken; AWS STS API
Reference, AssumeRoleWithWebIdentity; botocore's credentials.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from botocore import UNSIGNED
from botocore.config import Config
from botocore.credentials import CredentialProvider, DeferredRefreshableCredentials
from botocore.exceptions import BotoCoreError, ClientError

from sidecar.entitlement.answer import AnsweredBy

VARIABLES: Final = ("AWS_WEB_IDENTITY_REFRESH_TOKEN_FILE", "AWS_LICENSE_ACCESS_FILE")
"""The name in AWS's sample for Java, and the one in its sample for Go; the first that is set counts."""
ROLE: Final = "AWS_ROLE_ARN"
SESSION: Final = "AWS_ROLE_SESSION_NAME"
SESSION_NAME: Final = "entitlement-sidecar"
METHOD: Final = "license-token"
BEFORE: Final = "iam-role"
"""The SDK's provider that this one stands before: the role of an instance."""
TOKEN_CHARACTERS_MAX: Final = 4096


class LicenseTokenUnreadable(BotoCoreError):  # type: ignore[misc]
    """The file with the refresh token is not there, cannot be read, or holds no token."""

    fmt = "the file that {variable} names holds no refresh token that can be read"


class LicenseRoleMissing(BotoCoreError):  # type: ignore[misc]
    """A refresh token is there, and no role to assume with it."""

    fmt = "AWS_ROLE_ARN is not set beside {variable}"


class LicenseTokenProvider(CredentialProvider):  # type: ignore[misc]
    """A source of credentials for the SDK's chain."""

    METHOD = METHOD
    CANONICAL_NAME = None

    def __init__(self, env: Mapping[str, str], license_manager: Callable[[], Any], sts: Callable[[], Any]) -> None:
        """`license_manager`, `sts`: return a client that signs nothing."""
        super().__init__()
        self._env, self._license_manager, self._sts = env, license_manager, sts

    def load(self) -> DeferredRefreshableCredentials | None:
        """Return credentials that are fetched when they are needed; None where no file is named."""
        if variable_of(self._env) is None:
            return None
        return DeferredRefreshableCredentials(method=METHOD, refresh_using=self._fetch)

    def _fetch(self) -> dict[str, str]:
        """Return fresh credentials in the SDK's form. Raises ClientError and what the SDK raises."""
        variable = variable_of(self._env) or VARIABLES[0]
        role = self._env.get(ROLE, "").strip()
        if not role:
            raise LicenseRoleMissing(variable=variable)
        token = read_token(self._env, variable)
        try:
            reply = self._license_manager().get_access_token(Token=token)
        except ClientError as exc:
            raise _without(token, exc, AnsweredBy.ACCESS_TOKEN) from None
        return self._assume(role, str(reply.get("AccessToken") or ""), variable)

    def _assume(self, role: str, access_token: str, variable: str) -> dict[str, str]:
        if not access_token:
            raise LicenseTokenUnreadable(variable=variable)
        name = self._env.get(SESSION, "").strip() or SESSION_NAME
        try:
            reply = self._sts().assume_role_with_web_identity(
                RoleArn=role, RoleSessionName=name, WebIdentityToken=access_token
            )
        except ClientError as exc:
            # Under a name of its own: what STS means differs from what it means for a service account's token.
            raise _without(access_token, exc, AnsweredBy.LICENSE_ROLE) from None
        found = reply["Credentials"]
        return {
            "access_key": found["AccessKeyId"],
            "secret_key": found["SecretAccessKey"],
            "token": found["SessionToken"],
            "expiry_time": found["Expiration"].isoformat(),
        }


def add_to(session: Any, env: Mapping[str, str], region: str, endpoint_url: str | None) -> None:
    """Let the SDK's session find these credentials, where `env` names a file. `endpoint_url`: License Manager's."""
    if variable_of(env) is None:
        return

    def client(service: str, url: str | None) -> Any:
        unsigned = Config(signature_version=UNSIGNED)
        return session.create_client(service, region_name=region, endpoint_url=url, config=unsigned)

    provider = LicenseTokenProvider(env, lambda: client("license-manager", endpoint_url), lambda: client("sts", None))
    session.get_component("credential_provider").insert_before(BEFORE, provider)


def variable_of(env: Mapping[str, str]) -> str | None:
    """Return the variable that names the file with the refresh token; None where none does."""
    return next((name for name in VARIABLES if env.get(name, "").strip()), None)


def _without(token: str, exc: ClientError, asked: AnsweredBy) -> ClientError:
    """Return the error without the token, should AWS repeat it: the SDK logs what it could not fetch."""
    error = exc.response.get("Error", {})
    shown = {**error, "Message": str(error.get("Message", "")).replace(token, "…")}
    return ClientError({**exc.response, "Error": shown}, asked.value)


def read_token(env: Mapping[str, str], variable: str) -> str:
    """Return the refresh token in the file. Raises LicenseTokenUnreadable."""
    try:
        with Path(env[variable].strip()).open(encoding="ascii") as file:
            token = file.read(TOKEN_CHARACTERS_MAX + 1).strip()
    except (OSError, UnicodeDecodeError):
        raise LicenseTokenUnreadable(variable=variable) from None
    if not 1 <= len(token) <= TOKEN_CHARACTERS_MAX or len(token.split()) != 1:
        raise LicenseTokenUnreadable(variable=variable)
    return token
