"""Dashboards of two copies, releases or namespaces never replace one another in one Grafana.

Grafana takes a uid once and a title once in a folder: a second one stops every import of its provider
(github.com/grafana/grafana/issues/43530). Grafana's sidecar writes what it finds into one directory, each file named by
its key alone (github.com/kiwigrid/k8s-sidecar/issues/72).
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.chart.support import CHART, NAME, in_parent, render


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return in_parent(tmp_path_factory.mktemp("dashboard"))


def boards(chart: Path, values: dict[str, Any], *flags: str, release: str = "rel") -> list[tuple[str, str, str]]:
    """Return file, uid and title of each dashboard."""
    found = render(chart, values, flags, release)
    files = [file for one in found if "dashboard" in one["metadata"]["name"] for file in one["data"].items()]
    return [(name, json.loads(text)["uid"], json.loads(text)["title"]) for name, text in files]


@pytest.mark.parametrize("release", ["r", "r" * 53])
@pytest.mark.parametrize("names", [("gate", "gate-2"), ("b" * 39 + "1", "b" * 39 + "2")])
def test_two_in_one_release_share_nothing(names: tuple[str, str], release: str, parent: Path) -> None:
    on = {"dashboard": {"enabled": True}}
    values = {NAME: {"nameOverride": names[0], **on}, "second": {"nameOverride": names[1], **on}}
    found = boards(parent, values, release=release)
    assert len(found) == 2
    for first, second in zip(*found, strict=True):
        assert first != second
    for name, uid, _ in found:
        assert re.fullmatch(r"[a-z0-9-]{1,40}", uid)
        assert name == f"{uid}.json"


def test_releases_of_one_name_in_two_namespaces_share_nothing(parent: Path) -> None:
    """One Grafana reads the dashboards of all namespaces."""
    values = {NAME: {"dashboard": {"enabled": True}}}
    both = [boards(parent, values, "--namespace", one) for one in ("prod", "stage")]
    assert all(first != second for first, second in zip(both[0][0], both[1][0], strict=True))
    assert boards(parent, values, "--namespace", "prod") == both[0]


def test_only_uid_and_title_are_not_the_files_own() -> None:
    (one,) = render(CHART, {"dashboard": {"enabled": True}})
    (text,) = one["data"].values()
    own = json.loads((CHART / "files" / "dashboard.json").read_text())
    found = json.loads(text)
    assert found["title"].startswith(own.pop("title"))
    assert {key: value for key, value in found.items() if key not in {"uid", "title"}} == own
