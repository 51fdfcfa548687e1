"""Check what an image's configuration says: user, variables, labels, history.

Invariants:
- No value of a variable that may be a secret is shown: its name and the kind of the secret alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from sidecar.listing.finding import Finding
from sidecar.listing.image import rules
from sidecar.listing.image.manifests import Image, mapping, strings
from sidecar.listing.secret_values import in_command, secret_kind
from sidecar.taskdef.rules import FORBIDDEN_VARIABLES

LABELS: Final = (
    "org.opencontainers.image.title",
    "org.opencontainers.image.version",
    "org.opencontainers.image.revision",
)
AWS_VARIABLES: Final[Mapping[str, str]] = {
    **FORBIDDEN_VARIABLES,
    "AWS_SESSION_TOKEN": "metering takes the role of the task or the service account",
    "AWS_PROFILE": "metering takes the role of the task or the service account",
}
"""Variable → why no image sets it."""
ROOT: Final = re.compile(r"root|0+")
SHOWN: Final = 60


def find(image: Image, passwords: bytes = b"") -> Iterator[Finding]:
    """Yield the findings of a configuration. `passwords`: /etc/passwd of the image, for names of users."""
    yield from _user(image, passwords)
    yield from _variables(image)
    yield from _labels(image)
    yield from _commands(image)
    yield from _history(image)


def variables(image: Image) -> Mapping[str, str]:
    """Return the environment of the image."""
    pairs = (one.partition("=") for one in strings(image.settings.get("Env")))
    return {name: value for name, _, value in pairs}


def _user(image: Image, passwords: bytes) -> Iterator[Finding]:
    value = image.settings.get("User")
    user = (value if isinstance(value, str) else "").partition(":")[0]
    number = user if user.isdecimal() else _number_of(user, passwords)
    place = f"{image.platform}, User"
    if not user:
        yield Finding(rule=rules.NON_ROOT, place=place, message="There is no USER: the image runs as root.")
    elif ROOT.fullmatch(user) or (number is not None and ROOT.fullmatch(number)):
        yield Finding(rule=rules.NON_ROOT, place=place, message=f"USER is {user!r}, which is root.", seen=user)
    elif not user.isdecimal():
        shown = f" (number {number} in /etc/passwd)" if number else ""
        yield Finding(rule=rules.USER_NUMBER, place=place, message=f"USER is the name {user!r}{shown}.", seen=user)


def _number_of(user: str, passwords: bytes) -> str | None:
    """Return the number of a user in /etc/passwd; None where it is not there."""
    rows = (line.split(":") for line in passwords.decode("utf-8", "replace").splitlines())
    return next((row[2] for row in rows if len(row) > 2 and row[0] == user), None)


def _variables(image: Image) -> Iterator[Finding]:
    for name, value in variables(image).items():
        place = f"{image.platform}, Env {name}"
        if name in AWS_VARIABLES:
            message = f"The image sets {name}: {AWS_VARIABLES[name]}."
            yield Finding(rule=rules.AWS_VARIABLES, place=place, message=message, seen=name)
        if kind := secret_kind(name, value):
            yield Finding(rule=rules.SECRETS, place=place, message=f"The variable {name} has {kind}.", seen=name)


def _labels(image: Image) -> Iterator[Finding]:
    labels = mapping(image.settings.get("Labels"))
    for name, value in labels.items():
        if isinstance(value, str) and (kind := secret_kind(name, value)):
            place = f"{image.platform}, label {name[:SHOWN]}"
            yield Finding(rule=rules.SECRETS, place=place, message=f"The label has {kind}.", seen=name[:SHOWN])
    missing = [name for name in LABELS if not labels.get(name)]
    if missing:
        place = f"{image.platform}, Labels"
        message = f"There is no label {', '.join(missing)}."
        yield Finding(rule=rules.LABELS, place=place, message=message, seen=", ".join(missing))


def _commands(image: Image) -> Iterator[Finding]:
    for field in ("Entrypoint", "Cmd"):
        command = " ".join(strings(image.settings.get(field)))
        for message in in_command(command, {}):
            yield Finding(rule=rules.SECRETS, place=f"{image.platform}, {field}", message=f"The command has {message}.")


def _history(image: Image) -> Iterator[Finding]:
    """Yield the secrets in commands that built the image: build arguments stand there in full."""
    known = variables(image)
    history = image.config.get("history")
    for number, step in enumerate(history if isinstance(history, list) else [], start=1):
        command = mapping(step).get("created_by")
        if not isinstance(command, str):
            continue
        for message in in_command(command, known):
            place = f"{image.platform}, history {number}"
            yield Finding(rule=rules.SECRETS, place=place, message=f"A command of the build has {message}.")
