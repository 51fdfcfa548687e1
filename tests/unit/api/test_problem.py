"""A refusal as a problem document."""

from __future__ import annotations

import json
import re
from http import HTTPStatus
from pathlib import Path

import pytest

from sidecar.api import probes, problem


@pytest.mark.parametrize("status", sorted(problem.TITLES))
def test_a_document_has_status_title_reason_and_detail(status: int) -> None:
    found = json.loads(problem.document(status, "some_reason", 'With "quotes"\nand é.'))
    assert found == {
        "type": "about:blank",
        "title": problem.TITLES[status],
        "status": status,
        "reason": "some_reason",
        "detail": 'With "quotes"\nand é.',
    }


def test_titles_are_those_of_http() -> None:
    later = {413: "Content Too Large", 414: "URI Too Long", 422: "Unprocessable Content"}
    for status, title in problem.TITLES.items():
        assert title == later.get(status, HTTPStatus(status).phrase)


def test_every_status_of_a_route_has_a_title() -> None:
    room = Path(problem.__file__).parent
    written = {int(one) for path in room.glob("*.py") for one in re.findall(r"refusal\((\d{3})", path.read_text())}
    assert written
    assert written | set(probes.HTTP_STATUS.values()) <= set(problem.TITLES)


def test_a_document_has_an_index_only_where_one_is_given() -> None:
    assert json.loads(problem.document(400, "some_reason", "x", 0))["index"] == 0
    assert "index" not in json.loads(problem.document(400, "some_reason", "x"))
