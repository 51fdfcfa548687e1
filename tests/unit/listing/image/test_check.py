"""Each rule for an image: an image that breaks it, and a twin that does not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from sidecar.listing.finding import Checked, Finding
from sidecar.listing.image import rules
from sidecar.listing.image.check import check
from sidecar.listing.rule import Rule
from tests.unit.listing.image.support import (
    OWN,
    PACKAGE,
    PRODUCT,
    SEAL,
    Layout,
    archived,
    both,
    config,
    docker_archive,
    sealed,
)

MANIFEST = b"""\
products:
  - code: 8f7k2m1q9w3e5r7t0y2u4i6o8
    entitlement_check: meter_usage
    dimensions: [requests]
"""
KEY = b"-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAA\n"
ACCESS_KEY = "AKIA" + "ZZ7Q2M4X8K1PL0WV"
TOKEN = "ghp_" + "a1B2" * 9

Make = Callable[[Path], Path]


def one(**settings: object) -> Make:
    """Return what makes an image of one platform with these settings."""
    return lambda path: Layout(path).image({"bin/app": b"x"}, document=config(**settings)).written()


def with_files(*layers: Mapping[str, bytes]) -> Make:
    return lambda path: both(path, *layers)


def named(name: str) -> Make:
    return lambda path: Layout(path).image({"bin/app": b"x"}).written(name=name)


def attested(path: Path) -> Path:
    layout = Layout(path)
    for architecture in ("amd64", "arm64"):
        layout.image({"a": b"x"}, document=config(architecture=architecture), platform=f"linux/{architecture}")
    layout.image(b"{}", platform="unknown/unknown", layer_type="application/vnd.in-toto+json")
    return layout.written(below=True)


def mislabelled(path: Path) -> Path:
    layout = Layout(path).image({"a": b"x"}, platform="linux/amd64")
    return layout.image({"a": b"y"}, platform="linux/arm64").written(below=True)


def only(platform: str) -> Make:
    return lambda path: Layout(path).image({"a": b"x"}, platform=platform).written(below=True)


def of_type(media_type: str) -> Make:
    return lambda path: Layout(path).image({"a": b"x"}, layer_type=media_type).written()


GOOD = with_files({"bin/app": b"x"})
SEALED = with_files(sealed(MANIFEST))
BREAKS: Mapping[Rule, tuple[Make, Make]] = {
    rules.READABLE: (lambda path: path / "missing.tar", GOOD),
    rules.LINUX: (one(system="windows"), GOOD),
    rules.ARCHITECTURES: (only("linux/amd64"), GOOD),
    rules.ONE_PLATFORM: (one(), GOOD),
    rules.PLATFORM_TRUE: (mislabelled, GOOD),
    rules.ATTESTATIONS: (attested, GOOD),
    rules.LAYER_TYPES: (of_type("application/vnd.example+json"), GOOD),
    rules.LAYER_PATHS: (with_files({"a/../../etc/cron.d/x": b"x"}), with_files({"a/../etc/cron.d/x": b"x"})),
    rules.NON_ROOT: (one(User=""), one(User="65532:0")),
    rules.USER_NUMBER: (one(User="app"), one(User="1000")),
    rules.SECRETS: (with_files({"root/.ssh/id_rsa": KEY}), with_files({"root/.ssh/id_rsa.pub": b"ssh-rsa AAAA"})),
    rules.REPOSITORY: (with_files({"app/.git/HEAD": b"ref: x"}), with_files({"app/.gitignore": b"x"})),
    rules.PASSWORD_LOGIN: (
        with_files({"etc/shadow": b"root:*:1::::::\nadmin:$6$salt$hash:1::::::\n"}),
        with_files({"etc/shadow": b"root:*:1::::::\nadmin:!:1::::::\n", "etc/passwd": b"root:x:0:0::/:/bin/sh\n"}),
    ),
    rules.AWS_VARIABLES: (one(Env=["AWS_REGION=us-east-1"]), one(Env=["AWS_REGIONS=us-east-1"])),
    rules.TAG: (named("registry.example/shop:latest"), named("registry.example/shop:1.2.3")),
    rules.LABELS: (one(Labels={}), GOOD),
    rules.PRODUCT_MANIFEST: (with_files({OWN: b""}), SEALED),
    rules.SEALED: (with_files({OWN: b"", PRODUCT: MANIFEST}), SEALED),
    rules.EMULATOR: (
        with_files({**sealed(MANIFEST), f"{PACKAGE}/sidecar/emulator/__init__.pyc": b"x"}),
        with_files({**sealed(MANIFEST), f"{PACKAGE}/flask/emulator/__init__.pyc": b"x"}),
    ),
}
"""Rule → an image that breaks it, and one that does not."""


def found(checked: Checked, rule: Rule) -> list[Finding]:
    return [one for one in checked.findings if one.rule is rule]


@pytest.mark.parametrize("rule", BREAKS, ids=lambda rule: rule.id)
def test_an_image_that_breaks_a_rule_is_found(rule: Rule, tmp_path: Path) -> None:
    assert found(check(str(BREAKS[rule][0](tmp_path / "image"))), rule)


@pytest.mark.parametrize("rule", BREAKS, ids=lambda rule: rule.id)
def test_a_twin_that_keeps_the_rule_is_not(rule: Rule, tmp_path: Path) -> None:
    checked = check(str(BREAKS[rule][1](tmp_path / "image")))
    assert (found(checked, rule), checked.complete, checked.not_checked) == ([], True, [])


def test_every_rule_has_an_image_that_breaks_it() -> None:
    assert set(BREAKS) == set(rules.RULES)


def test_a_good_image_has_no_finding_at_all(tmp_path: Path) -> None:
    assert check(str(GOOD(tmp_path / "image"))).findings == []


def test_a_sealed_image_has_the_notes_of_its_manifest_alone(tmp_path: Path) -> None:
    ids = {one.rule.id for one in check(str(SEALED(tmp_path / "image"))).findings}
    assert ids == {"manifest-unsigned-check", "manifest-open-settings"}


def test_a_manifest_that_is_wrong_is_found_in_the_image(tmp_path: Path) -> None:
    checked = check(str(with_files(sealed(b"products: []\n"))(tmp_path / "image")))
    assert any(one.rule.id == "manifest-valid" and PRODUCT in one.place for one in checked.findings)


@pytest.mark.parametrize("recorded", [b"0" * 64 + b"\n", b"not a digest", b""])
def test_a_digest_of_another_manifest_is_found(recorded: bytes, tmp_path: Path) -> None:
    image = with_files({**sealed(MANIFEST), SEAL: recorded})(tmp_path / "image")
    assert len(found(check(str(image)), rules.SEALED)) == 2


def test_a_manifest_that_a_higher_layer_removes_is_missing(tmp_path: Path) -> None:
    image = with_files(sealed(MANIFEST), {"etc/.wh.entitlement-sidecar": b""})(tmp_path / "image")
    assert found(check(str(image)), rules.PRODUCT_MANIFEST)


def test_an_image_for_tests_is_told_by_its_label(tmp_path: Path) -> None:
    image = one(Labels={"io.entitlement-sidecar.purpose": "test"})(tmp_path / "image")
    assert found(check(str(image)), rules.EMULATOR)


def test_an_archive_reads_as_its_layout_does(tmp_path: Path) -> None:
    layout = SEALED(tmp_path / "image")
    assert check(str(archived(layout, tmp_path / "image.tar"))) == check(str(layout))


def test_the_older_archive_of_docker_is_read_too(tmp_path: Path) -> None:
    archive = docker_archive(
        tmp_path / "image.tar", [{"a": b"x"}, {"root/.netrc": b"machine x"}], config(User="root"), ["shop:latest"]
    )
    ids = {one.rule.id for one in check(str(archive)).findings}
    assert ids == {"image-secrets", "image-non-root", "image-tag", "image-one-platform"}


@pytest.mark.parametrize("user", ["root", "0", "0:0", "000", "root:app"])
def test_each_way_to_write_root_is_root(user: str, tmp_path: Path) -> None:
    assert found(check(str(one(User=user)(tmp_path / "image"))), rules.NON_ROOT)


def test_a_name_that_is_root_in_the_images_own_passwd_is_root(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "image").image({"etc/passwd": b"toor:x:0:0::/:/bin/sh\n"}, document=config(User="toor"))
    checked = check(str(layout.written()))
    assert (len(found(checked, rules.NON_ROOT)), found(checked, rules.USER_NUMBER)) == (1, [])


SECRET_SETTINGS: Mapping[str, dict[str, object]] = {
    "variable-by-name": {"Env": ["DB_PASSWORD=hunter2"]},
    "variable-by-value": {"Env": [f"SOMETHING={TOKEN}"]},
    "key-of-aws": {"Env": [f"ID={ACCESS_KEY}"]},
    "url": {"Env": ["DATABASE_URL=postgres://shop:hunter2@db/shop"]},
    "label": {"Labels": {"token": "hunter2-hunter2"}},
    "build-argument": {"history": ["|1 NPM_TOKEN=hunter2 /bin/sh -c npm ci"]},
    "quoted": {"history": ['RUN API_KEY="hunter2 hunter2" make']},
    "argument": {"Cmd": ["serve", "--api_key=hunter2"]},
    "entrypoint": {"Entrypoint": ["sh", "-c", f"serve {TOKEN}"]},
    "command": {"history": [f"RUN git clone https://{TOKEN}@github.com/a/b"]},
}


@pytest.mark.parametrize("name", SECRET_SETTINGS)
def test_a_secret_in_the_configuration_is_found_and_never_shown(name: str, tmp_path: Path) -> None:
    checked = check(str(one(**SECRET_SETTINGS[name])(tmp_path / "image")))
    assert found(checked, rules.SECRETS)
    assert not any(secret in repr(checked) for secret in ("hunter2", TOKEN, ACCESS_KEY))


HARMLESS_SETTINGS: Mapping[str, dict[str, object]] = {
    "file": {"Env": ["TOKEN_FILE=/run/secrets/token"]},
    "path": {"Env": ["API_TOKEN=/run/secrets/token"]},
    "about one": {"Env": ["TOKEN_ISSUER=shop", "MAX_TOKENS=4096", "DB_SECRET_ARN=arn:aws:x", "SECRET_ID=shop"]},
    "empty": {"Env": ["DB_PASSWORD="]},
    "switch": {"Env": ["USE_TOKEN=true", "TOKEN_TTL=3600"]},
    "reference": {"history": ["|1 NPM_TOKEN=$NPM_TOKEN /bin/sh -c npm ci"]},
    "address": {"Env": ["TOKEN_ENDPOINT=https://example.com/token"]},
    "example": {"Env": ["ID=AKIAIOSFODNN7EXAMPLE"]},
    "digest": {"Env": ["GPG_KEY=7169605F62C751356D054A26A821E680E5FA6305"]},
    "mount": {"history": ["RUN --mount=type=secret,id=token,target=/t npm ci"]},
}


@pytest.mark.parametrize("name", HARMLESS_SETTINGS)
def test_what_only_looks_like_a_secret_is_none(name: str, tmp_path: Path) -> None:
    assert found(check(str(one(**HARMLESS_SETTINGS[name])(tmp_path / "image"))), rules.SECRETS) == []


def test_the_name_of_a_directory_is_no_name_of_an_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    both(tmp_path / "shop", {"bin/app": b"x"})
    monkeypatch.chdir(tmp_path)
    assert found(check("shop"), rules.TAG) == []
