"""The bill of materials made from the image, against the lock file it was built from."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from tests.unit.image.test_lock import entries

ROOT = Path(__file__).parents[2]


def test_the_bill_lists_each_locked_package_and_those_of_the_base(image: str, tmp_path: Path) -> None:
    file = tmp_path / "sbom.cdx.json"
    subprocess.run([sys.executable, ROOT / "image" / "sbom.py", image, file], check=True, timeout=300)
    text = file.read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    purls = {component["purl"] for component in json.loads(text)["components"]}
    entered = entries((ROOT / "requirements.lock").read_text())
    locked = {f"pkg:pypi/{one.name}@{next(iter(one.specifier)).version}" for one, _ in entered}
    listed = {purl for purl in purls if purl.startswith("pkg:pypi/")}
    assert {purl for purl in listed if "/entitlement-sidecar@" not in purl} == locked
    assert len(listed) == len(locked) + 1
    assert any(purl.startswith("pkg:deb/debian/libc6@") for purl in purls)
    assert any("/python" in purl for purl in purls if not purl.startswith("pkg:pypi/"))
