"""What the image leaves out, in a tree made for it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import boto3
import botocore
import precompile
import prune
import pytest

from sidecar.marketplace.client import SERVICES

ROOT = Path(__file__).parents[3]
UNREAD = (
    *("cffi/api.py", "pycparser/c_lexer.py", "yaml/_yaml.cpython-313-x86_64-linux-gnu.so"),
    "dateutil/zoneinfo/dateutil-zoneinfo.tar.gz",
)
READ = ("_cffi_backend.cpython-313-x86_64-linux-gnu.so", "yaml/loader.py", "dateutil/zoneinfo/__init__.py")


def tree(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x\n")


@pytest.fixture
def venv(tmp_path: Path) -> Path:
    site = "lib/python3.13/site-packages"
    data = f"{site}/botocore/data"
    others = ("endpoints.json", "ec2/2016-11-15/service-2.json.gz")
    tree(tmp_path, *(f"{data}/{name}" for name in (*prune.SHARED, *others)))
    for service in prune.SERVICES:
        tree(tmp_path, f"{data}/{service}/1/service-2.json.gz", f"{data}/{service}/1/examples-1.json")
    tree(tmp_path, f"{site}/boto3/session.py", *(f"{site}/boto3/{name}/x.json" for name in prune.RESOURCES))
    tree(
        tmp_path, f"{site}/sidecar/emulator/app.py", f"{site}/sidecar/cli/demo/hourly.py", f"{site}/sidecar/app/run.py"
    )
    tree(tmp_path, *(f"{site}/{name}" for name in UNREAD), *(f"{site}/{name}" for name in READ))
    tree(tmp_path, "bin/python3", "bin/flask")
    record = tmp_path / site / "entitlement_sidecar-1.dist-info" / "RECORD"
    record.parent.mkdir()
    record.write_text("sidecar/cli/demo/hourly.py,,\nsidecar/app/run.py,,\n../../../bin/flask,,\n")
    (record.parent / "METADATA").write_text("Name: entitlement-sidecar\n")
    return tmp_path


def test_the_services_kept_are_those_the_client_asks_for() -> None:
    assert prune.SERVICES == SERVICES


def test_what_is_kept_of_the_sdk_is_in_this_release() -> None:
    data = Path(botocore.__file__).parent / "data"
    assert [name for name in (*prune.SHARED, *prune.SERVICES) if not (data / name).exists()] == []


def test_other_services_and_what_nobody_reads_go(venv: Path) -> None:
    prune.main("unread", str(venv))
    data = next(venv.glob("lib/*/site-packages/botocore/data"))
    assert {path.name for path in data.iterdir()} == {*prune.SHARED, *prune.SERVICES}
    assert {path.name for path in data.rglob("*.json*") if path.parent != data} == {"service-2.json.gz"}
    assert [path.name for path in (data.parents[1] / "boto3").iterdir()] == ["session.py"]


def test_what_only_a_compiler_reads_goes(venv: Path) -> None:
    prune.main("unread", str(venv))
    site = next(venv.glob("lib/*/site-packages"))
    assert [name for name in UNREAD if (site / name).exists()] == []
    assert [name for name in READ if not (site / name).exists()] == []


@pytest.mark.parametrize("name", ["botocore/data/partitions.json", "boto3/data", "boto3/examples", *prune.UNREAD])
def test_a_package_that_moved_its_files_stops_the_build(venv: Path, name: str) -> None:
    prune.remove(venv.glob(f"lib/*/site-packages/{name}"))
    with pytest.raises(SystemExit, match=re.escape(name)):
        prune.main("unread", str(venv))


def test_boto3_makes_a_client_of_what_is_left_of_it(tmp_path: Path) -> None:
    """On a copy of the two packages as they are installed."""
    site = tmp_path / "lib" / "python3" / "site-packages"
    for package in (boto3, botocore):
        source = Path(package.__file__).parent
        shutil.copytree(source, site / source.name, ignore=_other_services)
    prune.remove(prune.sdk(tmp_path))
    code = (
        "import boto3; client = boto3.client('meteringmarketplace', region_name='eu-west-1'); "
        "print(boto3.__file__, client.meta.endpoint_url)"
    )
    env = {"PYTHONPATH": str(site), "PATH": os.environ["PATH"]}
    made = subprocess.run(
        [sys.executable, "-c", code], env=env, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert made.returncode == 0, made.stderr
    assert made.stdout.split() == [
        str(site / "boto3" / "__init__.py"), "https://metering.marketplace.eu-west-1.amazonaws.com",
    ]  # fmt: skip


def _other_services(directory: str, names: list[str]) -> set[str]:
    """What need not be copied first: 20 000 files of which none is kept."""
    if not directory.endswith("botocore/data"):
        return {"__pycache__"}
    return {name for name in names if name not in (*prune.SHARED, *prune.SERVICES)}


def test_the_emulator_goes_and_the_list_of_files_knows(venv: Path) -> None:
    prune.main("emulator", str(venv))
    site = next(venv.glob("lib/*/site-packages"))
    assert not (site / "sidecar" / "emulator").exists()
    assert (site / "sidecar" / "app" / "run.py").exists()
    assert next(site.rglob("RECORD")).read_text() == "sidecar/app/run.py,,\n"
    assert [path.name for path in (venv / "bin").iterdir()] == ["python3"]


def test_an_emulator_that_moved_stops_the_build(venv: Path) -> None:
    shutil.rmtree(next(venv.rglob("cli/demo")))
    with pytest.raises(SystemExit, match="cli/demo"):
        prune.main("emulator", str(venv))


def test_the_base_loses_its_installers_and_nothing_else(tmp_path: Path) -> None:
    gone = (
        "usr/local/lib/python3.13/site-packages/pip/__init__.py",
        "usr/local/lib/python3.13/site-packages/pip-26.0.dist-info/METADATA",
        "usr/local/lib/python3.13/ensurepip/_bundled/pip.whl",
        "usr/lib/python3/dist-packages/setuptools/__init__.py",
        "usr/share/python-wheels/pip.whl",
        "usr/local/bin/pip3.13",
    )
    kept = (
        "usr/local/lib/python3.13/json/__init__.py",
        "usr/local/lib/python3.13/pipes.py",
        "usr/local/lib/python3.13/site-packages/README.txt",
        "usr/local/bin/python3.13",
    )
    tree(tmp_path, *gone, *kept)
    prune.main("base", str(tmp_path))
    assert [name for name in gone if (tmp_path / name).exists()] == []
    assert [name for name in kept if not (tmp_path / name).exists()] == []


def test_bytecode_is_made_and_outlives_a_changed_modification_time(tmp_path: Path) -> None:
    source = tmp_path / "lib" / "one.py"
    tree(tmp_path, "lib/one.py")
    assert not precompile.fits(source)
    assert precompile.main(str(tmp_path)) == 0
    assert precompile.fits(source)
    source.touch()
    assert precompile.fits(source)


def test_a_source_that_does_not_compile_stops_the_build(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tree(tmp_path, "lib/one.py")
    (tmp_path / "lib" / "one.py").write_text("def (:\n")
    assert precompile.main(str(tmp_path)) == 1
    assert "one.py" in capsys.readouterr().err


def test_bytecode_takes_the_place_of_its_source(venv: Path) -> None:
    site = next(venv.glob("lib/*/site-packages"))
    for source in site.rglob("*.py"):
        source.write_text("ANSWER = 42\n")
    assert precompile.replace(venv) == 0
    assert list(site.rglob("*.py")) == list(site.rglob("__pycache__")) == []
    record = (site / "entitlement_sidecar-1.dist-info" / "RECORD").read_text()
    assert record == "sidecar/cli/demo/hourly.pyc,,\nsidecar/app/run.pyc,,\n../../../bin/flask,,\n"
    code = "import sidecar.app.run as run; print(run.ANSWER, run.__file__)"
    found = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, {str(site)!r}); {code}"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert found.stdout.split() == ["42", str(site / "sidecar" / "app" / "run.pyc")]


def test_a_source_that_does_not_compile_is_not_replaced(venv: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = next(venv.rglob("run.py"))
    source.write_text("def (:\n")
    assert precompile.replace(venv) == 1
    assert source.exists()
    assert "run.py" in capsys.readouterr().err


def test_of_the_standard_library_its_tests_are_left_alone(tmp_path: Path) -> None:
    tree(tmp_path, "python3.13/json/decoder.py", "python3.13/test/test_json.py", "python3.13/site-packages/x.py")
    wanted = precompile.wanted(tmp_path / "python3.13", stdlib=True)
    assert [path.name for path in wanted] == ["decoder.py"]
