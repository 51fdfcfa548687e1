"""Write where the listeners are into the address file, and read which ports they had before.

Invariants:
- A file that a running sidecar wrote is not taken over: who reads it could not tell the two apart. Nor is a file that
  is something else.
- The file stays at the end: the next start tries the same ports, and until it is replaced its instance answers nowhere.
- Without the setting a file is written only where a port is not known beforehand, into the state directory, for the
  commands of this container. There a failure is logged, since the gate does not need the file.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from sidecar import address_file, log
from sidecar.api.reply import API, PROBE
from sidecar.errors import Problem, SettingsError
from sidecar.server.listeners import Listening
from sidecar.settings import Address, Settings, UnixSocket

SETTING: Final = "SIDECAR_ADDRESS_FILE"
LOOPBACK: Final[Mapping[str, str]] = {"::": "127.0.0.1", "0.0.0.0": "127.0.0.1"}
"""Every address → one by which it is reached from here."""
HTTP: Final = "http://"
SHARED: Final = 0o644
"""Product and sidecar often are two users."""
OWN: Final = 0o600
"""In the state directory, as every file there."""


def file_of(settings: Settings) -> Path | None:
    """Return where the addresses are written, or None."""
    if settings.address_file:
        return settings.address_file
    listed = (*settings.probe_bind, *settings.api_bind)
    any_free = any(isinstance(one, Address) and one.port == 0 for one in listed)
    return Path(address_file.default_path(str(settings.state_dir), os.environ)) if any_free else None


def earlier_ports(path: Path) -> Mapping[str, int]:
    """Return listener → port of the sidecar that wrote the file before. Raises SettingsError where it still runs."""
    try:
        found = _read_unused(path)
    except OSError:
        return {}
    return {name: port for name in (PROBE, API) if (port := _port(found.get(name, "")))}


def publish(path: Path, settings: Settings, listening: Sequence[Listening], instance: str) -> int | None:
    """Write the file, and return the descriptor that says that it is in use; None where none could be written.

    Raises SettingsError where it is another's, or a setting names it and it cannot be written.
    """
    from sidecar.directory_lock import locked  # only where a file is written

    fields = {name: next(_url(one.address) for one in listening if one.name == name) for name in (PROBE, API)}
    fields |= {"instance": instance, "product_code": settings.product_code}
    try:
        if not settings.address_file:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with locked(path.parent):  # two that start at once do not replace each other's
            _read_unused(path)
            return address_file.write(str(path), fields, OWN if path != settings.address_file else SHARED)
    except OSError as exc:
        fault = f"{path} cannot be written: {exc.strerror}."
        if settings.address_file:
            raise _problem(f"{fault} Mount a volume there that user {os.geteuid()} can write to.") from exc
        log.warn(
            "listener.file_not_written", hint=f"{fault} Set {SETTING} to a file in a volume: no command finds the port."
        )
        return None


def _read_unused(path: Path) -> Mapping[str, str]:
    """Return what the file says, nothing where there is none.

    Raises SettingsError where it is not ours to replace, and OSError where that cannot be told.
    """
    try:
        found = address_file.read(str(path))
        used = address_file.in_use(str(path))
    except FileNotFoundError:
        return {}
    except address_file.NotAnAddressFile as exc:
        raise _problem(f"{exc}, and is not replaced. Remove it, or name another file.") from exc
    if used:
        raise _problem(
            f"{path} is the file of another sidecar, which runs (probes at {found[PROBE]}). Give each a file of its"
            " own, in a volume of its own pod or task."
        )
    return found


def _problem(fault: str) -> SettingsError:
    return SettingsError([Problem(setting=SETTING, fault=fault, example="/run/gate/addresses.json")])


def _url(address: Address | UnixSocket) -> str:
    if isinstance(address, UnixSocket):
        return str(address)
    return f"{HTTP}{Address(host=LOOPBACK.get(address.host, address.host), port=address.port)}"


def _port(url: str) -> int | None:
    """Return the port of a URL; None for a Unix socket, and for what is none."""
    _, _, port = url.rpartition(":")
    return int(port) if url.startswith(HTTP) and port.isdecimal() and 0 < int(port) < 65536 else None
