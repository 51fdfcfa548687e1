"""`listing check` of our own images, as an engine saves them: what is found is named one by one."""

from __future__ import annotations

from sidecar.listing.image.check import check

NOTES = {"image-one-platform"}
"""`save` has the platform of this machine alone."""
UNSEALED = "image-product-manifest"
"""Our own image is sealed by the seller, who builds on it."""


def rule_ids(name: str) -> set[str]:
    checked = check(name)
    assert (checked.complete, list(checked.not_checked)) == (True, [])
    return {one.rule.id for one in checked.findings}


def test_the_image_for_production_lacks_the_sellers_manifest_alone(image: str) -> None:
    assert rule_ids(image) == {UNSEALED, *NOTES}


def test_the_image_for_tests_is_told_by_its_emulator(emulator_image: str) -> None:
    assert rule_ids(emulator_image) == {UNSEALED, "image-emulator", *NOTES}
