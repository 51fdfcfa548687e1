"""References of images are read by their grammar, and found among values in each form that AWS names."""

from __future__ import annotations

import pytest

from sidecar.listing.chart.references import Reference, in_values, reference
from sidecar.listing.chart.values import Values


@pytest.mark.parametrize(
    ("text", "host", "path", "tag", "digest"),
    [
        ("nginx", "", "nginx", "", ""),
        ("nginx:1.25", "", "nginx", "1.25", ""),
        ("acme/shop:1", "", "acme/shop", "1", ""),
        ("quay.io/acme/shop", "quay.io", "acme/shop", "", ""),
        ("localhost/shop:1", "localhost", "shop", "1", ""),
        ("registry:5000/acme/shop:1", "registry:5000", "acme/shop", "1", ""),
        ("registry:5000/acme/shop", "registry:5000", "acme/shop", "", ""),
        ("quay.io/acme/shop:1@sha256:ab", "quay.io", "acme/shop", "1", "sha256:ab"),
        ("shop@sha256:ab", "", "shop", "", "sha256:ab"),
        ("", "", "", "", ""),
    ],
)
def test_a_reference_has_its_parts(text: str, host: str, path: str, tag: str, digest: str) -> None:
    assert reference(text) == Reference(host=host, path=path, tag=tag, digest=digest)


@pytest.mark.parametrize(
    ("tree", "texts"),
    [
        ({"image": {"registry": "r.io", "repository": "a/b", "tag": "1"}}, ["r.io/a/b:1"]),
        ({"image": {"registry": "r.io/", "repository": "a/b", "tag": 1.0}}, ["r.io/a/b:1.0"]),
        ({"image": {"repository": "r.io/a/b:1"}}, ["r.io/a/b:1"]),
        ({"image": {"registry": "r.io", "name": "a/b", "digest": "sha256:ab"}}, ["r.io/a/b@sha256:ab"]),
        ({"toolsImage": "r.io/a/b:1"}, ["r.io/a/b:1"]),
        ({"images": [{"repository": "a"}, {"repository": "b"}]}, ["a", "b"]),
        ({"image": {"registry": "", "repository": ""}}, []),
        ({"source": {"repository": "git+ssh://example.com/x"}}, []),
        ({"image": "a sentence about images"}, []),
        ({"imageCount": "3", "imaged": "x"}, []),
    ],
)
def test_images_are_found_among_values(tree: dict[str, object], texts: list[str]) -> None:
    assert [one.text for one in in_values(Values(tree=tree))] == texts
