"""Collect what a support bundle has in it, part by part.

Invariants:
- A part that cannot be had does not end the others: it is missing, with the reason.
- Each part is bounded; its note names what was left out.
- The environment is an allowlist of names: what is not on it is not read into the bundle.
- Nothing asks AWS to register or to bill, and no file of the state directory is opened.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from sidecar import __version__
from sidecar.cli import usage
from sidecar.cli.masking import is_url, without_secrets
from sidecar.cli.usage import CommandFailed, NoResponse
from sidecar.clock import iso
from sidecar.doctor.network import within
from sidecar.errors import SettingsError
from sidecar.printable import one_line
from sidecar.quick_dataclasses import dataclass
from sidecar.settings import SETTINGS, Settings, describe

RECORDS_MAX: Final = 5000
"""Of the newest; some seven weeks of five dimensions."""
EXPORT_BYTES_MAX: Final = 4 * 1024 * 1024
EXPORT_SECONDS_MAX: Final = 30.0
STATUS: Final = "status.json"
FILES_MAX: Final = 1000
PART_SECONDS: Final = 15.0
"""For a part; a disk or a pipe that does not answer ends here, and only its part is missing."""
LONGER: Final[Mapping[str, float]] = {"usage-export.jsonl": EXPORT_SECONDS_MAX + PART_SECONDS, "doctor.json": 75.0}
"""Parts with a bound of their own, which is below this."""
SHOWN: Final = frozenset(
    [
        *("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ROLE_ARN", "AWS_ROLE_SESSION_NAME", "AWS_EXECUTION_ENV"),
        *(
            "AWS_WEB_IDENTITY_TOKEN_FILE",
            "AWS_CONTAINER_CREDENTIALS_FULL_URI",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
        ),
        *("AWS_STS_REGIONAL_ENDPOINTS", "AWS_USE_FIPS_ENDPOINT", "AWS_USE_DUALSTACK_ENDPOINT", "AWS_CA_BUNDLE"),
        *("AWS_PROFILE", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_EC2_METADATA_DISABLED"),
        *("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_STS", "AWS_ENDPOINT_URL_MARKETPLACE_METERING", "AWS_MAX_ATTEMPTS"),
        *("ECS_CONTAINER_METADATA_URI_V4", "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"),
        *("POD_UID", "POD_NAME", "POD_NAMESPACE", "NODE_NAME"),
        *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"),
        *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "TZ", "LANG", "LC_ALL", "PATH"),
        *("PYTHONPATH", "PYTHONHASHSEED", "PYTHONDONTWRITEBYTECODE", "LD_PRELOAD", "SIDECAR_CONFIG"),
        *(setting.variable for setting in SETTINGS),
    ]
)
"""Variables whose values are in the bundle, masked."""
NAMED: Final = (
    *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN"),
    *("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_AUTHORIZATION_TOKEN", "AWS_BEARER_TOKEN_BEDROCK"),
)
"""Variables of which the bundle says only that they are set."""

Made = tuple[bytes, str]
"""Content, and what was left out."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """One file of the bundle."""

    name: str
    content: bytes | None
    """None where it is missing."""
    note: str = ""
    """Why it is missing, or what was left out."""


class RunningSidecar:
    """The sidecar of this container; once it has not answered it is not asked again."""

    def __init__(self) -> None:
        self.answered = False
        self._silent: NoResponse | None = None

    def get(self, target: str) -> usage.ClientResponse:
        """Return its response. Raises CommandFailed or SettingsError."""
        if self._silent:
            raise self._silent
        try:
            response = usage.request("GET", target)
        except NoResponse as exc:
            if not self.answered:
                self._silent = exc
            raise
        self.answered = True
        return response


def makers(
    manifest_path: Path, env: Mapping[str, str], sidecar: RunningSidecar, diagnose: Callable[[], object]
) -> Mapping[str, Callable[[], Made]]:
    """Return name → what makes the part, the quick ones first. `diagnose` returns doctor's document."""
    return {
        "settings.txt": lambda: (describe.effective(Settings.load(env, {}, manifest_path)).encode(), ""),
        "environment.json": lambda: (json_bytes(environment(env)), ""),
        "versions.json": lambda: (json_bytes(versions()), ""),
        "state-directory.txt": lambda: state_directory(Settings.load(env, {}, manifest_path).state_dir),
        STATUS: lambda: (_pretty(sidecar.get("/v1/status").body), ""),
        "metrics.txt": lambda: (sidecar.get("/metrics").body, ""),
        "log.jsonl": lambda: (sidecar.get("/v1/log").body, ""),
        "usage-records.jsonl": lambda: records(sidecar.get("/v1/usage").body),
        "usage-export.jsonl": lambda: export(sidecar.get),
        "doctor.json": lambda: (json_bytes(diagnose()), ""),
    }


