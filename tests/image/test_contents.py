"""What is in the image, and what is not: read from the image, nothing is started."""

from __future__ import annotations

import os
import re

import prune
import pytest

from sidecar import __version__
from tests.image.engine import STATE, files, inspect

INSTALLERS = re.compile(
    r"(^|/)(pip|setuptools|wheel|pkg_resources|ensurepip|_distutils_hack|uv|hatchling)(-[^/]*(dist-info|\.whl))?(/|$)"
    r"|/bin/(pip|uv|easy_install|wheel|virtualenv)[\d.]*$"
)
COMPILERS = re.compile(
    r"/bin/([a-z0-9_]+-linux-[a-z]+-)?(cc|gcc|g\+\+|c\+\+|cpp|clang|tcc|as|ld|make|rustc|go)(-[\d.]+)?$"
)
MIB = 2**20
LAYERS_MAX = 5
OVER_BASE_MIB_MAX = 42
"""The packages take 29 MiB, 14 of them cryptography's library; the standard library's bytecode 11 more on a base that
comes without."""


def test_the_user_is_a_number_and_not_root(image: str) -> None:
    user = inspect(image)["Config"]["User"]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user), user


def test_process_one_is_the_command_itself(image: str) -> None:
    config = inspect(image)["Config"]
    assert config["Entrypoint"] == ["entitlement-sidecar"]
    assert config["Cmd"] == ["run"]
    assert config.get("StopSignal") in ("SIGTERM", "15")
    assert "8484/tcp" in config["ExposedPorts"]
    assert list(config["Volumes"]) == [STATE]


def test_the_environment_sets_the_allocator_and_nothing_of_aws(image: str) -> None:
    env = dict(one.partition("=")[::2] for one in inspect(image)["Config"]["Env"])
    assert env["MALLOC_TRIM_THRESHOLD_"] == "131072"
    assert [name for name in env if name.startswith(("AWS_", "SIDECAR_", "POD_"))] == []
    assert not {"PYTHONDONTWRITEBYTECODE", "PYTHONPATH"} & env.keys()


@pytest.mark.parametrize("label", ["title", "description", "version", "revision", "created", "licenses", "base.name"])
def test_the_labels_are_those_of_oci(image: str, label: str) -> None:
    labels = inspect(image)["Config"]["Labels"]
    assert labels.get(f"org.opencontainers.image.{label}")
    assert labels["org.opencontainers.image.version"] == __version__


def test_no_installer_and_no_compiler_is_left(image: str) -> None:
    names = files(image)
    assert [name for name in names if INSTALLERS.search(name) and not name.startswith("var/lib/dpkg/")] == []
    assert [name for name in names if COMPILERS.search(name)] == []


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        (INSTALLERS, "usr/local/lib/python3.13/site-packages/pip/__init__.py"),
        (INSTALLERS, "usr/lib/python3.13/ensurepip/_bundled/pip-26.0-py3-none-any.whl"),
        (INSTALLERS, "usr/share/python-wheels/setuptools-66.1.1-py3-none-any.whl"),
        (INSTALLERS, "usr/local/bin/pip3.13"),
        (COMPILERS, "usr/bin/x86_64-linux-gnu-gcc-14"),
        (COMPILERS, "usr/bin/cc"),
    ],
)
def test_the_search_would_see_them(pattern: re.Pattern[str], name: str) -> None:
    assert pattern.search(name)


EMULATOR = re.compile(r"sidecar/(emulator/|cli/demo/)")


def test_the_emulator_and_the_demo_are_not_in_production(image: str) -> None:
    names = files(image)
    assert any(name.endswith("sidecar/app/run.pyc") for name in names)
    assert [name for name in names if EMULATOR.search(name)] == []
    assert inspect(image)["Config"]["Labels"]["io.entitlement-sidecar.purpose"] == "production"


def test_the_image_for_tests_has_them_and_says_so(emulator_image: str) -> None:
    found = {match[0] for name in files(emulator_image) if (match := EMULATOR.search(name))}
    assert found == {"sidecar/emulator/", "sidecar/cli/demo/"}
    labels = inspect(emulator_image)["Config"]["Labels"]
    assert labels["io.entitlement-sidecar.purpose"] == "test"
    assert "emulator" in labels["org.opencontainers.image.title"]


def test_of_the_sdk_only_what_is_used_is_there(image: str) -> None:
    found = {name.split("botocore/data/")[1].split("/")[0] for name in files(image) if "botocore/data/" in name}
    assert found - {""} == {*prune.SHARED, *prune.SERVICES}


def test_of_boto3_only_what_makes_a_client_is_there(image: str) -> None:
    found = {name.split("site-packages/boto3/")[1].split("/")[0] for name in files(image) if "-packages/boto3/" in name}
    assert "session.pyc" in found
    assert found & set(prune.RESOURCES) == set()


def test_the_cluster_is_asked_without_a_client_library(image: str) -> None:
    """Three requests do not pay for 16 MiB."""
    names = {name.split("site-packages/")[1].split("/")[0] for name in files(image) if "site-packages/" in name}
    assert names & {"kubernetes", "pydantic", "requests", "oauthlib", "aiohttp", "websocket"} == set()


def test_only_the_state_directory_belongs_to_the_user(image: str) -> None:
    uid = int(inspect(image)["Config"]["User"].split(":")[0])
    owned = [name.rstrip("/") for name, entry in files(image).items() if entry.uid == uid]
    assert owned == [STATE.lstrip("/")]
    open_to_all = [
        name for name, entry in files(image).items() if name.startswith(("opt/", "usr/local/")) and not entry.issym()
        and entry.mode & 0o002
    ]  # fmt: skip
    assert open_to_all == []


def test_nothing_of_the_build_is_left(image: str) -> None:
    names = files(image)
    assert [
        name for name in names if name.startswith(("build/", "src/", "mnt/")) and name.strip("/") not in ("mnt",)
    ] == []
    assert [name for name in names if re.search(r"(^|/)(pip\.conf|\.netrc|\.cache/.+)$", name)] == []


def test_layers_and_size_over_the_base_are_bounded(image: str, record_property: pytest.RecordProperty) -> None:
    base = os.environ.get("SIDECAR_BASE_IMAGE")
    if not base:
        pytest.skip("SIDECAR_BASE_IMAGE names no image")
    below, own = inspect(base)["RootFS"]["Layers"], inspect(image)["RootFS"]["Layers"]
    assert own[: len(below)] == below, "stands on another base"
    over = (inspect(image)["Size"] - inspect(base)["Size"]) / MIB
    layers = len(own) - len(below)
    print(f"over its base: {layers} layers, {over:.1f} MiB")
    record_property("over_base_mib", round(over, 1))
    assert layers <= LAYERS_MAX
    assert over <= OVER_BASE_MIB_MAX
