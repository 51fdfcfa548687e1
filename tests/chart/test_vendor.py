"""helm/vendor in a chart of `helm create`: one command, and what git ignores is named."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from tests.chart.support import CHART, HELM, NAME, container, of_kind, pod_of, ran, refusal, render, tool

VERSION = yaml.safe_load((CHART / "Chart.yaml").read_text())["version"]
WANTED = {"name": NAME, "alias": "entitlement", "version": VERSION, "repository": f"file://charts/{NAME}"}
HEAD = "apiVersion: v2\nname: shop\nversion: 1.0.0\n"


def vendor(chart: Path) -> tuple[int, str]:
    done = ran(HELM / "vendor", chart, "--registry", "r.example.com", "--repository", "acme/gate", "--tag", "9.9")
    return done.returncode, done.stdout + done.stderr


def with_chart_file(directory: Path, text: str) -> Path:
    chart = directory / "shop"
    chart.mkdir()
    (chart / "Chart.yaml").write_text(text)
    return chart


@pytest.fixture
def created(tmp_path: Path) -> Path:
    assert ran(tool("helm"), "create", "shop", cwd=tmp_path).returncode == 0
    return tmp_path / "shop"


def test_the_first_run_in_a_chart_of_helm_create_leaves_nothing_to_do(created: Path) -> None:
    before = (created / "Chart.yaml").read_text()
    code, words = vendor(created)
    assert code == 0, words
    after = (created / "Chart.yaml").read_text()
    assert after.startswith(before)
    assert len(after.splitlines()) - len(before.splitlines()) == 5
    assert yaml.safe_load(after)["dependencies"] == [WANTED]
    assert render(created)
    assert "git ignores" not in words
    assert vendor(created)[0] == 0
    assert (created / "Chart.yaml").read_text() == after


@pytest.mark.parametrize(
    "written",
    [
        "dependencies:\n  - name: redis\n    version: 1.0.0\n    repository: file://charts/redis\n",
        "dependencies:  # of ours\n# first\n- name: redis\n  version: 1.0.0\n  repository: file://charts/redis\n",
        "dependencies: []\n",
        "dependencies:",
        "description: no dependencies",
    ],
)
def test_a_list_of_dependencies_gets_one_more(written: str, tmp_path: Path) -> None:
    before = yaml.safe_load(HEAD + written)
    chart = with_chart_file(tmp_path, f"{HEAD}{written}")
    code, words = vendor(chart)
    assert code == 0, words
    after = yaml.safe_load((chart / "Chart.yaml").read_text())
    assert after.pop("dependencies") == [WANTED, *(before.pop("dependencies", None) or [])]
    assert after == before


def test_a_list_on_one_line_is_left_to_a_person(tmp_path: Path) -> None:
    text = f"{HEAD}dependencies: [{{name: redis, version: 1.0.0, repository: 'file://charts/redis'}}]\n"
    chart = with_chart_file(tmp_path, text)
    code, words = vendor(chart)
    assert code == 1
    assert f"repository: file://charts/{NAME}" in words
    assert (chart / "Chart.yaml").read_text() == text


def test_a_new_version_is_written_and_a_range_stays(tmp_path: Path) -> None:
    entry = f"  - name: {NAME}\n    alias: %s\n    version: %s\n    repository: file://charts/{NAME}\n"
    other = "  - name: redis\n    version: 0.0.9\n"
    chart = with_chart_file(
        tmp_path, f"{HEAD}dependencies:\n{entry % ('one', '0.0.9')}{other}{entry % ('two', '^0.1.0')}"
    )
    code, words = vendor(chart)
    assert code == 0, words
    found = yaml.safe_load((chart / "Chart.yaml").read_text())["dependencies"]
    assert [one["version"] for one in found] == [VERSION, "0.0.9", "^0.1.0"]


@pytest.fixture
def repository(created: Path) -> Path:
    git = shutil.which("git")
    if git is None:
        pytest.skip("git is not on PATH")
    assert ran(git, "init", "--quiet", created.parent).returncode == 0
    return created.parent


def test_a_copy_that_git_ignores_is_named_with_the_rule_and_the_command(repository: Path) -> None:
    (repository / ".gitignore").write_text("# built\ncharts/\n")
    chart = repository / "shop"
    code, words = vendor(chart)
    assert code == 0
    assert ".gitignore:2:charts/" in words
    command = words.split("git add ")[1].split("\n")[0]
    assert ran("git", "add", *command.split(), cwd=repository).returncode == 0
    listed = ran("git", "ls-files", "shop/charts", cwd=repository).stdout
    assert f"shop/charts/{NAME}/values.yaml" in listed
    assert "git ignores" not in vendor(chart)[1]


def test_a_copy_that_git_takes_is_not_mentioned(repository: Path) -> None:
    (repository / ".gitignore").write_text("*.tgz\n")
    assert "git ignores" not in vendor(repository / "shop")[1]


def test_the_readmes_fix_removes_what_the_add_on_rules_refuse_of_helm_create(created: Path) -> None:
    def refused() -> set[str]:
        files = [path for path in (created / "templates").rglob("*") if path.is_file()]
        text = "\n".join(path.read_text() for path in files)
        return {word for word in ("helm.sh/" + "hook", ".Release.Service") if word in text}

    assert len(refused()) == 2, "helm create still does so"
    section = (CHART / "README.md").read_text().split("A chart of `helm create` breaks two")[1]
    assert ran("sh", "-euc", section.split("```sh\n")[1].split("```")[0], cwd=created).returncode == 0
    assert refused() == set()
    assert render(created)


def test_the_readmes_lines_stand_around_the_pod_of_helm_create(created: Path) -> None:
    section = (CHART / "README.md").read_text().split("three lines around")[1]
    lines = section.split("```yaml\n")[1].split("```")[0].splitlines()
    first, *_, end, last = lines[1:]
    template = created / "templates" / "deployment.yaml"
    text = template.read_text()
    assert text.count(f"\n{lines[0]}\n") == 1
    template.write_text(text.replace(f"\n{lines[0]}\n", f"\n{lines[0]}\n{first}\n") + f"{end}\n{last}\n")
    assert vendor(created)[0] == 0
    pod = pod_of(of_kind(render(created), "Deployment"))
    assert container(pod, NAME)["image"] == "r.example.com/acme/gate:9.9"


def test_without_the_vendored_copy_helm_refuses_the_chart(created: Path) -> None:
    vendor(created)
    shutil.rmtree(created / "charts")
    assert NAME in refusal(created, {})
