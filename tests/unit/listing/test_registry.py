from __future__ import annotations

import pytest

from sidecar.listing.registry import MARKETPLACE, Reference, in_marketplace, moving_tag, reference

DIGEST = f"sha256:{'0' * 64}"


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("shop", ("", "shop", "", "")),
        ("shop:1", ("", "shop", "1", "")),
        ("library/shop:1", ("", "library/shop", "1", "")),
        ("localhost/shop:1", ("localhost", "shop", "1", "")),
        ("localhost:5000/shop", ("localhost:5000", "shop", "", "")),
        ("host.example:5000/a/b:1", ("host.example:5000", "a/b", "1", "")),
        (f"host.example/a@{DIGEST}", ("host.example", "a", "", DIGEST)),
        (f"host.example/a:1@{DIGEST}", ("host.example", "a", "1", DIGEST)),
    ],
)
def test_a_reference_has_four_parts(text: str, parts: tuple[str, str, str, str]) -> None:
    host, path, tag, digest = parts
    assert reference(text) == Reference(host=host, path=path, tag=tag, digest=digest)


@pytest.mark.parametrize("name", [f"{MARKETPLACE}/shop/app:1", f"{MARKETPLACE.replace('us-east-1', 'eu-west-1')}/a/b"])
def test_the_registry_is_aws_marketplaces_in_any_region(name: str) -> None:
    assert in_marketplace(name)


@pytest.mark.parametrize(
    "name",
    [
        "shop/app:1",
        "123456789012.dkr.ecr.us-east-1.amazonaws.com/shop/app:1",
        f"{MARKETPLACE}.evil.example/shop/app:1",
        f"evil.example/{MARKETPLACE}/shop:1",
        "public.ecr.aws/shop/app:1",
    ],
)
def test_another_registry_is_not(name: str) -> None:
    assert not in_marketplace(name)


@pytest.mark.parametrize("name", ["shop:latest", "shop", ":latest", "host.example:5000/shop"])
def test_a_tag_that_moves_is_said(name: str) -> None:
    assert "`latest`" in moving_tag(name)


@pytest.mark.parametrize("name", ["shop:1.2.3", f"shop@{DIGEST}", "4cd2650c26a9", DIGEST, ":1.2.3"])
def test_one_that_stays_is_not(name: str) -> None:
    assert moving_tag(name) == ""
