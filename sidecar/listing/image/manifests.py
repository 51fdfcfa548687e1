"""Find the images of a store: one for each platform, and what is beside them in its index.

Invariants:
- Everything read here is untrusted: each type is checked, indexes are followed IN_INDEX deep, and there
  are at most MANIFESTS_MAX.
- An attestation is no image: it is told by its annotation, its platform or its layers, and kept apart.

Sources: OCI image specification, image-index.md, manifest.md, config.md; BuildKit, "Image attestation storage"
(vnd.docker.reference.type); Docker image specification v1.2, "Combined Image JSON + Filesystem Changeset Format".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from sidecar.listing.image.store import Json, Store, Unreadable, blob, document
from sidecar.quick_dataclasses import dataclass, field

IN_INDEX: Final = 3
MANIFESTS_MAX: Final = 64
LAYERS_MAX: Final = 4_000
INDEXES: Final = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
LAYERS: Final = (
    "application/vnd.oci.image.layer.v1.tar",
    "application/vnd.oci.image.layer.v1.tar+gzip",
    "application/vnd.oci.image.layer.v1.tar+zstd",
    "application/vnd.docker.image.rootfs.diff.tar",
    "application/vnd.docker.image.rootfs.diff.tar.gzip",
)
"""Media types of layers that a runtime unpacks."""
IN_TOTO: Final = "application/vnd.in-toto+json"
REFERENCE_TYPE: Final = "vnd.docker.reference.type"
REF_NAME: Final = ("io.containerd.image.name", "org.opencontainers.image.ref.name")


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One layer: its file in the store, its digest where that is known, its media type."""

    file: str
    digest: str = ""
    media_type: str = ""


@dataclass(frozen=True, kw_only=True)
class Image:
    """The image for one platform."""

    config: Json
    """Its configuration document."""
    layers: tuple[Layer, ...]
    """The lowest first."""
    announced: str = ""
    """Platform in the index, as `linux/arm64`; empty where the index names none."""

    @property
    def platform(self) -> str:
        """Return the platform of the configuration, as `linux/arm64`."""
        return platform_name(self.config)

    @property
    def settings(self) -> Json:
        """Return what a container is started with: User, Env, Labels, …"""
        return mapping(self.config.get("config"))


@dataclass(kw_only=True)
class Images:
    """What a store has."""

    images: list[Image] = field(default_factory=list)
    attestations: list[str] = field(default_factory=list)
    """Digest of each manifest that is an attestation, with what tells it."""
    missing: list[str] = field(default_factory=list)
    """Platforms that the index announces and whose files are not here, as `docker save` leaves them out."""
    names: list[str] = field(default_factory=list)
    """Names with tags that the archive records."""
    indexed: bool = False
    """The image is an index of platforms, and not one image alone."""


def images_of(store: Store) -> Images:
    """Return the images of a store. Raises Unreadable."""
    found = Images()
    if store.has("index.json"):
        _read_index(store, checked_mapping(document(store, "index.json"), "index.json"), found, depth=0)
    elif store.has("manifest.json"):
        _read_archive(store, found)
    else:
        raise Unreadable("it has neither index.json (OCI) nor manifest.json (docker save). Save the image again.")
    if not found.images:
        raise Unreadable("it has no image. Save it again.")
    return found


def mapping(value: object) -> Json:
    """Return a JSON object; an empty one for anything else."""
    return value if isinstance(value, dict) else {}


def checked_mapping(value: object, name: str) -> Json:
    """Return a JSON object. Raises Unreadable."""
    if not isinstance(value, dict):
        raise Unreadable(f"{name} is JSON, but not an object. Build the image again.")
    return value


def strings(value: object) -> list[str]:
    """Return the texts of a JSON list; nothing else."""
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []


def platform_name(value: Mapping[str, Any]) -> str:
    """Return os/architecture[/variant] of a platform; `unknown` for what is not there."""
    parts = [str(value.get("os") or "unknown"), str(value.get("architecture") or "unknown")]
    return "/".join(parts)


