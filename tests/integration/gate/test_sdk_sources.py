"""No file and no variable that the SDK reads moves the host, the certificates or the signing of a product.

The variables are read from the SDK's own source, so that a new release cannot bring one unseen.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final

import botocore
import pytest
from botocore.configprovider import BOTOCORE_DEFAUT_SESSION_VARIABLES

from sidecar.marketplace.client import NarrowLoader
from sidecar.marketplace.sdk_environment import ALLOWED, NOWHERE, for_sdk

from .support import HTML, KEYS, ROLE, Rig, read
from .support import Answer as Said

PROBE: Final = Path(__file__).with_name("sdk_probe.py")
VARIABLE: Final = re.compile(r"_{0,2}[A-Z][A-Z0-9]*(_{1,2}[A-Z0-9]+)+|SSLKEYLOGFILE")
ELSEWHERE: Final = (
    *("HOME", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_STS", "AWS_ENDPOINT_URL_MARKETPLACE_METERING"),
    *("AWS_ENDPOINT_URL_LICENSE_MANAGER", "AWS_BEARER_TOKEN_LICENSE_MANAGER"),
    *("AWS_BEARER_TOKEN_MARKETPLACE_METERING", "SSL_CERT_FILE", "SSL_CERT_DIR", "CURL_CA_BUNDLE", "ALL_PROXY"),
    *("all_proxy", "REQUEST_METHOD"),
)
"""Variables whose name the SDK puts together, and those of the libraries below it."""
SET: Final = {"NO_PROXY", "no_proxy", "AWS_ENDPOINT_URL_STS", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", *NOWHERE}
"""Variables that the child sets itself."""
EVIL: Final = "evil.example"
CONFIG: Final = f"""
[default]
endpoint_url = https://{EVIL}
ca_bundle = HOME/ca.pem
data_path = HOME/.aws/models
services = evil
sigv4a_signing_region_set = *
auth_scheme_preference = noAuth
sts_regional_endpoints = legacy
use_fips_endpoint = true
aws_access_key_id = AKIDOFAFILE
aws_secret_access_key = file
region = eu-west-1
[services evil]
marketplace_metering =
  endpoint_url = https://{EVIL}
license_manager =
  endpoint_url = https://{EVIL}
sts =
  endpoint_url = https://{EVIL}
[plugins]
hostile = hostile_plugin
"""
RULES: Final = {
    "version": "1.0",
    "parameters": {
        "Region": {"builtIn": "AWS::Region", "required": False, "documentation": "", "type": "String"},
        "UseDualStack": {
            "builtIn": "AWS::UseDualStack", "required": True, "default": False, "documentation": "", "type": "Boolean"
        },
        "UseFIPS": {
            "builtIn": "AWS::UseFIPS", "required": True, "default": False, "documentation": "", "type": "Boolean"
        },
        "Endpoint": {"builtIn": "SDK::Endpoint", "required": False, "documentation": "", "type": "String"},
    },
    "rules": [
        {
            "conditions": [],
            "endpoint": {"url": f"https://{EVIL}", "properties": {}, "headers": {}},
            "type": "endpoint",
        }
    ],
}  # fmt: skip


def sources() -> Iterator[Path]:
    """Yield the SDK's modules, without the copies of other libraries in it that are not used."""
    root = Path(botocore.__file__).parent
    return (path for path in root.rglob("*.py") if "vendored" not in path.parts)


@cache
def variables() -> frozenset[str]:
    """Every quoted text in the SDK's source that may be the name of a variable."""
    quoted = re.compile(rf"(['\"])(?P<name>{VARIABLE.pattern})\1")
    texts = (path.read_text(encoding="utf-8") for path in sources())
    return frozenset({one["name"] for text in texts for one in quoted.finditer(text)} | set(ELSEWHERE))


def hostile_home(home: Path) -> Path:
    """A home with every file in it that the SDK looks for there."""
    models = home / ".aws" / "models"
    versions = {"meteringmarketplace": "2016-01-14", "license-manager": "2018-08-01", "sts": "2011-06-15"}
    for service, version in versions.items():
        (models / service / version).mkdir(parents=True)
        (models / service / version / "endpoint-rule-set-1.json").write_text(json.dumps(RULES))
    (home / ".aws" / "config").write_text(CONFIG.replace("HOME", str(home)))
    (home / ".aws" / "credentials").write_text("[default]\naws_access_key_id = AKIDFILE\naws_secret_access_key = f\n")
    (home / ".boto").write_text("[Credentials]\naws_access_key_id = AKIDOFBOTO\naws_secret_access_key = f\n")
    (home / "ca.pem").touch()
    (home / "hostile_plugin.py").touch()
    return home


def probed(way: str, token: Path, **env: str) -> dict[str, Any]:
    """What the SDK makes of this environment, with IRSA beside it."""
    irsa = {"AWS_ROLE_ARN": ROLE, "AWS_WEB_IDENTITY_TOKEN_FILE": str(token)}
    path = {"PYTHONPATH": os.pathsep.join(filter(None, [*sys.path, env.get("HOME")])), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, str(PROBE), way], env={**path, **env, **irsa}, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture
