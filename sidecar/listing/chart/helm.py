"""Call helm as AWS's checker does, bounded in time and output.

Invariants:
- Helm is given no cluster: KUBECONFIG names nothing.
- What runs longer than SECONDS_MAX or writes more than OUTPUT_BYTES_MAX is stopped and counts as failed.

Sources: AWS Marketplace seller guide, "Requirements for Amazon EKS add-on products" (the two commands);
aws-samples/addons-transformer-for-amazon-eks (lint with --strict --with-subcharts, and the value k8version).
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import IO, Final

from sidecar.quick_dataclasses import dataclass

SECONDS_MAX: Final = 30
OUTPUT_BYTES_MAX: Final = 8 << 20
ERROR_CHARACTERS_MAX: Final = 2_000
"""Of helm's message, in a finding."""
NAMESPACE: Final = "listing-check-namespace"
"""Where the chart is rendered into: nothing else is called so."""
VERSIONS: Final = ("1.29", "1.36")
"""Oldest and newest Kubernetes that a chart is rendered for: what the chart entitlement-sidecar supports."""
_RELEASE: Final = re.compile(r"[a-z0-9](?:[-a-z0-9]{0,51}[a-z0-9])?")


@dataclass(frozen=True, kw_only=True)
class Run:
    """What a call of helm came to."""

    command: str
    """As a person would write it, with DIR for the chart."""
    ok: bool
    output: str
    error: str
    stopped: bool = False
    """Whether it was stopped by us: the same would take as long again."""


def found() -> str | None:
    """Return the path of helm, None where there is none on PATH."""
    return shutil.which("helm")


@dataclass(frozen=True, kw_only=True)
class Helm:
    """Helm, and the chart that it is called for."""

    binary: str
    chart: Path
    name: str

    def lint(self) -> Run:
        """Lint the chart and those in it; warnings count."""
        return self._run("lint", "--strict", "--with-subcharts", str(self.chart.absolute()))

    def template(self, version: str, *more: str, hooks: bool = False) -> Run:
        """Render the chart for a version of Kubernetes, with its default values and `more` flags."""
        release = self.name if _RELEASE.fullmatch(self.name) else "listing-check"
        flags = ["--set", f"k8version={version}", "--kube-version", version, "--namespace", NAMESPACE, "--include-crds"]
        flags += [] if hooks else ["--no-hooks"]
        return self._run("template", release, str(self.chart.absolute()), *flags, *more)

    def _run(self, *arguments: str) -> Run:
        told = " ".join(("helm", *("DIR" if one == str(self.chart.absolute()) else one for one in arguments)))
        environment = {**os.environ, "KUBECONFIG": os.devnull}
        with tempfile.TemporaryFile() as errors:
            try:
                process = subprocess.Popen(
                    [self.binary, *arguments],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    env=environment,
                )
            except OSError as exc:
                return Run(command=told, ok=False, output="", error=f"helm cannot be started: {exc.strerror}")
            output, fault = _output(process)
            errors.seek(0)
            error = fault or errors.read(ERROR_CHARACTERS_MAX).decode("utf-8", "replace")
        return Run(
            command=told, ok=process.returncode == 0 and not fault, output=output, error=error, stopped=bool(fault)
        )


def _output(process: subprocess.Popen[bytes]) -> tuple[str, str]:
    """Return what a process writes, and why it was stopped, if it was."""
    timer = threading.Timer(SECONDS_MAX, process.kill)
    timer.start()
    try:
        assert process.stdout is not None
        output = _read(process.stdout)
        if len(output) > OUTPUT_BYTES_MAX:
            process.kill()
            process.wait()
            return "", f"helm wrote more than {OUTPUT_BYTES_MAX} bytes and was stopped"
        process.wait()
        if not timer.is_alive():
            return "", f"helm took longer than {SECONDS_MAX} s and was stopped"
        return output.decode("utf-8", "replace"), ""
    finally:
        timer.cancel()
        if process.stdout:
            process.stdout.close()


def _read(pipe: IO[bytes]) -> bytes:
    return pipe.read(OUTPUT_BYTES_MAX + 1)
