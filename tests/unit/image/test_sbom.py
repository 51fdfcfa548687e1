"""The bill of materials, from the files of an image."""

from __future__ import annotations

import sbom
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

IMAGE = {
    "Id": "abc",
    "Os": "linux",
    "Architecture": "arm64",
    "Config": {"Labels": {"org.opencontainers.image.title": "entitlement-sidecar"}},
}
SITE = "opt/entitlement-sidecar/lib/python3.13/site-packages"
FILES = [
    (f"{SITE}/PyYAML-6.0.3.dist-info/METADATA", "Name: PyYAML\nVersion: 6.0.3\nLicense: MIT\n\ntext"),
    (f"{SITE}/cffi/METADATA.txt", "Name: not-a-package\nVersion: 1\n"),
    ("etc/os-release", 'ID=debian\nVERSION_ID="13"\n'),
    (
        "var/lib/dpkg/status",
        "Package: libc6\nStatus: install ok installed\nArchitecture: arm64\nVersion: 2.41-12\n\n"
        "Package: gone\nStatus: deinstall ok config-files\nArchitecture: arm64\nVersion: 1\n",
    ),
    ("opt/entitlement-sidecar/pyvenv.cfg", "home = /usr/local/bin\nversion = 3.13.15\n"),
]


def purls(files: list[tuple[str, str]]) -> set[str]:
    return {str(component.purl) for component in sbom.bill(files, IMAGE, "image:1").components}


def test_packages_of_both_kinds_and_the_interpreter_are_listed() -> None:
    assert purls(FILES) == {
        "pkg:pypi/pyyaml@6.0.3",
        "pkg:deb/debian/libc6@2.41-12?arch=arm64&distro=debian-13",
        "pkg:generic/python@3.13.15",
    }


def test_an_interpreter_of_the_distribution_is_listed_once() -> None:
    name, status = FILES[3]
    own = (name, status.replace("Package: libc6", "Package: python3.13-minimal"))
    assert "pkg:generic/python@3.13.15" not in purls([*FILES[:3], own, FILES[4]])


def test_the_bill_passes_the_schema() -> None:
    found = make_outputter(sbom.bill(FILES, IMAGE, "image:1"), OutputFormat.JSON, SchemaVersion.V1_6)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(found.output_as_string()) is None
