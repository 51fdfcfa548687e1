"""Make JSON Schemas for kubeconform from Kubernetes' OpenAPI document, where the usual site cannot be reached.

    python -m tests.chart.schemas --into DIR                      # VERSIONS, from the Go module proxy
    python -m tests.chart.schemas --into DIR 1.29.15 1.35.4       # these releases
    python -m tests.chart.schemas --into DIR swagger.json …       # files

and then KUBERNETES_SCHEMAS=DIR for the tests. Strict: a field that the version does not have is refused.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
import urllib.request
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

VERSIONS = ("1.25.16", "1.29.15", "1.30.14", "1.31.14", "1.32.13", "1.33.13", "1.34.4", "1.35.4", "1.36.3")
"""The oldest cluster for containerMode classic, and one release of each minor version from the first native one on."""
PROXY = "https://proxy.golang.org/k8s.io/kubernetes/@v/v{version}.zip"
DOCUMENT = "k8s.io/kubernetes@v{version}/api/openapi-spec/swagger.json"
LOCATION = "{{.NormalizedKubernetesVersion}}/{{.ResourceKind}}{{.KindSuffix}}.json"


def main() -> int:
    """Write the schemas. Returns 1 where none could be had, and names each that could not."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sources", nargs="*", default=VERSIONS)
    parser.add_argument("--into", type=Path, required=True)
    args = parser.parse_args()
    with ThreadPoolExecutor(max_workers=4) as pool:
        texts = list(pool.map(_text, args.sources))
    for source, text in zip(args.sources, texts, strict=True):
        version = Path(source).stem if source.endswith(".json") else source
        if isinstance(text, str):
            sys.stdout.write(f"{version}: {write(json.loads(text), args.into / f'v{version}')} kinds\n")
        else:
            sys.stdout.write(f"{version}: could not be had: {text}\n")
    return 0 if any(isinstance(text, str) for text in texts) else 1


def _text(source: str) -> str | OSError:
    try:
        return Path(source).read_text() if source.endswith(".json") else _download(source)
    except OSError as error:
        return error


def _download(version: str) -> str:
    with urllib.request.urlopen(PROXY.format(version=version), timeout=300) as answer:
        archive = zipfile.ZipFile(io.BytesIO(answer.read()))
    return archive.read(DOCUMENT.format(version=version)).decode()


def write(document: dict[str, Any], directory: Path) -> int:
    """Write one file per kind, and one with all definitions; return the number of kinds."""
    directory.mkdir(parents=True, exist_ok=True)
    definitions = {name: _strict(shape) for name, shape in document["definitions"].items()}
    shared = directory / "_definitions.json"
    shared.write_text(json.dumps({"definitions": definitions}))
    count = 0
    for name, shape in definitions.items():
        for kind in shape.get("x-kubernetes-group-version-kind", []):
            group = kind["group"].split(".")[0]
            words = [kind["kind"].lower(), *([group] if group else []), kind["version"]]
            schema = {"$ref": f"{shared.resolve().as_uri()}#/definitions/{name}"}
            (directory / ("-".join(words) + ".json")).write_text(json.dumps(schema))
            count += 1
    return count


def _strict(shape: dict[str, Any]) -> dict[str, Any]:
    """Return a definition closed to unknown fields, with null for optional ones, and Go's types of two forms."""
    found = dict(shape)
    if found.get("format") == "int-or-string":
        return {"type": ["string", "integer"]}
    if "Quantity is a fixed-point" in found.get("description", ""):
        return {"type": ["string", "number"]}
    if "properties" in found:
        required = found.get("required", [])
        found["properties"] = {
            name: _strict(one) if name in required else _or_null(_strict(one))
            for name, one in found["properties"].items()
        }
        found.setdefault("additionalProperties", False)
    for inner in ("items", "additionalProperties"):
        if isinstance(found.get(inner), dict):
            found[inner] = _strict(found[inner])
    found.pop("format", None)
    return found


def _or_null(shape: dict[str, Any]) -> dict[str, Any]:
    if "$ref" in shape:
        return {"oneOf": [{"$ref": shape["$ref"]}, {"type": "null"}]}
    kinds = shape.get("type", [])
    return {**shape, "type": [*([kinds] if isinstance(kinds, str) else kinds), "null"]}


if __name__ == "__main__":
    sys.exit(main())
