"""The settings, the manifest and the public key, as the files and the environment have them."""

from __future__ import annotations

import json

import pytest

from sidecar.doctor.finding import Status
from sidecar.emulator.keys import SigningKeys
from sidecar.settings import seal

from .support import PRODUCT, Container, text

# -- settings


def test_good_settings_pass_and_name_the_product(container: Container) -> None:
    found = container.check("settings")
    assert found.status is Status.PASS
    assert PRODUCT in found.seen


def test_every_wrong_setting_is_named_with_its_fix(container: Container) -> None:
    found = container.set(SIDECAR_ON_DENIED="explode", SIDECAR_REASK_SECOND="3").check("settings")
    assert found.status is Status.FAIL
    assert "SIDECAR_ON_DENIED" in found.seen
    assert "SIDECAR_REASK_SECONDS" in found.fix


def test_a_variable_that_the_sidecar_ignores_is_a_warning(container: Container) -> None:
    found = container.set(AWS_PROFILE="shop", AWS_ENDPOINT_URL_STS="http://127.0.0.1:1").check("settings")
    assert found.status is Status.WARN
    assert "AWS_ENDPOINT_URL_STS, AWS_PROFILE" in found.fix


# -- manifest


def write_manifest(container: Container, **more: object) -> None:
    keys = [{"version": 1, "key": container.keys.public_pem(1)}]
    container.manifest.write_text(json.dumps({"products": [{"code": PRODUCT, "public_keys": keys}], **more}))
    container.set(SIDECAR_PUBLIC_KEY=None)


def test_no_manifest_is_skipped(container: Container) -> None:
    assert container.check("manifest").status is Status.SKIP


def test_a_sealed_manifest_passes_and_says_what_stays_open(container: Container) -> None:
    write_manifest(container)
    seal.record(container.manifest, container.seal)
    found = container.check("manifest")
    assert found.status is Status.PASS
    assert f"product {PRODUCT} with public key 1" in found.seen
    assert "on_denied" in found.seen


def test_a_manifest_whose_digest_is_not_in_the_image_is_a_warning(container: Container) -> None:
    write_manifest(container)
    found = container.check("manifest")
    assert found.status is Status.WARN
    assert f"manifest seal {container.manifest}" in found.fix


def test_a_manifest_that_allows_another_aws_is_a_warning(container: Container) -> None:
    write_manifest(container, allow_endpoint_override=True)
    seal.record(container.manifest, container.seal)
    found = container.check("manifest")
    assert found.status is Status.WARN
    assert "allow_endpoint_override" in found.fix


def test_a_manifest_that_was_changed_after_sealing_fails(container: Container) -> None:
    write_manifest(container)
    seal.record(container.manifest, container.seal)
    write_manifest(container, on_denied="hold")
    found = container.check("manifest")
    assert found.status is Status.FAIL
    assert "sealed with the manifest" in found.fix


@pytest.mark.parametrize("words", ["products: [", "products: []\n", "- a list\n"], ids=["yaml", "empty", "list"])
def test_a_manifest_that_cannot_be_used_fails(container: Container, words: str) -> None:
    container.manifest.write_text(words)
    found = container.check("manifest")
    assert found.status is Status.FAIL
    assert str(container.manifest) in found.fix


def test_a_sealed_image_without_its_manifest_fails(container: Container) -> None:
    write_manifest(container)
    seal.record(container.manifest, container.seal)
    container.manifest.unlink()
    assert container.check("manifest").status is Status.FAIL


# -- public key


def test_a_key_passes_with_its_version_bits_and_digest(container: Container) -> None:
    found = container.check("public_key")
    assert found.status is Status.PASS
    assert "version 1: RSA, 2048 bits, SHA-256" in found.seen
    assert "BEGIN" not in text(found)


@pytest.mark.parametrize("pem", ["-----BEGIN PUBLIC KEY-----\nQUJD\n-----END PUBLIC KEY-----", "no key"])
def test_a_key_that_cannot_be_read_fails_also_beside_another_fault(container: Container, pem: str) -> None:
    found = container.set(SIDECAR_PUBLIC_KEY=pem, SIDECAR_ON_DENIED="explode").check("public_key")
    assert found.status is Status.FAIL
    assert "SIDECAR_PUBLIC_KEY" in found.fix
    assert "SIDECAR_ON_DENIED" not in found.fix


def test_a_key_file_that_is_not_there_fails(container: Container) -> None:
    found = container.set(SIDECAR_PUBLIC_KEY=None, SIDECAR_PUBLIC_KEY_FILE="/nonexistent/key.pem").check("public_key")
    assert found.status is Status.FAIL
    assert "/nonexistent/key.pem" in found.fix


def test_a_key_is_looked_at_where_another_setting_is_wrong(container: Container) -> None:
    assert container.set(SIDECAR_ON_DENIED="explode").check("public_key").status is Status.PASS


def test_no_key_is_needed_where_aws_signs_nothing(container: Container) -> None:
    container.set(SIDECAR_PUBLIC_KEY=None, SIDECAR_ENTITLEMENT_CHECK="meter_usage", SIDECAR_DIMENSIONS="requests")
    found = container.check("public_key")
    assert found.status is Status.SKIP
    assert "signs no answer" in found.seen


def test_a_short_key_is_a_warning(container: Container) -> None:
    short = SigningKeys((1,), bits=1024)
    found = container.set(SIDECAR_PUBLIC_KEY=short.public_pem(1)).check("public_key")
    assert found.status is Status.WARN
    assert "1024 bits" in found.seen


def test_a_key_that_a_running_sidecar_knows_as_rotated_is_a_warning(container: Container) -> None:
    container.status = {"entitlement": {"reason": "registered", "public_key_superseded_at": "2026-11-01T00:00:00Z"}}
    found = container.check("public_key")
    assert found.status is Status.WARN
    assert "2026-11-01" in found.seen


def test_a_key_with_which_a_running_sidecars_answers_do_not_verify_fails(container: Container) -> None:
    hint = "Check that the public key matches its version."
    container.status = {"entitlement": {"reason": "token_signature", "hint": hint}}
    found = container.check("public_key")
    assert found.status is Status.FAIL
    assert found.fix == hint
