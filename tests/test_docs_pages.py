"""Check that the pages lead where they say, and that every page can be found.

Links and anchors are checked as a forge resolves them, without network. What the tables say is checked in `test_docs`.
"""

from __future__ import annotations

import ast
import importlib.util
import json
import re
import shlex
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Final
from urllib.parse import unquote

import pytest
import yaml

from sidecar.cli.parser import build_parser
from tests.test_layers import LEVELS, PACKAGES_OF

ROOT: Final = Path(__file__).resolve().parent.parent
DOCS: Final = ROOT / "docs"
NOT_OURS: Final = {"build", "dist", "node_modules", "charts"}
FENCE: Final = re.compile(r"^( *)(```+|~~~+).*?^ *\2 *$", re.MULTILINE | re.DOTALL)
CODE: Final = re.compile(r"`[^`\n]+`")
LINK: Final = re.compile(r"!?\[(?:[^\[\]]|\[[^\]]*\])*\]\(([^)\s]+)\)")
HEADING: Final = re.compile(r"^#{1,6} +(.+?) *#*$", re.MULTILINE)
MACHINE: Final = re.compile(r"(?<![\w.])/(home|root|work|Users)/")
MYST_ONLY: Final = re.compile(r"^(```\{|:::|\{[a-z]+\}`|\([\w-]+\)=$)", re.MULTILINE)


def markdown() -> list[Path]:
    """Return every Markdown file of the checkout."""
    found = []
    for path in ROOT.rglob("*.md"):
        parts = path.relative_to(ROOT).parts
        if not any(part in NOT_OURS or (part.startswith(".") and part != ".github") for part in parts):
            found.append(path)
    return sorted(found)


FILES: Final = markdown()
PAGES: Final = [path for path in FILES if path.is_relative_to(DOCS)]


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def links(text: str) -> list[str]:
    """Return the targets of links and images that are not inside code."""
    return LINK.findall(CODE.sub("``", FENCE.sub("", text)))


def anchors(text: str) -> set[str]:
    """Return the anchors that a forge gives the headings: lower case, no punctuation, hyphens for spaces."""
    found: dict[str, int] = {}
    made = set()
    for heading in HEADING.findall(FENCE.sub("", text)):
        shown = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", shown.lower()).replace(" ", "-")
        count = found.get(slug, 0)
        found[slug] = count + 1
        made.add(f"{slug}-{count}" if count else slug)
    return made


