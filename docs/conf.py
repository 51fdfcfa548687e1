"""Configure Sphinx for this directory.

The pages are plain Markdown with relative links, so that they read the same on a forge. What only a built site needs
is added here: the navigation, made from the lists of `index.md`, and the addresses of files outside `docs/`.

Why Sphinx with MyST and furo, and not MkDocs: MkDocs 1.x has no maintainer, and Material for MkDocs is in maintenance
mode. Sphinx reports a broken link or anchor between pages as an error.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
PROJECT: Final[dict[str, Any]] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
FORGE: Final = PROJECT.get("urls", {}).get("Source", "https://github.com/entitlement-sidecar/entitlement-sidecar")

sys.path.insert(0, str(ROOT))
from sidecar import __version__ as release  # noqa: E402

project = PROJECT["name"]
author = copyright = f"the authors of {project}"
extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
root_doc = "index"
exclude_patterns = ["examples", "demo"]
myst_heading_anchors = 4
html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_title = f"{project} {release}"
html_show_sphinx = html_show_copyright = False
nitpicky = True
# `…` stands for what a reader fills in; a lexer of JSON or YAML does not know it.
suppress_warnings = ["misc.highlighting_failure"]

LINK: Final = re.compile(r"\]\((?P<target>(?!https?:|#)[^)\s]+)\)")
LIST_ITEM: Final = re.compile(r"^- \[[^\]]+\]\((?P<page>[\w/-]+)\.md\)", re.MULTILINE)


def setup(app: Any) -> dict[str, bool]:
    app.connect("source-read", prepare)
    return {"parallel_read_safe": True}


def prepare(_app: Any, page: str, source: list[str]) -> None:
    """Rewrite what a forge shows from the checkout into what a site can show."""
    source[0] = LINK.sub(lambda found: f"]({on_site(page, found['target'])})", source[0])
    if page == root_doc:
        source[0] += navigation(source[0])


def on_site(page: str, target: str) -> str:
    """Return the link itself, or the forge's address of a file that is not in this directory."""
    path, hash_, anchor = target.partition("#")
    file = (ROOT / "docs" / page).parent.joinpath(path).resolve()
    if not path or file.is_relative_to(ROOT / "docs"):
        return target
    kind = "tree" if file.is_dir() else "blob"
    return f"{FORGE}/{kind}/main/{file.relative_to(ROOT)}{hash_}{anchor}"


def navigation(index: str) -> str:
    """Return a hidden table of contents for each section of the index that lists pages."""
    made = ""
    for section in index.split("\n## ")[1:]:
        pages = LIST_ITEM.findall(section)
        if pages:
            title = section.partition("\n")[0]
            made += f"\n\n```{{toctree}}\n:hidden:\n:caption: {title}\n\n" + "\n".join(pages) + "\n```\n"
    return made
