"""The internals of gunicorn the worker is built on, as installed here."""

from __future__ import annotations

import gunicorn
import pytest
from gunicorn.config import Config
from gunicorn.http import body, message, wsgi

from sidecar.server import gunicorn_internals
from sidecar.server.gunicorn_internals import INTERNALS, check_gunicorn, settings_problem
from sidecar.server.limits import Limits
from sidecar.server.worker import Worker, gunicorn_settings


def configured(**others: object) -> Config:
    """gunicorn's configuration with our settings, some of them changed."""
    cfg = Config()
    for name, value in (gunicorn_settings() | others).items():
        cfg.set(name, value)
    return cfg


def test_the_installed_gunicorn_carries_the_worker() -> None:
    assert check_gunicorn() is None


@pytest.mark.parametrize("version", ["26.0.0", "27.1.0", "28.0.0", "270.0.1"])
def test_another_minor_version_is_refused(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    monkeypatch.setattr(gunicorn, "__version__", version)
    assert version in (check_gunicorn() or "")


@pytest.mark.parametrize(("module", "name"), [(module, name) for module, name, _ in INTERNALS])
def test_each_internal_is_missed_when_it_changes(monkeypatch: pytest.MonkeyPatch, module: str, name: str) -> None:
    changed = [(m, n, (*p, "another") if (m, n) == (module, name) else p) for m, n, p in INTERNALS]
    monkeypatch.setattr(gunicorn_internals, "INTERNALS", tuple(changed))
    assert f"gunicorn.{module}.{name}" in (check_gunicorn() or "")


def test_an_internal_that_is_gone_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(wsgi, "create")
    assert "create" in (check_gunicorn() or "")


def test_a_body_that_hides_its_length_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body.LengthReader, "__init__", lambda self, unreader, length: None)
    assert "length" in (check_gunicorn() or "")


def test_a_parser_that_hides_the_expectation_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(message.Request, "_expected_100_continue", None, raising=False)
    assert "100-continue" in (check_gunicorn() or "")


def test_our_own_settings_are_accepted() -> None:
    Worker.check_config(configured(), None)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("forwarded_allow_ips", "*"),
        ("forwarder_headers", "SCRIPT_NAME,PATH_INFO"),
        ("header_map", "dangerous"),
        ("http_parser", "auto"),
        ("proxy_protocol", "auto"),
        ("workers", 2),
        ("limit_request_fields", 1_000),
        ("permit_obsolete_folding", True),
        ("max_requests", 5),
        ("certfile", __file__),
    ],
)
def test_a_setting_that_would_open_a_hole_is_refused(name: str, value: object) -> None:
    assert name in (settings_problem(configured(**{name: value}), Limits()) or "")
    with pytest.raises(RuntimeError, match=name):
        Worker.check_config(configured(**{name: value}), None)


def test_a_setting_that_is_the_operators_own_is_accepted() -> None:
    assert settings_problem(configured(timeout=60, graceful_timeout=300, keepalive=5), Limits()) is None
