"""The reference says what the code does: its pages are made from the code, and its names are those of the code."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import generate
import pytest
import reference_commands
import reference_data as data
import reference_fields as field_data
import reference_log_events
import reference_tables
import source_scan

from sidecar import address_file
from sidecar.api import probes, push
from sidecar.api.flask_app import application
from sidecar.api.operations import OPERATIONS, refusals
from sidecar.api.operations.schemas import STATUS
from sidecar.api.router import PRE_STOP
from sidecar.app import addresses
from sidecar.cli.parser import build_parser
from sidecar.errors import Exit
from sidecar.gate import seats_lock
from sidecar.ledger import kept_file, live_copy, opening, volume
from sidecar.ledger import records as ledger_records
from sidecar.server import listeners
from sidecar.settings import SETTINGS
from sidecar.settings.saas_table import SAAS_SETTINGS
from tests.fakes.config import settings

ROOT = Path(__file__).parent.parent
REFERENCE = ROOT / "docs" / "reference"
PAGES = {path.name: path.read_text() for path in REFERENCE.glob("*.md")}
TEXT = "".join(PAGES.values())


def first_column(page: str, head: str) -> list[str]:
    """Return the first word in code of each row of the table with that head."""
    rows = PAGES[page].split(f"\n| {head} |")[1].split("\n\n")[0].splitlines()[2:]
    return [row.split("`")[1] for row in rows]


# -- the pages


@pytest.mark.parametrize("name", generate.PAGES)
def test_a_reference_page_is_the_codes_own(name: str) -> None:
    assert (REFERENCE / name).read_text() == generate.PAGES[name](), "run: python docs/generate.py"


@pytest.fixture
def spoilt(tmp_path: Path) -> Path:
    """Return a copy of the pages in which one setting has another name."""
    generate.main([], tmp_path)
    page = tmp_path / "settings.md"
    before = page.read_text()
    page.write_text(before.replace("`SIDECAR_REASK_SECONDS`", "`SIDECAR_REASK_HOURS`"))
    assert page.read_text() != before
    return tmp_path


def test_check_prints_a_page_that_differs(spoilt: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert generate.main(["--check"], spoilt) == 1
    found = capsys.readouterr().out
    assert "-| `SIDECAR_REASK_HOURS`" in found
    assert "+| `SIDECAR_REASK_SECONDS`" in found


def test_check_notices_a_page_that_is_missing(spoilt: Path, capsys: pytest.CaptureFixture[str]) -> None:
    generate.main([], spoilt)
    (spoilt / "records.md").unlink()
    assert generate.main(["--check"], spoilt) == 1
    assert "records.md" in capsys.readouterr().out


def test_written_pages_pass_the_check(spoilt: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert generate.main([], spoilt) == 0
    assert generate.main(["--check"], spoilt) == 0
    assert capsys.readouterr().out == ""


@pytest.mark.slow
def test_the_generator_runs_as_a_script_from_anywhere(tmp_path: Path) -> None:
    command = [sys.executable, ROOT / "docs" / "generate.py", "--check"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_every_page_of_the_reference_is_generated_or_listed() -> None:
    assert {path.name for path in REFERENCE.iterdir()} - set(generate.PAGES) == {
        "emulator.md",
        "evidence.md",
        "licenses.md",
        "state-directory.md",
    }


@pytest.mark.parametrize("name", [name for name in generate.PAGES if name.endswith(".md")])
def test_a_generated_page_says_so_on_its_first_line(name: str) -> None:
    assert PAGES[name].splitlines()[0].startswith("<!-- Generated from the code by `python docs/generate.py`.")


# -- names, both ways


def test_every_setting_stands_in_the_reference_and_no_other() -> None:
    assert first_column("settings.md", "Setting") == [
        *(one.variable for one in (*SETTINGS, *SAAS_SETTINGS)),
        "SIDECAR_CONFIG",
    ]


def test_every_log_event_stands_in_the_reference_and_no_other() -> None:
    found = source_scan.log_events()
    assert {"gate.shut", "registration.accepted", "record.held", "public_key.weak"} <= set(found), (
        "the search finds them"
    )
    assert first_column("log-events.md", "Event") == sorted(found)
    assert set(reference_log_events.LOG_EVENTS) == set(found), "each event has a meaning, and no other has one"


def test_what_looks_like_a_log_event_is_one() -> None:
    """Compare the search with a wider one: every text of two words with a dot, whose first is one of an event."""
    found = source_scan.log_events()
    nouns = {name.partition(".")[0] for name in found}
    others = {"sidecar.listener", "kubernetes.io"}
    alike = {
        node.value
        for tree in source_scan.trees().values()
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and source_scan.EVENT.fullmatch(node.value)
        and node.value.partition(".")[0] in nouns
    }
    modules = {name for name in alike if (ROOT / name.replace(".", "/")).exists()}
    assert alike - others - modules == set(found)


def test_every_metric_stands_in_the_reference_and_no_other() -> None:
    found = source_scan.metrics()
    assert {"entitled", "usage_quantity_settled_total", "ledger_bytes"} <= {one.name for one in found}
    assert first_column("metrics.md", "Metric") == [one.name for one in found]
    assert len({one.name for one in found}) == len(found), "one name, one type and one meaning"


def test_every_alert_of_the_chart_stands_in_the_reference_and_is_about_a_metric() -> None:
    alerts = source_scan.alerts()
    assert first_column("metrics.md", "Alert") == [one.name for one in alerts]
    assert {one.metric for one in alerts} <= {one.name for one in source_scan.metrics()}
    assert len({one.metric for one in alerts}) == len(alerts), "the table has one alert for each metric"


@pytest.mark.parametrize(
    "source",
    [
        'Metric(name=f"usage_{x}", kind="gauge", help="h", samples=[])',
        'def one(name):\n    return Metric(name=name, kind="gauge", help="h", samples=[])\none(f"usage_{x}")',
    ],
)
def test_a_metric_with_a_computed_name_is_refused(source: str) -> None:
    with pytest.raises(source_scan.Unreadable):
        list(source_scan.constants(Path("x.py"), ast.parse(source), source_scan._metric))


def test_a_helpers_metric_has_the_name_of_each_call() -> None:
    source = (
        'def one(name, text):\n    return Metric(name=name, kind="gauge", help=text, samples=[])\n'
        'one("a", "first")\none("b", text="second")'
    )
    found = list(source_scan.constants(Path("x.py"), ast.parse(source), source_scan._metric))
    assert found == [
        {"name": "a", "kind": "gauge", "help": "first"},
        {"name": "b", "kind": "gauge", "help": "second"},
    ]


def test_every_reason_named_in_code_stands_in_the_reference() -> None:
    found = source_scan.reasons()
    assert {"kept_other_workload", "asked_just_now", "token_signature", "ledger_stuck", "too_busy"} <= set(found)
    assert {reason for reason in found if f"`{reason}`" not in TEXT} == set()


def test_every_reason_of_http_stands_in_the_reference_and_no_other() -> None:
    def of_http(module: str) -> bool:
        of_api = "api" in Path(module).parts and "page" not in Path(module).parts  # the page shows reasons of others
        return of_api or Path(module).name in ("admission.py", "http_error.py", "response.py")

    found = {reason for reason, modules in source_scan.reasons().items() if any(map(of_http, modules))}
    assert first_column("http.md", "Reason") == sorted(found)


def test_no_reason_is_documented_that_the_code_does_not_have() -> None:
    assert set(data.OTHER_REASONS) <= set(source_scan.reasons())
    assert set(first_column("push-refusals.md", "HTTP | Reason")) == set(reference_tables.PUSH_STATUSES)
    assert set(data.PUSH_REASONS) == set(reference_tables.PUSH_STATUSES) - set(reference_tables.LEDGER_REASONS)


def test_no_text_is_kept_for_a_word_the_code_does_not_have() -> None:
    assert set(data.STATUSES) == {one.value for one in reference_tables.Status}
    assert set(data.STATUS_EVENTS) == {one.value for one in reference_tables.Event}
    assert set(data.LISTING_SEVERITIES) == {one.value for one in reference_tables.Severity}
    assert set(data.LISTING_KINDS) == {one.value for one in reference_tables.LISTING_RULES}
    assert set(data.STATES) == {one.value for one in reference_tables.State}
    assert set(data.MOVES) == {move.value for _, move in reference_tables.RECORD_TRANSITIONS}


# -- HTTP

OPERATION = {one.name: one for one in OPERATIONS}


def routes() -> Iterator[str]:
    """Yield method and path of every route, as the router and Flask have them."""
    yield from (f"GET {path}" for path in probes.ROUTES)
    yield f"POST {PRE_STOP}"
    view: Any = SimpleNamespace(usage=None)
    for rule in application(view).url_map.iter_rules():  # type: ignore[attr-defined]
        yield from (f"{method} {rule.rule}" for method in rule.methods - {"HEAD", "OPTIONS"})


def test_every_route_stands_in_the_reference_and_no_other() -> None:
    assert sorted(first_column("http.md", "Route")) == sorted(routes())
    assert f"POST {push.PATH}" in routes()


def test_a_probe_route_names_the_statuses_it_answers_with() -> None:
    assert set(OPERATION["GET /entitled"].answers) == set(probes.HTTP_STATUS.values())


def test_a_push_names_the_statuses_of_its_refusals() -> None:
    refused = set(reference_tables.PUSH_STATUSES.values())
    assert set(OPERATION["POST /v1/usage"].answers) == {200} | refused


def test_every_field_of_the_status_stands_in_the_reference_and_no_other() -> None:
    names = reference_tables.status_names()
    assert {"entitlement.reason", "metering.ledger.writable", "kubernetes.refused"} <= set(names)
    assert first_column("http.md", "Field") == names
    assert set(field_data.STATUS_FIELDS) == set(names)


def fields(schema: Any, before: str = "") -> Iterator[str]:
    """Yield the fields of an object that a JSON Schema names, as the reference writes them."""
    for name, inner in schema.get("properties", {}).items():
        yield before + name
        yield from fields(inner, f"{before}{name}.")
    if isinstance(schema.get("additionalProperties"), dict):
        yield from fields(schema["additionalProperties"], f"{before}*.")


def test_the_openapi_document_has_every_field_of_the_status_and_no_other() -> None:
    assert {*fields(STATUS), "workload.*"} == set(reference_tables.status_names())


def test_every_field_of_the_audit_copy_stands_in_the_reference_and_no_other() -> None:
    assert first_column("http.md", "Field of a record") == list(field_data.EXPORT_FIELDS)
    assert set(field_data.EXPORT_FIELDS) == set(source_scan.document_fields("requests", "late_from"))
    assert first_column("http.md", "Field of a total") == list(field_data.TOTAL_FIELDS)
    assert set(field_data.TOTAL_FIELDS) == set(source_scan.document_fields("events", "balanced"))


def test_an_object_that_is_there_twice_is_refused() -> None:
    with pytest.raises(source_scan.Unreadable):
        source_scan.document_fields("status")


def test_the_gates_own_reasons_are_those_of_the_reference() -> None:
    shown = {reason for reason, (where, _) in data.OTHER_REASONS.items() if "`/entitled`" in where}
    assert set(refusals.GATE_ITSELF) == shown
    assert set(refusals.ANSWERS) == set(first_column("reasons.md", "Reason | Said"))


# -- commands


def test_every_command_stands_in_the_reference_and_no_other() -> None:
    found = [name for name, _, one in reference_commands.leaves(build_parser()) if one.epilog]
    assert {"run", "usage retry", "manifest check", "ecs render"} <= set(found)
    assert first_column("commands.md", "Command") == found
    assert re.findall(r"^### `(.+)`$", PAGES["commands.md"], re.MULTILINE) == found


def test_every_option_of_a_command_stands_in_its_section() -> None:
    sections = dict(re.findall(r"^### `(.+?)`\n(.*?)(?=^##|\Z)", PAGES["commands.md"], re.MULTILINE | re.DOTALL))
    for name, _, command in reference_commands.leaves(build_parser()):
        for option in command._option_string_actions if command.epilog else ():
            setting = option in {one.flag for one in SETTINGS}
            assert option in sections[name] or option in ("-h", "--help") or setting, (name, option)


def test_every_exit_code_stands_in_the_reference_and_no_other() -> None:
    by_argparse, by_interrupt = 2, 130
    assert set(data.EXIT_CODES) == {*map(int, Exit), by_argparse, by_interrupt}
    assert (Exit.OK, Exit.FAILED, Exit.UNAVAILABLE, Exit.DENIED, Exit.CONFIG) == (0, 1, 69, 77, 78)
    assert Exit.REFUSED == 65


def test_a_command_ends_only_with_codes_of_the_table() -> None:
    for line in re.findall(r"^Exit codes: (.+)$", PAGES["commands.md"], re.MULTILINE):
        assert {int(code) for code in re.findall(r"\b\d+\b", line)} <= set(data.EXIT_CODES), line


# -- the state directory


def test_every_file_of_the_state_directory_stands_in_the_reference_and_no_other(tmp_path: Path) -> None:
    now = datetime(2026, 11, 20, 10, tzinfo=UTC)
    path = volume.ledger_path(tmp_path, "w")
    path.write_bytes(b"no ledger" * 100)
    path.chmod(volume.FILE_MODE)
    opened = opening.open_ledger(path, opening.Owner(workload="w", product_code="p", region="r"), now)
    try:
        kept_file.replace(kept_file.answer_path(tmp_path, "w"), "{}")
        kept_file.replace(kept_file.pass_path(tmp_path, "w"), "{}")
        kept_file.replace(kept_file.contract_path(tmp_path, "w"), "{}")
        kept_file.replace(kept_file.seats_path(tmp_path, "w"), "{}")
        lock = seats_lock.take(kept_file.seats_path(tmp_path, "w"))
        kept_file.spare_workload_id(tmp_path)
        free = settings(probe_bind="127.0.0.1:0", state_dir=str(tmp_path))
        listening = listeners.listen(free, backlog=None)
        own_file = Path(address_file.default_path(str(tmp_path), {"POD_UID": "0" * 32}))
        addresses.publish(own_file, free, listening, "0" * 32)
        listeners.close(listening)
        volume.beside(path, 1).touch(mode=0o600)
        with live_copy.copied(path, path):
            modes = {one.name: one.stat().st_mode & 0o777 for one in tmp_path.iterdir()}
    finally:
        opened.connection.close()
        opened.lock.release()
        if lock:
            lock.close()
    made = {re.sub(r"(?<=-)[0-9a-f]{32}|(?<=\.v)\d+|(?<=corrupt-)\w+", "…", name) for name in modes}
    assert made == set(first_column("state-directory.md", "File"))
    assert set(modes.values()) == {0o600}


def test_the_reference_says_how_long_the_ledger_keeps_records() -> None:
    page = PAGES["state-directory.md"]
    assert f"| {ledger_records.RETENTION.days} days after their hour" in page
    assert f"| the newest {ledger_records.ATTEMPTS_KEPT:,} |".replace(",", " ") in page


# -- measurements


def test_the_results_have_the_measured_ratios_and_the_command_that_makes_them() -> None:
    results = (ROOT / "bench" / "RESULTS.md").read_text()
    measured = results.split("<!-- bench -->\n")[1].split("<!-- /bench -->")[0]
    for measure in ("C1", "C2", "C3", "C4", "M1", "M3", "D1"):
        assert re.search(rf"^\| {measure} \|.*[0-9]x", measured, re.MULTILINE), measure
    assert "bench/run" in results
