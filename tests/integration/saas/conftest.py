"""Each test of the state runs on SQLite, and slowly on a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from tests import postgresql

schemas = count()


@pytest.fixture(scope="session")
def server() -> Iterator[postgresql.Server]:
    """Return one PostgreSQL for all tests of a process."""
    with postgresql.running("-c", "fsync=off") as server:
        yield server


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URL of an empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'saas.db'}"
    return postgresql_schema(request)


@pytest.fixture
def postgresql_url(request: pytest.FixtureRequest) -> str:
    """Return the URL of an empty schema of a real PostgreSQL."""
    return postgresql_schema(request)


def postgresql_schema(request: pytest.FixtureRequest) -> str:
    server: postgresql.Server = request.getfixturevalue("server")
    name = f"s{next(schemas)}"
    server.run_sql(f"CREATE SCHEMA {name}")
    return server.url(search_path=name)