def token(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text("a.web.identity")
    return path


def test_the_sdks_variables_are_found_in_its_source() -> None:
    configured = {row[1] for row in BOTOCORE_DEFAUT_SESSION_VARIABLES.values() if isinstance(row[1], str)}
    read = {"REQUESTS_CA_BUNDLE", "BOTO_CONFIG", "SSLKEYLOGFILE", "BOTOCORE_EXPERIMENTAL__PLUGINS", "AWS_DATA_PATH"}
    assert configured | read <= variables()
    assert len(configured) > 30


@pytest.mark.parametrize("name", sorted(variables() - ALLOWED))
def test_a_variable_of_the_sdk_is_on_the_list_or_not_seen(name: str) -> None:
    for value in ("x", "true"):
        assert for_sdk({name: value}, None, in_platform=False).get(name) in (None, for_sdk({}, None, False).get(name))
    assert set(for_sdk({name: "x"}, None, in_platform=False)) <= ALLOWED | SET


def test_what_is_on_the_list_is_read_by_the_sdk() -> None:
    assert {name for name in ALLOWED if not name.lower().endswith("_proxy")} <= variables() | {"AWS_REGION"}


@pytest.mark.slow
@pytest.mark.parametrize(
    "value", [f"https://{EVIL}", "HOME/.aws/config", "HOME/.aws/models", "true", "hostile=hostile_plugin"]
)
def test_no_variable_moves_host_certificates_or_signing(value: str, token: Path, tmp_path: Path) -> None:
    home = hostile_home(tmp_path / "home")
    hostile = dict.fromkeys(variables() - ALLOWED, value.replace("HOME", str(home))) | {"HOME": str(home)}
    assert probed("as_child", token, **hostile) == probed("as_child", token)


def test_the_host_is_aws_and_the_request_is_signed_for_it(token: Path) -> None:
    found = probed("as_child", token)
    assert found["metering"] == {
        "scheme": "https",
        "host": "metering.marketplace.us-east-1.amazonaws.com",
        "signed": ["AWS4-HMAC-SHA256 Credential=ASIAOFSTS", "us-east-1", "aws-marketplace", "aws4_request"],
    }
    assert found["licenses"] == {
        "scheme": "https",
        "host": "license-manager.us-east-1.amazonaws.com",
        "signed": ["AWS4-HMAC-SHA256 Credential=ASIAOFSTS", "us-east-1", "license-manager", "aws4_request"],
    }
    assert (found["sts"]["scheme"], found["sts"]["host"]) == ("https", "sts.us-east-1.amazonaws.com")
    assert (found["verify"], found["verify_licenses"]) == ("True", "True")
    assert not found["plugin"]


def test_the_sdk_opens_no_file_but_its_own_and_the_token(token: Path, tmp_path: Path) -> None:
    home = hostile_home(tmp_path / "home")
    assert probed("as_child", token, HOME=str(home))["opened"] == [str(token)]


@pytest.mark.slow
def test_without_the_list_the_same_files_and_variables_do_move_them(token: Path, tmp_path: Path) -> None:
    """Or the tests above could not fail."""
    home = str(hostile_home(tmp_path / "home"))
    models = probed("plain", token, HOME=home, AWS_CONFIG_FILE=os.devnull)
    assert models["metering"]["host"] == models["licenses"]["host"] == EVIL
    certificates = probed("plain", token, HOME=str(tmp_path), REQUESTS_CA_BUNDLE=f"{home}/ca.pem")
    assert certificates["verify"] == f"{home}/ca.pem"
    assert probed("plain", token, HOME=home, BOTOCORE_EXPERIMENTAL__PLUGINS="hostile=hostile_plugin")["plugin"]
    assert f"{home}/.aws/config" in probed("plain", token, HOME=home)["opened"]


def test_the_loader_looks_into_what_the_sdk_ships_alone() -> None:
    (path,) = NarrowLoader().search_paths
    assert Path(path) == Path(botocore.__file__).parent / "data"


def test_a_home_with_models_does_not_move_a_real_child(rig: Rig) -> None:
    fake, internet = rig.web(Said(body=HTML)), rig.web(Said(status=403))
    home = hostile_home(rig.tmp / "home")
    for rules in home.rglob("endpoint-rule-set-1.json"):
        rules.write_text(json.dumps(RULES).replace(f"https://{EVIL}", fake.url))
    child = rig.spawn(None, {**KEYS, "HOME": str(home), "AWS_CONFIG_FILE": "", "HTTPS_PROXY": internet.url})
    try:
        assert read(child).reason == "proxy_failed"
    finally:
        child.close()
    assert fake.requests == []
    assert internet.requests == ["CONNECT metering.marketplace.us-east-1.amazonaws.com:443"]
