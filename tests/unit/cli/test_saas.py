"""What `saas notices` reads from stdin, before any service is asked."""

from __future__ import annotations

import pytest

from sidecar.cli import saas
from sidecar.errors import Exit


@pytest.mark.parametrize("text", ["not json", "[" * 100_000, "\ufffd"], ids=["words", "nested", "replaced"])
def test_what_is_not_json_is_refused_without_a_traceback(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert saas.notices(text) == Exit.REFUSED
    assert "stdin is not JSON at character 0" in capsys.readouterr().err


def test_a_schema_that_is_none_is_refused_and_the_known_ones_named(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("sqlalchemy")
    assert saas.migrate("postgresql", "0000") == Exit.REFUSED
    assert "0001, 0002" in capsys.readouterr().err


def test_what_is_printed_from_a_schema_makes_no_table_that_it_has(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("sqlalchemy")
    assert saas.migrate("postgresql", "0001") == Exit.OK
    printed = capsys.readouterr().out
    assert "CREATE TABLE saas_hour_count" in printed
    assert "CREATE TABLE saas_bucket" not in printed
