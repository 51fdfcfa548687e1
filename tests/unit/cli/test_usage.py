"""`report` and `usage` against a fake sidecar."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any

import pytest

from sidecar.__main__ import main
from sidecar.cli import usage
from sidecar.errors import Exit
from tests.fakes.config import NOWHERE
from tests.fakes.peer import Peer, Received, http_answer
from tests.ports import free_port, needs_ipv6

Capture = pytest.CaptureFixture[str]
Env = pytest.MonkeyPatch
KEPT = http_answer(200, {"accepted": 1, "duplicates": 0})
RECORD = {
    "hour": "2026-11-20T10:00:00Z",
    "dimension": "requests",
    "state": "settled",
    "quantity": "7.5",
    "metering_record_id": "r-1",
    "last_error": None,
    "attempts": 1,
    "kind": "meter_usage",
}
HEADER = "HOUR\tDIMENSION\tSTATE\tQUANTITY\tRECORD_ID\tLAST_ERROR\tAWS_QUANTITY\tWORKLOAD\tKIND\n"


@pytest.fixture(autouse=True)
def bare(monkeypatch: Env) -> None:
    for name in list(os.environ):
        if name.startswith("SIDECAR_"):
            monkeypatch.delenv(name)


@pytest.fixture
def at(monkeypatch: Env) -> Any:
    """Return a function that makes a peer the sidecar of this container."""
    return lambda peer: monkeypatch.setenv("SIDECAR_API_BIND", f"127.0.0.1:{peer.port}")


def code(*argv: str) -> int:
    try:
        return main(list(argv), str(NOWHERE))
    except SystemExit as exc:
        return int(exc.code or 0)


def problem(status: int, reason: str, detail: str) -> bytes:
    return http_answer(status, {"status": status, "reason": reason, "detail": detail})


def sent(peer: Peer) -> list[tuple[str, str, Any]]:
    """Return method, target and JSON of each request."""
    return [(one.method, one.target, json.loads(one.body) if one.body else None) for one in peer.requests]


# -- report


def test_a_report_is_one_event_with_a_new_id(at: Any, capsys: Capture) -> None:
    with Peer([KEPT]) as peer:
        at(peer)
        assert code("report", "requests", "7") == Exit.OK
    ((method, target, event),) = sent(peer)
    assert (method, target) == ("POST", "/v1/usage")
    assert event.keys() == {"id", "dimension", "quantity"}
    assert (event["dimension"], event["quantity"]) == ("requests", "7")
    assert len(event["id"]) == 32
    assert capsys.readouterr() == ("accepted\n", "")


def test_every_flag_of_a_report_is_sent_as_written(at: Any) -> None:
    flags = ["--id", "i-1", "--tag", "tenant=a=b", "--tag", "team=", "--at", "2026-11-20T10:15:00Z", "--key", "k"]
    with Peer([KEPT]) as peer:
        at(peer)
        assert code("report", "gb", "0.250", *flags) == Exit.OK
    ((_, _, event),) = sent(peer)
    assert event == {
        "dimension": "gb",
        "quantity": "0.250",
        "id": "i-1",
        "tags": {"tenant": "a=b", "team": ""},
        "at": "2026-11-20T10:15:00Z",
        "key": "k",
    }


def test_each_command_sends_the_token_where_one_is_set(at: Any, monkeypatch: Env, tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("token-of-the-test\n")
    records = http_answer(200, {"records": [RECORD]})
    commands = (["report", "requests", "7"], ["usage"], ["usage", "--json"], ["usage", "retry"], ["usage", "export"])
    for token, expected in ((str(path), "Bearer token-of-the-test"), ("", None)):
        monkeypatch.setenv("SIDECAR_API_TOKEN_FILE", token)
        for command in commands:
            with Peer([KEPT if command[0] == "report" else records]) as peer:
                at(peer)
                assert code(*command) == Exit.OK
            assert [one.headers.get("authorization") for one in peer.requests] == [expected], command
            assert {one.headers["host"] for one in peer.requests} == {"localhost"}


def test_a_token_file_that_cannot_be_read_is_a_setting(at: Any, monkeypatch: Env, capsys: Capture) -> None:
    monkeypatch.setenv("SIDECAR_API_TOKEN_FILE", "/nonexistent/token")
    with Peer([KEPT]) as peer:
        at(peer)
        assert code("report", "requests", "7") == 78
    assert not peer.requests
    assert "/nonexistent/token" in capsys.readouterr().err


@pytest.mark.parametrize("command", [["usage"], ["usage", "--json"], ["usage", "retry"], ["usage", "export"]])
def test_no_control_character_of_an_answer_reaches_the_terminal(
    at: Any, monkeypatch: Env, capsys: Capture, command: list[str]
) -> None:
    record = RECORD | {"last_error": "\x1b[2J\x9b1m\u202e", "dimension": "grün"}
    text = json.dumps({"records": [record]}, ensure_ascii=False)
    for answer in (http_answer(200, text), problem(409, "\x1b[2J", "\x9b1m\u202e")):
        with Peer([answer]) as peer:
            at(peer)
            code(*command)
        shown = "".join(capsys.readouterr())
        assert shown.replace("\n", "").replace("\t", "").isprintable(), shown
        assert "[2J" in shown
        if command[-1] == "--json" and answer.startswith(b"HTTP/1.1 200"):
            assert json.loads(shown) == {"records": [record]}


@needs_ipv6
def test_the_ipv6_loopback_is_asked_where_nothing_listens_on_the_ipv4_one(monkeypatch: Env, capsys: Capture) -> None:
    with Peer([KEPT], "::1") as peer:
        monkeypatch.setenv("SIDECAR_API_BIND", f"127.0.0.1:{peer.port},[::1]:{peer.port}")
        assert code("report", "requests", "7") == Exit.OK
        monkeypatch.setenv("SIDECAR_API_BIND", f"127.0.0.1:{peer.port}")
        assert code("report", "requests", "7") == Exit.UNAVAILABLE
    assert f"127.0.0.1:{peer.port}" in capsys.readouterr().err
    assert [one.headers["host"] for one in peer.requests] == ["localhost"]


def test_two_reports_have_two_ids(at: Any) -> None:
    with Peer([KEPT]) as peer:
        at(peer)
        for _ in range(2):
            assert code("report", "requests", "7") == Exit.OK
    first, second = (event["id"] for _, _, event in sent(peer))
    assert first != second


def test_a_report_with_a_known_id_prints_duplicate(at: Any, capsys: Capture) -> None:
    with Peer([http_answer(200, {"accepted": 0, "duplicates": 1})]) as peer:
        at(peer)
        assert code("report", "requests", "7", "--id", "i") == Exit.OK
    assert capsys.readouterr().out == "duplicate\n"


@pytest.mark.parametrize("status", [400, 404, 409, 413, 422])
def test_a_refused_report_has_its_reason_and_is_not_retried(at: Any, capsys: Capture, status: int) -> None:
    with Peer([problem(status, "some_reason", "Event 0:\n why.")]) as peer:
        at(peer)
        assert code("report", "requests", "7") == Exit.REFUSED
    assert len(peer.requests) == 1
    assert capsys.readouterr() == ("", "refused (some_reason): Event 0: why.\n")


@pytest.mark.parametrize("status", [500, 503])
def test_a_report_that_cannot_be_stored_now_is_69(at: Any, capsys: Capture, status: int) -> None:
    with Peer([problem(status, "ledger_full", "Free some space.")]) as peer:
        at(peer)
        assert code("report", "requests", "7") == Exit.UNAVAILABLE
    assert len(peer.requests) == 1
    assert "ledger_full" in capsys.readouterr().err


def test_a_report_whose_response_is_lost_is_retried_with_its_id(at: Any, capsys: Capture) -> None:
    pauses: list[float] = []
    with Peer([b"", b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{", KEPT]) as peer:
        at(peer)
        assert usage.report({"dimension": "requests", "quantity": "7"}, pauses.append) == Exit.OK
    assert len({event["id"] for _, _, event in sent(peer)}) == 1
    assert (len(peer.requests), pauses) == (3, [0.2, 0.5])
    assert capsys.readouterr() == ("accepted\n", "")


def test_a_report_is_retried_twice(at: Any, capsys: Capture) -> None:
    with Peer([b""]) as peer:
        at(peer)
        event = {"dimension": "requests", "quantity": "7"}
        assert usage.report(event, lambda _: None) == Exit.UNAVAILABLE
    assert len(peer.requests) == 3
    assert "no sidecar answers at 127.0.0.1:" in capsys.readouterr().err


@pytest.mark.parametrize("response", [http_answer(200, "<html>"), http_answer(200, "[]"), http_answer(404, "<html>")])
def test_another_server_is_recognized(at: Any, capsys: Capture, response: bytes) -> None:
    with Peer([response]) as peer:
        at(peer)
        for argv in (("report", "requests", "7"), ("usage",), ("usage", "--json"), ("usage", "retry")):
            assert code(*argv) == Exit.UNAVAILABLE
    assert capsys.readouterr() == ("", "what answers there is not the sidecar\n" * 4)


@pytest.mark.parametrize("argv", [("usage",), ("usage", "--json"), ("usage", "retry"), ("usage", "export")])
def test_without_a_sidecar_every_command_is_69(monkeypatch: Env, capsys: Capture, argv: tuple[str, ...]) -> None:
    monkeypatch.setenv("SIDECAR_API_BIND", f"127.0.0.1:{free_port()}")
    assert code(*argv) == Exit.UNAVAILABLE
    out, err = capsys.readouterr()
    assert out == ""
    assert "SIDECAR_API_BIND" in err


def test_an_address_without_a_port_is_a_bad_setting(monkeypatch: Env) -> None:
    monkeypatch.setenv("SIDECAR_API_BIND", "localhost")
    assert code("usage") == Exit.CONFIG


@pytest.mark.parametrize(
    "argv",
    [
        ("report",),
        ("report", "requests"),
        ("report", "a", "1", "--tag", "x"),
        ("report", "a", "1", "--tag", "t=x", "--tag", "t=y"),
    ],
)
def test_an_incomplete_report_is_a_usage_error(argv: tuple[str, ...]) -> None:
    assert code(*argv) == 2


# -- usage


def test_records_are_a_table_with_a_dash_for_an_empty_cell(at: Any, capsys: Capture) -> None:
    odd = RECORD | {
        "dimension": "a\tb\nc",
        "metering_record_id": None,
        "last_error": "",
        "aws_quantity": "5",
        "workload": "pod-0",
        "kind": None,
    }
    with Peer([http_answer(200, {"records": [RECORD, odd]})]) as peer:
        at(peer)
        assert code("usage") == Exit.OK
    assert sent(peer) == [("GET", "/v1/usage", None)]
    assert capsys.readouterr().out == (
        HEADER
        + "2026-11-20T10:00:00Z\trequests\tsettled\t7.5\tr-1\t-\t-\t-\tmeter_usage\n"
        + "2026-11-20T10:00:00Z\ta b c\tsettled\t7.5\t-\t-\t5\tpod-0\t-\n"
    )


def test_records_of_customers_have_a_last_column_that_names_them(at: Any, capsys: Capture) -> None:
    customers = ({"license_arn": "arn:l-1", "aws_account_id": "123456789012"}, {"identifier": "ident-1"}, None)
    with Peer([http_answer(200, {"records": [{**RECORD, "customer": one} for one in customers]})]) as peer:
        at(peer)
        assert code("usage") == Exit.OK
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == HEADER.strip() + "\tCUSTOMER"
    assert [line.split("\t")[-1] for line in lines[1:]] == ["arn:l-1", "ident-1", "-"]


def test_a_refused_notice_is_named_by_its_place_on_stdin(at: Any, capsys: Capture, monkeypatch: Env) -> None:
    refused = problem(400, "notice_unreadable", "no")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"{} {} {}")))
    with Peer([refused, http_answer(200, {"changed": 1}), refused]) as peer:
        at(peer)
        assert code("saas", "notices") == Exit.REFUSED
    out, err = capsys.readouterr()
    assert out == "1 taken\n"
    assert [line.split(":")[0] for line in err.splitlines()] == ["notice 1", "notice 3"]


def test_without_records_the_table_is_its_header(at: Any, capsys: Capture) -> None:
    with Peer([http_answer(200, {"records": []})]) as peer:
        at(peer)
        assert code("usage") == Exit.OK
    assert capsys.readouterr().out == HEADER


def test_as_json_the_body_is_printed_unchanged(at: Any, capsys: Capture) -> None:
    body = '{"records": [ {"dimension": "é"} ]}'
    with Peer([http_answer(200, body)]) as peer:
        at(peer)
        assert code("usage", "--json") == Exit.OK
    assert capsys.readouterr().out == body + "\n"


# -- usage retry

RETRIED = http_answer(200, {"records": [RECORD | {"state": "sealed"}]})


@pytest.mark.parametrize(
    ("argv", "body"),
    [
        ((), {"act": "retry"}),
        (("--hour", "H", "--dimension", "D"), {"act": "retry", "hour": "H", "dimension": "D"}),
        (("--workload", "W", "--roll-forward"), {"act": "roll_forward", "workload": "W"}),
        (
            ("--hour", "H", "--dimension", "D", "--accept-aws", "2.5"),
            {"act": "accept_aws", "hour": "H", "dimension": "D", "quantity": "2.5"},
        ),
        (("--roll-forward",), {"act": "roll_forward"}),
        (("--roll-forward", "--hour", "H"), {"act": "roll_forward", "hour": "H"}),
        (
            ("--confirm", "r-1", "--hour", "H", "--dimension", "D"),
            {"act": "confirm", "metering_record_id": "r-1", "hour": "H", "dimension": "D"},
        ),
        (("--confirm", ""), {"act": "confirm", "metering_record_id": ""}),
    ],
)
def test_a_decision_is_sent_and_the_changed_records_are_printed(
    at: Any, capsys: Capture, argv: tuple[str, ...], body: dict[str, str]
) -> None:
    with Peer([RETRIED]) as peer:
        at(peer)
        assert code("usage", "retry", *argv) == Exit.OK
    assert sent(peer) == [("POST", "/v1/usage/retry", body)]
    out, err = capsys.readouterr()
    assert (out.startswith(HEADER), "\tsealed\t" in out, err) == (True, True, "")


def test_a_retry_without_matching_records_prints_a_note(at: Any, capsys: Capture) -> None:
    with Peer([http_answer(200, {"records": []})]) as peer:
        at(peer)
        assert code("usage", "retry") == Exit.OK
    out, err = capsys.readouterr()
    assert (out, "no record was changed" in err) == ("", True)


@pytest.mark.parametrize(("status", "end"), [(400, Exit.REFUSED), (409, Exit.REFUSED), (503, Exit.UNAVAILABLE)])
def test_a_refused_decision_has_its_reason(at: Any, capsys: Capture, status: int, end: Exit) -> None:
    with Peer([problem(status, "some_reason", "Why.")]) as peer:
        at(peer)
        assert code("usage", "retry") == end
    assert len(peer.requests) == 1, "a decision is not made twice"
    assert capsys.readouterr() == ("", "refused (some_reason): Why.\n")


def test_a_decision_is_never_retried(at: Any) -> None:
    with Peer([b"", RETRIED]) as peer:
        at(peer)
        assert code("usage", "retry") == Exit.UNAVAILABLE
    assert len(peer.requests) == 1


def test_a_record_cannot_be_both_rolled_forward_and_confirmed() -> None:
    assert code("usage", "retry", "--roll-forward", "--confirm", "r-1") == 2


# -- usage export


def page(lines: str, next_page: str = "") -> bytes:
    return http_answer(200, lines, **({"Link": f'<{next_page}>; rel="next"'} if next_page else {}))


def pages(received: Received) -> bytes:
    return {
        "/v1/usage/export": page('{"n": 1}\n{"n": 2}\n', "/v1/usage/export?after=2"),
        "/v1/usage/export?after=2": page("", "/v1/usage/export?after=3"),
        "/v1/usage/export?after=3": page('{"n": 3}\n'),
    }[received.target]


def test_an_export_is_every_page_in_order(at: Any, capsys: Capture) -> None:
    with Peer(pages) as peer:
        at(peer)
        assert code("usage", "export") == Exit.OK
    assert capsys.readouterr() == ('{"n": 1}\n{"n": 2}\n{"n": 3}\n', "")


def test_a_slow_export_prints_its_progress(at: Any, capsys: Capture) -> None:
    seconds = iter(range(0, 1000, 3))
    with Peer(pages) as peer:
        at(peer)
        assert usage.export(lambda: float(next(seconds))) == Exit.OK
    assert capsys.readouterr().err.splitlines() == ["2 lines", "2 lines", "3 lines", "3 lines, complete"]


def test_an_interrupted_export_is_reported_as_incomplete(at: Any, capsys: Capture) -> None:
    with Peer([page('{"n": 1}\n', "/v1/usage/export?after=2"), problem(503, "ledger_io_error", "Look.")]) as peer:
        at(peer)
        assert code("usage", "export") == Exit.UNAVAILABLE
    out, err = capsys.readouterr()
    assert out == '{"n": 1}\n'
    assert err == "refused (ledger_io_error): Look.\nthe export ended after 1 lines and is incomplete\n"


def test_an_export_whose_page_links_to_itself_ends(at: Any, capsys: Capture) -> None:
    with Peer([page('{"n": 1}\n', "/v1/usage/export?after=2")]) as peer:
        at(peer)
        assert code("usage", "export") == Exit.UNAVAILABLE
    assert (len(peer.requests), "incomplete" in capsys.readouterr().err) == (2, True)


@pytest.mark.parametrize("link", ["http://elsewhere/v1/usage/export?after=2", "/v1/status", "/v1/usage/export?a> <b"])
def test_an_export_follows_no_foreign_link(at: Any, capsys: Capture, link: str) -> None:
    with Peer([page('{"n": 1}\n', link)]) as peer:
        at(peer)
        assert code("usage", "export") == Exit.UNAVAILABLE
    assert (len(peer.requests), "incomplete" in capsys.readouterr().err) == (1, True)
