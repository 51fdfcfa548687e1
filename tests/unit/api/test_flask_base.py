"""What Flask refuses by itself is a problem document, on both services."""

from __future__ import annotations

import pytest
from flask import Flask
from werkzeug.exceptions import abort

from sidecar.api import problem
from sidecar.api.flask_base import bare_application
from sidecar.api.json_body import Malformed


@pytest.fixture
def app() -> Flask:
    made = bare_application("test", "No such route here.")

    @made.get("/refused/<int:status>")
    def refused(status: int) -> str:
        abort(status)

    @made.get("/malformed")
    def malformed() -> str:
        raise Malformed("The body is no JSON.")

    return made


@pytest.mark.parametrize("status", [400, 413, 415])
def test_a_refusal_names_its_own_status(app: Flask, status: int) -> None:
    found = app.test_client().get(f"/refused/{status}")
    assert found.status_code == status
    assert (found.get_json()["reason"], found.get_json()["detail"]) == ("bad_request", f"{problem.TITLES[status]}.")


def test_a_status_without_a_title_is_a_bad_request(app: Flask) -> None:
    assert 418 not in problem.TITLES
    assert app.test_client().get("/refused/418").status_code == 400


def test_the_services_word_for_an_unknown_route_is_said(app: Flask) -> None:
    found = app.test_client().get("/nothing")
    assert (found.status_code, found.get_json()["detail"]) == (404, "No such route here.")


def test_a_malformed_body_is_named_and_not_repeated(app: Flask) -> None:
    found = app.test_client().get("/malformed")
    assert (found.status_code, found.get_json()["detail"]) == (400, "The body is no JSON.")
