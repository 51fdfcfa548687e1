"""Build OCI layouts and archives in memory's size, layer by layer."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Files = Mapping[str, bytes]
"""Path → content. A path that ends with `/` is a directory."""

LABELS = {
    "org.opencontainers.image.title": "shop",
    "org.opencontainers.image.version": "1.2.3",
    "org.opencontainers.image.revision": "abc",
}
PRODUCT = "etc/entitlement-sidecar/product.yaml"
PACKAGE = "opt/entitlement-sidecar/lib/python3.13/site-packages"
OWN = f"{PACKAGE}/entitlement_sidecar-0.1.0.dist-info/METADATA"
SEAL = f"{PACKAGE}/sidecar/manifest.sha256"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"


def sealed(product: bytes) -> Files:
    """Return the files of an image with the sidecar and a sealed manifest in it."""
    digest = hashlib.sha256(product).hexdigest()
    return {OWN: b"Name: entitlement-sidecar", PRODUCT: product, SEAL: f"{digest}\n".encode()}


def tar(files: Files) -> bytes:
    """Return a tar of the files."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name.rstrip("/") if name != "/" else name)
            info.type = tarfile.DIRTYPE if name.endswith("/") else tarfile.REGTYPE
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return made.getvalue()


def config(
    *, architecture: str = "amd64", system: str = "linux", history: Sequence[str] = (), **settings: Any
) -> dict[str, Any]:
    """Return a configuration that breaks no rule, but for what is given."""
    return {
        "architecture": architecture,
        "os": system,
        "config": {"User": "65532", "Env": ["PATH=/bin"], "Labels": LABELS, **settings},
        "rootfs": {"type": "layers", "diff_ids": []},
        "history": [{"created_by": one} for one in history],
    }


class Layout:
    """An OCI layout that is being written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.entries: list[dict[str, Any]] = []
        (path / "blobs" / "sha256").mkdir(parents=True)
        (path / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')

    def blob(self, content: bytes, media_type: str) -> dict[str, Any]:
        """Write a blob and return its descriptor."""
        digest = hashlib.sha256(content).hexdigest()
        (self.path / "blobs" / "sha256" / digest).write_bytes(content)
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(content)}

    def image(
        self,
        *layers: Files | bytes,
        document: Mapping[str, Any] | None = None,
        platform: str = "",
        layer_type: str = LAYER,
        annotations: Mapping[str, str] | None = None,
    ) -> Layout:
        """Add an image. `platform`: in the index, as `linux/arm64`; a layer may be the bytes of a blob."""
        packed = [one if isinstance(one, bytes) else gzip.compress(tar(one), mtime=0) for one in layers]
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": self.blob(json.dumps(document or config()).encode(), "application/vnd.oci.image.config.v1+json"),
            "layers": [self.blob(one, layer_type) for one in packed],
        }
        entry = self.blob(json.dumps(manifest).encode(), MANIFEST)
        if platform:
            system, _, architecture = platform.partition("/")
            entry["platform"] = {"os": system, "architecture": architecture}
        self.entries.append({**entry, **({"annotations": annotations} if annotations else {})})
        return self

    def written(self, *, name: str = "", below: bool = False) -> Path:
        """Write the index. `below`: the images stand in an index of their own, as BuildKit writes them."""
        entries = self.entries
        if below:
            inner = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}).encode()
            entries = [self.blob(inner, INDEX)]
        if name:
            entries = [{**one, "annotations": {"org.opencontainers.image.ref.name": name}} for one in entries]
        (self.path / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": entries}))
        return self.path


def both(path: Path, *layers: Files) -> Path:
    """Write an image for both platforms that breaks no rule, but for its layers."""
    layout = Layout(path)
    for architecture in ("amd64", "arm64"):
        layout.image(*layers, document=config(architecture=architecture), platform=f"linux/{architecture}")
    return layout.written(below=True)


def archived(layout: Path, into: Path) -> Path:
    """Write a layout as one archive."""
    with tarfile.open(into, "w") as archive:
        for path in sorted(layout.rglob("*")):
            archive.add(path, path.relative_to(layout), recursive=False)
    return into


def docker_archive(into: Path, layers: Sequence[Files], document: Mapping[str, Any], tags: Sequence[str]) -> Path:
    """Write an archive of the older form of `docker save`."""
    names = [f"{at}/layer.tar" for at in range(len(layers))]
    manifest = [{"Config": "config.json", "RepoTags": list(tags), "Layers": names}]
    into.write_bytes(
        tar(
            {
                "manifest.json": json.dumps(manifest).encode(),
                "config.json": json.dumps(document).encode(),
                **{name: tar(files) for name, files in zip(names, layers, strict=True)},
            }
        )
    )
    return into
