"""Decide which tests run, and which process runs each.

Invariants:
- A test marked `slow` runs with `--slow`, when `-m` names the marker, or when the command line names the test;
  otherwise it is skipped, and the reason says how to run it.
- With `-n`, a process that has run its share takes tests from the share of another, unless `--dist` says otherwise.
- Interpreters that tests start find compiled modules, also where the environment forbids to write them beside the
  source.
- An example of hypothesis may take any time: its default, 200 ms, is missed where the processors are busy.
"""

from __future__ import annotations

import os
import sys

import pytest
from hypothesis import settings

sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]
"""jsonschema does without it: no schema here has internationalised addresses, and its grammar takes each process two
seconds to compile."""

settings.register_profile("untimed", settings(), deadline=None)
settings.load_profile("untimed")

SKIPPED = "slow: run it with --slow, or all of them with -m slow"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="run the slow tests too: long searches and stress loops")


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Let idle processes take over tests.

    xdist's default gives the first process a batch with every acceptance test in it, which the others then wait for.
    """
    if getattr(config.option, "numprocesses", None) and config.option.dist == "no":
        config.option.dist = "worksteal"


def pytest_configure(config: pytest.Config) -> None:
    """Keep compiled modules in pytest's cache where they may not lie beside the source.

    Without them each of a thousand interpreters would compile the SDK again, which doubles the time it takes to start.
    """
    has_cache = config.pluginmanager.hasplugin("cacheprovider")
    if sys.dont_write_bytecode and sys.pycache_prefix is None and has_cache:
        sys.pycache_prefix = str(config.rootpath / config.getini("cache_dir") / "bytecode")
        sys.dont_write_bytecode = False
        os.environ["PYTHONPYCACHEPREFIX"] = sys.pycache_prefix
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("slow") or "slow" in config.getoption("markexpr"):
        return
    if _names_tests(config):
        return
    for item in items:
        if "slow" in item.keywords:
            item.add_marker(pytest.mark.skip(reason=SKIPPED))


def _names_tests(config: pytest.Config) -> bool:
    """Return whether the command line names tests, and not only files and directories."""
    return any("::" in arg for arg in config.args)