def make(name: str, maker: Callable[[], Made], seconds: float | None = None) -> Part:
    """Return a part, or why it is missing; `seconds`: how long it may take, by default what its name says."""
    seconds = seconds or LONGER.get(name, PART_SECONDS)
    try:
        content, note = within(seconds, maker)
    except TimeoutError:
        return Part(name=name, content=None, note=f"it did not end within {seconds:g} s")
    except (CommandFailed, SettingsError) as exc:
        return Part(name=name, content=None, note=str(exc))
    except OSError as exc:
        return Part(name=name, content=None, note=exc.strerror or type(exc).__name__)
    except Exception as exc:  # of an unexpected error only the class: its text may hold anything
        return Part(name=name, content=None, note=f"could not be made: {type(exc).__name__}")
    return Part(name=name, content=content, note=note)


def environment(env: Mapping[str, str]) -> dict[str, object]:
    """Return the variables on the allowlist, and the names of those that are set and not shown."""
    return {
        "variables": {name: _shown(name, value) for name, value in sorted(env.items()) if name in SHOWN},
        "set_and_not_shown": [name for name in NAMED if env.get(name)],
    }


def _shown(name: str, value: str) -> str:
    return without_secrets(value) if is_url(name, value) else value


def versions() -> dict[str, object]:
    """Return the versions of the sidecar, Python, the operating system and every package."""
    packages = {one.metadata["Name"]: one.version for one in importlib.metadata.distributions()}
    return {
        "entitlement_sidecar": __version__,
        "python": sys.version,
        "executable": sys.executable,
        "system": " ".join((platform.system(), platform.release(), platform.version(), platform.machine())),
        "distribution": _distribution(),
        "user": [os.getuid(), os.getgid()],
        "packages": dict(sorted(packages.items(), key=lambda one: str(one[0]).lower())),
    }


def _distribution() -> str | None:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME")
    except OSError:
        return None


def state_directory(path: Path) -> Made:
    """Return a list of the files of the state directory: mode, owner, bytes, time of change, name."""
    lines, left_out = [f"{path}"], 0
    for count, entry in enumerate(sorted(os.scandir(path), key=lambda one: one.name)):
        if count >= FILES_MAX:
            left_out += 1
            continue
        found = entry.stat(follow_symlinks=False)
        changed = iso(datetime.fromtimestamp(found.st_mtime, UTC))
        lines.append(f"{found.st_mode:o}\t{found.st_uid}:{found.st_gid}\t{found.st_size}\t{changed}\t{entry.name}")
    text = "".join(f"{one_line(line) if index == 0 else line}\n" for index, line in enumerate(lines))
    return text.encode("utf-8", "backslashreplace"), f"{left_out} more files" if left_out else ""


def records(body: bytes) -> Made:
    """Return the usage records one a line, oldest first; where there are too many, the newest."""
    found = json.loads(body)["records"]
    left_out = len(found) - RECORDS_MAX
    lines = b"".join(json.dumps(one).encode() + b"\n" for one in found[-RECORDS_MAX:])
    return lines, f"the {left_out} oldest records are left out" if left_out > 0 else ""


def export(get: Callable[[str], usage.ClientResponse], monotonic: Callable[[], float] = time.monotonic) -> Made:
    """Return the audit copy; where it is too long, its end, as far as it could be read in time."""
    pages: deque[bytes] = deque()
    kept = left_out = count = 0
    deadline = monotonic() + EXPORT_SECONDS_MAX
    target: str | None = "/v1/usage/export"
    while target is not None and monotonic() < deadline:
        response = get(target)
        pages.append(response.body)
        kept += len(response.body)
        count += response.body.count(b"\n")
        while kept > EXPORT_BYTES_MAX and len(pages) > 1:
            oldest = pages.popleft()
            kept -= len(oldest)
            left_out += oldest.count(b"\n")
        target = usage.next_page(response, target, count)
    return b"".join(pages), "; ".join(_left_out(left_out, unread=target is not None))


def _left_out(lines: int, unread: bool) -> Iterator[str]:
    whole = "`entitlement-sidecar usage export` prints them all"
    if lines:
        yield f"the {lines} oldest lines are left out: {whole}"
    if unread:
        yield f"it took too long, and newer lines are missing: {whole}"


def json_bytes(document: object) -> bytes:
    """Return JSON for a person to read; half a character is written as its escape."""
    return json.dumps(document, indent=2, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"


def _pretty(body: bytes) -> bytes:
    return json_bytes(json.loads(body))
