"""podman or docker, as the tests of an image need them: inspect, list files, run, stop, build.

The suite knows names of images and nothing of how they were made:

SIDECAR_IMAGE             the image for production; without it every test here is skipped
SIDECAR_EMULATOR_IMAGE    the image with the emulator, of the same build
SIDECAR_BASE_IMAGE        the base both stand on, for the size over it
SIDECAR_CONTAINER_ENGINE  podman or docker, where both are there
SIDECAR_BUILD_FLAGS       flags that `build` needs on this machine
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import tarfile
import time
import uuid
from collections.abc import Sequence
from functools import cache
from typing import Any, Self

from sidecar.quick_dataclasses import dataclass, field

LOCKED_DOWN = ("--read-only", "--cap-drop", "all", "--security-opt", "no-new-privileges")
PYTHON = "/opt/entitlement-sidecar/bin/python"
STATE = "/var/lib/entitlement-sidecar"


def command() -> str | None:
    """The engine's command, where there is one."""
    return os.environ.get("SIDECAR_CONTAINER_ENGINE") or next(
        (one for one in ("podman", "docker") if shutil.which(one)), None
    )


def call(*words: str, timeout: float = 300) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(command()), *words], capture_output=True, text=True, timeout=timeout, check=False)


def done(*words: str, timeout: float = 300) -> str:
    """The output of a call that must succeed."""
    finished = call(*words, timeout=timeout)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout


@cache
def inspect(image: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(done("image", "inspect", image))[0]
    return found


@cache
def files(image: str) -> dict[str, tarfile.TarInfo]:
    """Every file and directory of an image, by its path without the first slash."""
    name = f"entitlement-image-test-{uuid.uuid4().hex[:12]}"
    done("create", "--name", name, image)
    try:
        with (
            subprocess.Popen([str(command()), "export", name], stdout=subprocess.PIPE) as export,
            tarfile.open(fileobj=export.stdout, mode="r|") as archive,
        ):
            return {member.name.removeprefix("./"): member for member in archive}
    finally:
        call("rm", "-f", name)


def run(image: str, *words: str, flags: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
    """Run to its end, locked down as a pod should be."""
    return call("run", "--rm", *LOCKED_DOWN, *flags, image, *words)


def run_python(image: str, source: str, *options: str) -> subprocess.CompletedProcess[str]:
    return run(image, *options, "-c", source, flags=("--entrypoint", PYTHON))


@dataclass
class Running:
    """A container in the background, gone at the end; it shares the host's network."""

    image: str
    words: Sequence[str] = ()
    env: dict[str, str] = field(default_factory=dict)
    flags: Sequence[str] = LOCKED_DOWN
    name: str = field(default_factory=lambda: f"entitlement-image-test-{uuid.uuid4().hex[:12]}")

    def __enter__(self) -> Self:
        variables = [word for name, value in self.env.items() for word in ("--env", f"{name}={value}")]
        done("run", "-d", "--name", self.name, "--network", "host", *self.flags, *variables, self.image, *self.words)
        return self

    def __exit__(self, *_: object) -> None:
        call("rm", "-f", "-v", self.name)

    def exec(self, *words: str) -> subprocess.CompletedProcess[str]:
        return call("exec", self.name, *words)

    def logs(self) -> str:
        both = call("logs", self.name)
        return both.stdout + both.stderr

    def state(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(done("container", "inspect", self.name))[0]["State"]
        return found

    def await_healthy(self, seconds: float = 60) -> str:
        """The health check's line, once it ends with 0."""
        deadline = time.monotonic() + seconds
        while True:
            looked = self.exec("entitlement-sidecar", "healthcheck")
            if looked.returncode == 0:
                return looked.stdout
            assert time.monotonic() < deadline, looked.stdout + looked.stderr + self.logs()
            time.sleep(0.2)


def build_flags() -> list[str]:
    return shlex.split(os.environ.get("SIDECAR_BUILD_FLAGS", ""))
