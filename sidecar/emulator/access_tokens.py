"""Answer GetAccessToken: a refresh token, as AWS puts it into a secret for a cluster anywhere, becomes an access token.

Elsewhere: what STS gives for the access token (`sts`).

Invariants (License Manager service model, "GetAccessToken"; seller guide,
`container-anywhere-license-manager-integration`):
- The call may be unsigned: off AWS there is nothing to sign it with yet.
- An access token lives for an hour, a refresh token for 365 days unless said otherwise; in real time, as their holder
  counts.
- Both are JWTs with a signature that no one here checks; what counts is whether this emulator issued them. Only a
  digest of each is kept, so none can be read back.
- An access token is good for the roles that its refresh token names, for any role where it names none.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sidecar.emulator.constraints import failed, invalid, wrong_text
from sidecar.emulator.refusals import refusal

OPERATION: Final = "GetAccessToken"
ISSUER: Final = "openid-license-manager.amazonaws.com"
ACCESS_SECONDS: Final = 3600
REFRESH_DAYS: Final = 365
TOKEN_CHARACTERS_MAX: Final = 4096
PROPERTIES_MAX: Final = 3


@dataclass(frozen=True, kw_only=True)
class RefreshToken:
    """What is known of a refresh token without the token itself."""

    id: str
    license_arn: str
    roles: tuple[str, ...]
    """Role ARNs; none means any."""
    expires_at: datetime


@dataclass(frozen=True, kw_only=True)
class AccessToken:
    """What is known of an access token without the token itself."""

    refresh: RefreshToken
    expires_at: datetime


class AccessTokens:
    """Tokens that were issued. Hold the state's lock to share it between threads."""

    def __init__(self) -> None:
        self._refresh: dict[str, RefreshToken] = {}
        self._access: dict[str, AccessToken] = {}

    def create(self, license_arn: str, roles: tuple[str, ...], days: int, now: datetime) -> tuple[str, str]:
        """Return the id of a new refresh token and, this once, the token."""
        found = RefreshToken(
            id=f"t-{secrets.token_hex(8)}",
            license_arn=license_arn,
            roles=roles,
            expires_at=now + timedelta(days=days),
        )
        token = _jwt({"sub": found.id, "aud": license_arn, "exp": int(found.expires_at.timestamp())})
        self._refresh[_digest(token)] = found
        return found.id, token

    def delete(self, token_id: str) -> bool:
        """Forget a refresh token; what was issued for it stays good. Return whether it was there."""
        gone = [digest for digest, each in self._refresh.items() if each.id == token_id]
        for digest in gone:
            del self._refresh[digest]
        return bool(gone)

    def exchange(self, token: str, now: datetime) -> str:
        """Return an access token for a refresh token. Raises Refusal."""
        found = self._refresh.get(_digest(token))
        if found is None:
            raise refusal("AuthorizationException", "The token is not valid.")
        if found.expires_at <= now:
            raise refusal("AuthorizationException", "The token has expired.")
        until = now + timedelta(seconds=ACCESS_SECONDS)
        made = _jwt({"sub": found.id, "aud": found.license_arn, "exp": int(until.timestamp())})
        self._access[_digest(made)] = AccessToken(refresh=found, expires_at=until)
        return made

    def check(self, token: str, role: str, now: datetime) -> None:
        """Raise Refusal, by STS's codes, for a bad token that names License Manager as its issuer."""
        if claims_of(token).get("iss") != f"https://{ISSUER}":
            return
        found = self._access.get(_digest(token))
        if found is None:
            raise refusal("InvalidIdentityToken", "Couldn't retrieve verification key from your identity provider")
        if found.expires_at <= now:
            raise refusal("ExpiredTokenException", "Token expired: the provided web identity token has expired")
        if found.refresh.roles and role not in found.refresh.roles:
            raise refusal("AccessDenied", "Not authorized to perform sts:AssumeRoleWithWebIdentity", status=403)

    def refresh_tokens(self) -> list[dict[str, object]]:
        """Return what may be shown of the refresh tokens."""
        return [{"token_id": each.id, "license_arn": each.license_arn} for each in self._refresh.values()]


def answer(tokens: AccessTokens, body: Mapping[str, object], now: datetime) -> dict[str, object]:
    """Return the response members; `now` is the real time. Raises Refusal."""
    token, properties = body.get("Token"), body.get("TokenProperties")
    wrong = wrong_text("token", token, required=True, least=1, most=TOKEN_CHARACTERS_MAX)
    if properties is not None and not (isinstance(properties, list) and len(properties) <= PROPERTIES_MAX):
        wrong.append(failed("tokenProperties", f"Member must be a list of up to {PROPERTIES_MAX}"))
    if wrong:
        raise invalid(wrong)
    return {"AccessToken": tokens.exchange(str(token), now)}


def subject_of(body: Mapping[str, object]) -> str | None:
    """Return which refresh token a request names, for the list of calls."""
    subject = claims_of(str(body.get("Token"))).get("sub")
    return subject if isinstance(subject, str) else None


def claims_of(token: str) -> Mapping[str, object]:
    """Return the claims of a JWT, not verified; none of what is no JWT."""
    try:
        payload = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (IndexError, ValueError):
        return {}
    return claims if isinstance(claims, dict) else {}


def _jwt(claims: Mapping[str, object]) -> str:
    """Return the claims as a JWT whose signature is a random text, so that no one can guess it."""
    parts = [{"alg": "RS256", "typ": "JWT"}, {"iss": f"https://{ISSUER}", "jti": secrets.token_hex(8), **claims}]
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
    return ".".join([*encoded, secrets.token_urlsafe(48)])


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8")).hexdigest()