def _entries(index: Json, name: str) -> list[Json]:
    entries = index.get("manifests")
    if not isinstance(entries, list) or len(entries) > MANIFESTS_MAX:
        raise Unreadable(f"{name} has no list `manifests` of at most {MANIFESTS_MAX}. Build the image again.")
    return [checked_mapping(entry, f"{name}: an entry of `manifests`") for entry in entries]


def _names(annotations: Json) -> Iterator[str]:
    """Yield the names in an index; one that is a tag alone, as BuildKit writes it, with its colon."""
    for key in REF_NAME:
        value = annotations.get(key)
        if isinstance(value, str) and value:
            yield value if "/" in value or ":" in value else f":{value}"


def _read_index(store: Store, index: Json, found: Images, depth: int) -> None:
    if depth > IN_INDEX:
        raise Unreadable(f"its indexes are nested more than {IN_INDEX} deep. Build the image again.")
    found.indexed = found.indexed or depth > 0
    entries = _entries(index, "the index")
    for entry in entries:
        annotations, digest = mapping(entry.get("annotations")), entry.get("digest")
        if depth == 0:
            found.names += _names(annotations)
            found.indexed = found.indexed or len(entries) > 1
        if annotations.get(REFERENCE_TYPE) == "attestation-manifest":
            found.attestations.append(f"{digest} ({REFERENCE_TYPE}: attestation-manifest)")
        elif entry.get("mediaType") in INDEXES:
            below = checked_mapping(document(store, blob(digest), str(digest)), str(digest))
            _read_index(store, below, found, depth + 1)
        else:
            _read_manifest(store, entry, found)
        if len(found.images) + len(found.attestations) > MANIFESTS_MAX:
            raise Unreadable(f"it has more than {MANIFESTS_MAX} manifests, which no image has.")


def _read_manifest(store: Store, entry: Json, found: Images) -> None:
    digest = str(entry.get("digest"))
    announced = mapping(entry.get("platform"))
    name = platform_name(announced) if announced else ""
    if name == "unknown/unknown":
        found.attestations.append(f"{digest} (platform {name})")
        return
    if name and not store.has(blob(digest)):
        found.missing.append(name)
        return
    manifest = checked_mapping(document(store, blob(digest), digest), digest)
    layers = tuple(_layer(one) for one in _layer_entries(manifest.get("layers"), digest))
    if any(one.media_type == IN_TOTO for one in layers):
        found.attestations.append(f"{digest} (layers of {IN_TOTO})")
    else:
        config = mapping(manifest.get("config")).get("digest")
        document_ = checked_mapping(document(store, blob(config), str(config)), str(config))
        found.images.append(Image(config=document_, layers=layers, announced=name))


def _layer_entries(value: object, name: str) -> Iterator[Json]:
    if not isinstance(value, list) or len(value) > LAYERS_MAX:
        raise Unreadable(f"{name} has no list `layers` of at most {LAYERS_MAX}. Build the image again.")
    return (checked_mapping(one, f"{name}: an entry of `layers`") for one in value)


def _layer(entry: Json) -> Layer:
    digest = str(entry.get("digest"))
    return Layer(file=blob(digest), digest=digest, media_type=str(entry.get("mediaType")))


def _read_archive(store: Store, found: Images) -> None:
    entries = document(store, "manifest.json")
    if not isinstance(entries, list) or not 0 < len(entries) <= MANIFESTS_MAX:
        raise Unreadable(f"manifest.json is no list of at most {MANIFESTS_MAX} images. Save the image again.")
    for entry in entries:
        one = checked_mapping(entry, "manifest.json: an entry")
        config = checked_mapping(document(store, str(one.get("Config"))), "the configuration")
        layers = tuple(Layer(file=name) for name in strings(one.get("Layers"))[:LAYERS_MAX])
        found.images.append(Image(config=config, layers=layers))
        found.names += strings(one.get("RepoTags"))