def broken(page: Path, text: str) -> Iterator[str]:
    """Yield each relative link of a page that leads nowhere."""
    for target in links(text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = unquote(target).partition("#")
        file = (page.parent / path).resolve() if path else page
        there = file.is_relative_to(ROOT) and file.exists()
        if not there or (
            anchor and file.exists() and anchor not in anchors(text if file == page else file.read_text())
        ):
            yield target


def reached(start: Path) -> set[Path]:
    """Return every page that links lead to from one page."""
    seen, waiting = {start}, [start]
    while waiting:
        page = waiting.pop()
        for target in links(page.read_text()):
            path = target.partition("#")[0]
            file = (page.parent / path).resolve()
            if path and file.suffix == ".md" and file.exists() and file not in seen:
                seen.add(file)
                waiting.append(file)
    return seen


def listed(lines: Iterable[str]) -> list[str]:
    """Return the targets of a list of links."""
    return [found[1] for line in lines if (found := re.match(r"- \[[^\]]+\]\(([^)]+)\)", line))]


def blocks(text: str, language: str) -> list[str]:
    """Return the code blocks in a language, without the indentation of a list they stand in."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```$", text, re.MULTILINE | re.DOTALL)
    return [re.sub(rf"^{indent}", "", block, flags=re.MULTILINE) for indent, block in found]


def commands(text: str) -> list[list[str]]:
    """Return the arguments of each of our commands in the shell blocks, up to a pipe, a redirection or `--`."""
    found = []
    for block in blocks(text, "sh"):
        for line in block.replace("\\\n", " ").splitlines():
            for part in re.split(r"&&|\|", line):
                words = shlex.split(part, comments=True) if part.count("'") % 2 == 0 else []
                starts = [at for at, word in enumerate(words) if word.endswith("entitlement-sidecar")]
                if starts and (starts[-1] == 0 or words[starts[-1] - 1] == "--"):
                    ends = [at for at, word in enumerate(words) if at > starts[-1] and word in ("--", "<", ">")]
                    found.append(words[starts[-1] + 1 : ends[0] if ends else None])
    return found


def configuration() -> ModuleType:
    """Return `docs/conf.py`, which needs no Sphinx to be imported."""
    spec = importlib.util.spec_from_file_location("docs_conf", DOCS / "conf.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# -- links


@pytest.mark.parametrize("page", FILES, ids=name)
def test_every_relative_link_and_anchor_leads_somewhere(page: Path) -> None:
    assert list(broken(page, page.read_text())) == []


@pytest.mark.parametrize(
    "link", ["no-such-page.md", "tutorial.md#no-such-heading", "#no-such-heading", "../../outside"]
)
def test_a_link_that_leads_nowhere_is_noticed(link: str) -> None:
    assert list(broken(DOCS / "index.md", f"# Title\n\n[text]({link})\n")) == [link]


def test_a_link_inside_code_is_no_link() -> None:
    assert links("`[a](b)`\n\n```md\n[c](d)\n```\n\n[e](f)") == ["f"]


def test_anchors_are_those_of_a_forge() -> None:
    text = "# What is `not` stored?\n## Again\n## Again\n```sh\n# a comment\n```\n"
    assert anchors(text) == {"what-is-not-stored", "again", "again-1"}


# -- pages


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_page_is_reached_from_the_index(page: Path) -> None:
    assert page in reached(DOCS / "index.md")


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_a_page_has_one_title_and_it_comes_first(page: Path) -> None:
    text = re.sub(r"<!--.*?-->\s*", "", page.read_text(), flags=re.DOTALL)
    assert text.startswith("# ")
    assert len(re.findall(r"^# ", FENCE.sub("", text), re.MULTILINE)) == 1


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_a_page_reads_well_without_the_site(page: Path) -> None:
    assert MYST_ONLY.search(page.read_text()) is None


@pytest.mark.parametrize("page", FILES, ids=name)
def test_no_page_names_a_path_of_a_persons_machine(page: Path) -> None:
    assert MACHINE.search(page.read_text()) is None


# -- examples


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_examples_can_be_read_by_what_reads_them(page: Path) -> None:
    text = page.read_text()
    for block in blocks(text, "yaml"):
        yaml.safe_load(block)
    for block in blocks(text, "json"):
        json.loads(block)
    for block in blocks(text, "python"):
        ast.parse(block)
    for block in blocks(text, "sh"):
        subprocess.run(["bash", "-n"], input=block, text=True, check=True)


@pytest.mark.parametrize("page", [ROOT / "README.md", *PAGES], ids=name)
def test_every_command_in_an_example_is_one_with_these_options(page: Path) -> None:
    for words in commands(page.read_text()):
        build_parser().parse_args(words)


def test_commands_are_found_in_examples() -> None:
    text = """```sh
.venv/bin/entitlement-sidecar report requests 12 --id order-17   # twice
entitlement-sidecar usage | column -t
aws ecs register-task-definition --cli-input-json file://gated.json
kubectl exec POD -c entitlement-sidecar -- entitlement-sidecar usage
```"""
    assert commands(text) == [["report", "requests", "12", "--id", "order-17"], ["usage"], ["usage"]]


def test_an_option_that_there_is_not_is_noticed() -> None:
    with pytest.raises(SystemExit):
        build_parser().parse_args(commands("```sh\nentitlement-sidecar report requests 12 --ident x\n```")[0])


# -- the site


def test_the_sites_navigation_has_every_page_of_the_index() -> None:
    made = configuration().navigation((DOCS / "index.md").read_text())
    pages = {target.removesuffix(".md") for target in links((DOCS / "index.md").read_text()) if "../" not in target}
    assert pages - set(made.split()) == set()


def test_a_link_out_of_the_site_becomes_the_forges_address() -> None:
    conf = configuration()
    assert conf.on_site("howto/eks", "../glossary.md#top") == "../glossary.md#top"
    assert conf.on_site("howto/eks", "../../README.md#links") == f"{conf.FORGE}/blob/main/README.md#links"
    assert conf.on_site("howto/eks", "../../helm") == f"{conf.FORGE}/tree/main/helm"


# -- llms.txt: https://llmstxt.org


LLMS: Final = (ROOT / "llms.txt").read_text()


def test_llms_txt_has_the_form_of_llmstxt_org() -> None:
    """Require a title, a summary, text without headings, then sections that hold nothing but lists of links."""
    head, *sections = LLMS.split("\n## ")
    assert re.match(r"# entitlement-sidecar\n\n> .+\n\n", head)
    assert len(sections) >= 4
    assert "\n#" not in head
    for section in sections:
        lines = [line for line in section.splitlines()[1:] if line]
        assert len(listed(lines)) == len(lines) > 0, section


def test_every_link_of_llms_txt_leads_somewhere() -> None:
    assert list(broken(ROOT / "llms.txt", LLMS)) == []


def test_llms_txt_lists_every_page() -> None:
    assert {name(page) for page in PAGES} - {"docs/index.md"} - set(listed(LLMS.splitlines())) == set()


# -- architecture


ARCHITECTURE: Final = (DOCS / "explanation" / "architecture.md").read_text()


def test_the_layers_of_the_drawing_are_those_that_the_code_keeps() -> None:
    drawing = ARCHITECTURE.split("```text\n")[1].split("```")[0]
    layers = [re.findall(r"│ (.*?) *│", layer) for layer in drawing.split("├")]
    drawn = {
        name: len(layers) - 1 - at for at, layer in enumerate(layers) for name in re.findall(r"\w+", " ".join(layer))
    }
    assert drawn == LEVELS


def test_the_packages_of_the_map_and_what_they_may_import_are_those_of_the_code() -> None:
    table = ARCHITECTURE.split("## The packages")[1].split("## ")[0]
    packages = dict(re.findall(r"^\| `(\w+)/` \|.*\| ([^|]*?) *\|$", table, re.MULTILINE))
    assert packages.keys() == {path.parent.name for path in (ROOT / "sidecar").glob("*/__init__.py")}
    for package, named in packages.items():
        if package != "emulator":
            allowed = {name for name, places in PACKAGES_OF.items() if package in places}
            assert set(re.findall(r"\w+", named.partition(": ")[0])) == allowed, package


def test_every_module_that_the_architecture_names_exists() -> None:
    named = re.findall(r"`([\w/]+\.py)`", ARCHITECTURE)
    assert len(named) > 15
    assert [path for path in named if not (ROOT / path).exists() and not (ROOT / "sidecar" / path).exists()] == []


# -- README


README: Final = (ROOT / "README.md").read_text()
DEMO: Final = "python3 -m venv .venv && .venv/bin/pip install -q . && .venv/bin/entitlement-sidecar demo"
TESTS: Final = (
    "python3 -m venv .venv && .venv/bin/pip install -q uv && .venv/bin/uv sync -q --locked --inexact"
    " && .venv/bin/pytest -q -n 4"
)


def test_readme_can_be_read_to_its_end() -> None:
    assert len(README.splitlines()) <= 150


def test_readme_has_the_two_commands_to_start_with() -> None:
    assert [block for block in blocks(README, "sh") if "python3 -m venv" in block] == [f"{DEMO}\n", f"{TESTS}\n"]


def test_readme_shows_the_picture_of_the_demo() -> None:
    assert "docs/images/demo.svg" in links(README)


def test_the_pod_in_readme_is_the_one_of_the_guide() -> None:
    """Require that each field README shows has the value of the guide, which has more fields."""
    (short,) = blocks(README, "yaml")
    full = next(block for block in blocks((DOCS / "howto" / "eks.md").read_text(), "yaml") if "initContainers" in block)
    shown, pod = yaml.safe_load(short)["spec"], yaml.safe_load(full)["spec"]
    assert [one for one in shown["volumes"] if one not in pod["volumes"]] == []
    assert shown["containers"] == pod["containers"]
    ours, guide = shown["initContainers"][0], pod["initContainers"][0]
    for field, value in ours.items():
        if isinstance(value, dict):
            assert value.items() <= guide[field].items(), field
        elif isinstance(value, list):
            assert [one for one in value if one not in guide[field]] == [], field
        else:
            assert value == guide[field], field


def test_the_three_figures_of_readme_are_those_of_the_benchmarks() -> None:
    results = (ROOT / "bench" / "RESULTS.md").read_text()
    rows = re.findall(r"^\| ([^|]+) \| ([\d .]+\w*[^|]*) \| ([\d .]+\w*[^|]*) \|$", README, re.MULTILINE)
    assert len(rows) == 3
    for _, by_hand, ours in rows:
        measured = [figure.replace(" a second", " /s") for figure in (by_hand, ours)]
        assert f"| {measured[0]} | {measured[1]} |" in results


# -- benchmarks


def test_the_benchmarks_of_the_saas_state_name_each_database_and_their_command() -> None:
    section = (ROOT / "bench" / "RESULTS.md").read_text().split("## SaaS state\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (SQLite|PostgreSQL) \| (\d) \| (\d+) \| (\d+)–(\d+) \|$", section, re.MULTILINE)
    assert [row[:2] for row in rows] == [("SQLite", "1"), ("PostgreSQL", "1"), ("PostgreSQL", "2"), ("PostgreSQL", "4")]
    assert all(int(low) <= int(median) <= int(high) for *_, median, low, high in rows)
    assert "`python -m bench.saas" in section
    assert (ROOT / "bench" / "saas.py").exists()


def test_the_benchmarks_name_each_measure_and_the_command_that_makes_them() -> None:
    results = (ROOT / "bench" / "RESULTS.md").read_text()
    table = results.split("<!-- bench -->")[1].split("<!-- /bench -->")[0]
    for measure in ("C1", "C2", "C3", "C4", "M1", "M3", "D1"):
        assert re.search(rf"^\| {measure} \|.*[0-9]x", table, re.MULTILINE), measure
    assert "\nbench/run " in results
