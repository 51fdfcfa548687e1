"""Write the software bill of materials of an image, CycloneDX 1.6 as JSON.

image/sbom.py IMAGE FILE

Read from the image itself, which is never started, so that it works for any platform: the Python packages by
their metadata, the packages of the distribution by dpkg's own list, and the interpreter. What a wheel carries
inside (OpenSSL in cryptography, libyaml in PyYAML) is not listed as a component of its own.
Takes podman, else docker, or what $SIDECAR_CONTAINER_ENGINE names; needs the dependency group `image`.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from email.parser import Parser
from pathlib import Path
from typing import Any

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import Property
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from packageurl import PackageURL

WANTED = re.compile(
    r"(?P<python>.*\.dist-info/METADATA)|(?P<dpkg>var/lib/dpkg/status)|(?P<os>(etc|usr/lib)/os-release)"
    r"|(?P<venv>opt/entitlement-sidecar/pyvenv\.cfg)"
)


def files(names_and_texts: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Kind of source → its texts, out of all the files of an image."""
    found: dict[str, list[str]] = {"python": [], "dpkg": [], "os": [], "venv": []}
    for name, text in names_and_texts:
        if match := WANTED.fullmatch(name):
            found[str(match.lastgroup)].append(text)
    return found


def python_packages(texts: Iterable[str]) -> Iterator[Component]:
    """One component for each METADATA."""
    licenses = LicenseFactory()
    for text in texts:
        about = Parser().parsestr(text, headersonly=True)
        name = re.sub(r"[-_.]+", "-", about["Name"]).lower()
        said = about["License-Expression"] or about["License"] or ""
        yield Component(
            type=ComponentType.LIBRARY,
            name=name,
            version=about["Version"],
            purl=PackageURL("pypi", None, name, about["Version"]),
            bom_ref=f"pypi:{name}",
            licenses=[licenses.make_from_string(said)] if 0 < len(said) < 80 else (),
        )


def debian_packages(text: str, release: Mapping[str, str]) -> Iterator[Component]:
    """One component for each package that dpkg says is installed."""
    qualifiers = {"distro": f"{release.get('ID', 'debian')}-{release.get('VERSION_ID', '')}".rstrip("-")}
    for stanza in text.split("\n\n"):
        about = Parser().parsestr(stanza, headersonly=True)
        if not (about["Package"] and "installed" in (about["Status"] or "").split()):
            continue
        name, version = about["Package"], about["Version"]
        where = {**qualifiers, "arch": about["Architecture"] or "all"}
        yield Component(
            type=ComponentType.LIBRARY,
            name=name,
            version=version,
            purl=PackageURL("deb", release.get("ID", "debian"), name, version, where),
            bom_ref=f"deb:{name}:{where['arch']}",
        )


def interpreter(config: str, packages: Iterable[Component]) -> Iterator[Component]:
    """CPython, where it was built from source and so no package of the distribution's."""
    found = re.search(r"^version\s*=\s*(\S+)", config, re.MULTILINE)
    if found and not any(re.fullmatch(r"python3\.\d+(-minimal)?", package.name) for package in packages):
        version = found[1]
        purl = PackageURL("generic", None, "python", version)
        cpe = f"cpe:2.3:a:python:python:{version}:*:*:*:*:*:*:*"
        yield Component(
            type=ComponentType.APPLICATION, name="python", version=version, purl=purl, cpe=cpe, bom_ref="python"
        )


def bill(names_and_texts: Iterable[tuple[str, str]], image: Mapping[str, Any], reference: str) -> Bom:
    """All of it, for one image."""
    sources = files(names_and_texts)
    lines = (line.partition("=") for line in "\n".join(sources["os"]).splitlines())
    release = {name: value.strip('"') for name, _, value in lines}
    system = [one for text in sources["dpkg"] for one in debian_packages(text, release)]
    found = Bom(components=[*python_packages(sources["python"]), *system])
    found.components.update(interpreter("\n".join(sources["venv"]), system))
    labels = image.get("Config", {}).get("Labels") or {}
    found.metadata.component = Component(
        type=ComponentType.CONTAINER,
        name=labels.get("org.opencontainers.image.title", reference),
        version=labels.get("org.opencontainers.image.version"),
        bom_ref="image",
        properties=[
            Property(name="image:reference", value=reference),
            Property(name="image:id", value=image["Id"]),
            Property(name="image:platform", value=f"{image['Os']}/{image['Architecture']}"),
        ],
    )
    found.register_dependency(found.metadata.component, found.components)
    return found


def engine() -> str:
    """The container command of this machine."""
    named = os.environ.get("SIDECAR_CONTAINER_ENGINE")
    found = named or next((one for one in ("podman", "docker") if shutil.which(one)), None)
    if not found:
        raise SystemExit("neither podman nor docker is installed; SIDECAR_CONTAINER_ENGINE names another")
    return found


def _exported(command: str, image: str) -> Iterator[tuple[str, str]]:
    made = subprocess.run([command, "create", image], capture_output=True, text=True, check=True)
    container = made.stdout.split()[-1]
    try:
        with (
            subprocess.Popen([command, "export", container], stdout=subprocess.PIPE) as export,
            tarfile.open(fileobj=export.stdout, mode="r|") as archive,
        ):
            for member in archive:
                name = member.name.removeprefix("./")
                if member.isfile() and WANTED.fullmatch(name) and (file := archive.extractfile(member)):
                    yield name, file.read().decode(errors="replace")
        if export.returncode:
            raise SystemExit(f"{command} export ended with {export.returncode}")
    finally:
        subprocess.run([command, "rm", "-f", container], capture_output=True, check=False)


def main(image: str, file: str) -> None:
    """Write the bill of `image` to `file`."""
    command = engine()
    shown = subprocess.run([command, "image", "inspect", image], capture_output=True, text=True, check=True)
    found = bill(_exported(command, image), json.loads(shown.stdout)[0], image)
    text = make_outputter(found, OutputFormat.JSON, SchemaVersion.V1_6).output_as_string(indent=1)
    Path(file).write_text(text + "\n", encoding="utf-8")
    sys.stdout.write(f"{file}: {len(found.components)} components of {image}\n")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: image/sbom.py IMAGE FILE")
    main(*sys.argv[1:])
