"""Every check has a finding, whatever another one does."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any, cast

from sidecar.doctor.context import Context
from sidecar.doctor.diagnosis import CHECK_SECONDS, LAST_SECONDS, TOTAL_SECONDS, diagnose
from sidecar.doctor.finding import Finding, Status, failed, passed, warned
from sidecar.doctor.table import CHECKS, Check

RULE = "It is so."
CONTEXT = Context(env={})
SECRET = "AKIAIOSFODNN7EXAMPLE"


def row(id_: str, finding: Any, *needs: str) -> Check:
    def check(_: Context) -> Finding:
        return cast(Finding, finding() if callable(finding) else finding)

    return Check(id=id_, module=cast(Any, SimpleNamespace(RULE=RULE, FIXES={}, check=check)), needs=needs)


def raises() -> Finding:
    raise RuntimeError(f"cannot use {SECRET}")


def test_a_check_that_breaks_fails_with_its_class_and_the_next_one_runs() -> None:
    found = diagnose(CONTEXT, [row("one", raises), row("two", passed(RULE, "fine"))]).findings
    assert found["one"].status is Status.FAIL
    assert found["one"].seen == "the check broke: RuntimeError"
    assert SECRET not in str(found)
    assert found["two"].status is Status.PASS


def test_a_check_that_does_not_end_fails_and_the_next_one_runs() -> None:
    never = threading.Event()
    rows = [row("stuck", never.wait), row("next", passed(RULE, "fine"))]
    found = diagnose(CONTEXT, rows, seconds=0.05).findings
    never.set()
    assert found["stuck"].status is Status.FAIL
    assert "did not end within" in found["stuck"].seen
    assert found["next"].status is Status.PASS


def test_once_the_time_is_over_a_check_that_hangs_ends_soon() -> None:
    never, clock = threading.Event(), iter([0.0, 60.0])
    found = diagnose(CONTEXT, [row("a", never.wait)], monotonic=lambda: next(clock)).findings
    never.set()
    assert found["a"].seen == f"the check did not end within {LAST_SECONDS:g} s"


def test_a_minute_is_enough_for_the_diagnosis_whatever_hangs() -> None:
    assert TOTAL_SECONDS + len(CHECKS) * LAST_SECONDS < 60
    assert CHECK_SECONDS < TOTAL_SECONDS


def test_once_the_time_is_over_a_quick_check_still_runs() -> None:
    clock = iter([0.0, 60.0])
    found = diagnose(CONTEXT, [row("a", passed(RULE, "fine"))], monotonic=lambda: next(clock)).findings
    assert found["a"].status is Status.PASS


def test_what_needs_a_failed_check_is_skipped_and_says_which_along_a_chain() -> None:
    rows = [
        row("a", failed(RULE, "bad", "mend it")),
        row("b", passed(RULE, "fine"), "a"),
        row("c", passed(RULE, "fine"), "b"),
    ]
    found = diagnose(CONTEXT, rows).findings
    assert [found[id_].status for id_ in "abc"] == [Status.FAIL, Status.SKIP, Status.SKIP]
    assert "a" in found["b"].seen
    assert "b" in found["c"].seen


def test_what_needs_a_warning_or_a_check_that_does_not_apply_is_run() -> None:
    skip = Finding(status=Status.SKIP, seen="no manifest", rule=RULE)
    rows = [row("a", warned(RULE, "odd", "mend it")), row("b", skip), row("c", passed(RULE, "fine"), "a", "b")]
    assert diagnose(CONTEXT, rows).findings["c"].status is Status.PASS


def test_only_a_failure_makes_the_diagnosis_not_ok() -> None:
    assert diagnose(CONTEXT, [row("a", warned(RULE, "odd", "mend it"))]).ok
    assert not diagnose(CONTEXT, [row("a", failed(RULE, "bad", "mend it"))]).ok


def test_the_document_has_the_fields_of_the_contract() -> None:
    document = diagnose(CONTEXT, [row("a", failed(RULE, "bad", "mend it"))]).as_json()
    one = {"id": "a", "status": "fail", "seen": "bad", "rule": RULE, "fix": "mend it"}
    assert document == {"ok": False, "checks": [one]}


def test_progress_names_each_check_before_it_runs() -> None:
    named: list[str] = []
    diagnose(CONTEXT, [row("a", lambda: passed(RULE, ",".join(named)))], begun=named.append)
    assert named == ["a"]
