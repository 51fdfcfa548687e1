"""What the SDK may see: no ambient endpoint, no proxy for link-local addresses, no instance role."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.request import proxy_bypass_environment

import botocore.session
import pytest

from sidecar.marketplace.sdk_environment import LINK_LOCAL, for_sdk


def spared(env: Mapping[str, str]) -> list[str]:
    assert env["no_proxy"] == env["NO_PROXY"]
    return env["no_proxy"].split(",")


def test_ambient_endpoints_are_not_seen() -> None:
    ambient = {"AWS_ENDPOINT_URL": "http://a", "AWS_ENDPOINT_URL_STS": "http://b", "AWS_ENDPOINT_URL_X_Y": "http://c"}
    seen = for_sdk(ambient | {"AWS_REGION": "us-east-1"}, None, in_platform=False)
    assert not [name for name in seen if name.startswith("AWS_ENDPOINT_URL")]
    assert seen["AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"] == "true"
    assert seen["AWS_REGION"] == "us-east-1"


def test_whoever_wants_configured_endpoints_back_does_not_get_them() -> None:
    seen = for_sdk({"AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "false"}, None, in_platform=True)
    assert seen["AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"] == "true"


def test_an_admitted_override_holds_for_sts_too_and_no_ambient_one_does() -> None:
    seen = for_sdk({"AWS_ENDPOINT_URL_STS": "http://fake", "AWS_ENDPOINT_URL": "http://fake"}, "http://mine", False)
    assert {name: value for name, value in seen.items() if name.startswith("AWS_ENDPOINT_URL")} == {
        "AWS_ENDPOINT_URL_STS": "http://mine"
    }


@pytest.mark.parametrize(("override", "host"), [(None, "sts.us-east-1.amazonaws.com"), ("http://mine:1", "mine:1")])
def test_the_sdk_itself_reads_it_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: object, override: str | None, host: str
) -> None:
    """botocore, in the environment it is given, with ambient endpoints and a config file beside it."""
    config = f"{tmp_path}/config"
    with open(config, "w") as file:
        file.write("[default]\nendpoint_url = http://from-a-file\n")
    ambient = {
        "AWS_ENDPOINT_URL": "http://a",
        "AWS_ENDPOINT_URL_STS": "http://b",
        "AWS_CONFIG_FILE": config,
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
    }
    for name in ambient:
        monkeypatch.delenv(name, raising=False)
    for name, value in for_sdk(ambient, override, in_platform=True).items():
        monkeypatch.setenv(name, value)
    client = botocore.session.Session().create_client("sts", region_name="us-east-1")
    assert client.meta.endpoint_url.split("://")[1] == host


@pytest.mark.parametrize("env", [{}, {"NO_PROXY": "a.example"}, {"no_proxy": "b.example, c.example ,"}])
def test_link_local_addresses_are_spared_every_proxy(env: dict[str, str]) -> None:
    seen = for_sdk(env, None, in_platform=True)
    assert set(LINK_LOCAL) <= set(spared(seen))
    for address in LINK_LOCAL:
        assert proxy_bypass_environment(address, {"no": seen["no_proxy"]})


@pytest.mark.parametrize(
    ("env", "kept"),
    [
        ({"NO_PROXY": "a.example"}, ["a.example"]),
        ({"no_proxy": "b.example, c.example ,"}, ["b.example", "c.example"]),
        ({"no_proxy": "b.example", "NO_PROXY": "a.example"}, ["b.example"]),
        ({"NO_PROXY": "169.254.169.254"}, []),
    ],
)
def test_what_the_operator_spares_is_kept_and_said_once(env: dict[str, str], kept: list[str]) -> None:
    found = spared(for_sdk(env, None, in_platform=True))
    assert [one for one in found if one not in LINK_LOCAL] == kept
    assert len(found) == len(set(found))


def test_an_operator_who_spares_all_is_taken_at_the_word() -> None:
    assert spared(for_sdk({"NO_PROXY": "*"}, None, in_platform=True)) == ["*"]


def test_proxies_themselves_are_seen() -> None:
    env = {"HTTPS_PROXY": "http://proxy:3128", "AWS_CA_BUNDLE": "/ca.pem", "AWS_USE_FIPS_ENDPOINT": "true"}
    assert env.items() <= for_sdk(env, None, in_platform=True).items()


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY"])
def test_blanks_around_a_proxy_are_not_part_of_it(name: str) -> None:
    assert for_sdk({name: " http://proxy:3128\n"}, None, in_platform=True)[name] == "http://proxy:3128"


def test_the_instance_role_is_used_on_a_platform_only_where_allowed() -> None:
    assert for_sdk({}, None, in_platform=True)["AWS_EC2_METADATA_DISABLED"] == "true"
    assert for_sdk({"AWS_EC2_METADATA_DISABLED": "false"}, None, True)["AWS_EC2_METADATA_DISABLED"] == "false"
    assert "AWS_EC2_METADATA_DISABLED" not in for_sdk({}, None, in_platform=False)


def test_the_environment_given_is_left_as_it_was() -> None:
    env = {"AWS_ENDPOINT_URL": "http://a"}
    for_sdk(env, "http://mine", in_platform=True)
    assert env == {"AWS_ENDPOINT_URL": "http://a"}
