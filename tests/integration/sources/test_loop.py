"""What is pulled is on disk once, whatever breaks between a reading and its commit."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from sidecar.quick_dataclasses import replace
from sidecar.settings.pull_sources import PullSource, SourceKind, SourceTake
from sidecar.sources.kubernetes import Cluster
from tests.integration.sources.support import Product, Pull, counter, gauge

HEARTBEAT = PullSource(kind=SourceKind.HEARTBEAT, dimension="hours")


def test_a_counter_is_counted_to_the_digit(product: Product, pull: Pull) -> None:
    for value in ("10", "10.1", "17.000001", "0.30000000000000004"):
        product.say(f"requests_total {value}\n")
        pull.read()
    assert pull.counted() == Decimal("7.000001") + Decimal("0.3")


def test_a_product_that_begins_after_us_is_counted_from_zero(tmp_path: Path, product: Product) -> None:
    port = product.port
    product.close()
    pull = Pull(tmp_path, [counter(product.url)])
    pull.read()
    assert pull.reason == "target_unreachable"
    pull.restart()
    product = Product(port)
    product.say("requests_total 12\n")
    pull.read()
    assert (pull.reason, pull.counted()) == ("", 12)
    product.close()
    pull.ledger.close()


def test_a_restart_of_ours_loses_nothing_and_counts_nothing_twice(product: Product, pull: Pull) -> None:
    product.say("requests_total 100\n")
    pull.read()
    product.say("requests_total 107\n")
    pull.restart()
    pull.read()
    pull.restart()
    pull.read()
    assert pull.counted() == 7


def test_a_source_that_fails_is_loud_and_the_next_reading_has_everything(product: Product, pull: Pull) -> None:
    product.say("requests_total 100\n")
    pull.read()
    product.status = 500
    product.say("requests_total 150\n")
    pull.read()
    (status,) = pull.loop.statuses
    document = status.document()
    assert (pull.reason, pull.counted(), document["reason"]) == ("target_refused", 0, "target_refused")
    assert "500" in str(document["hint"])
    product.status = 200
    product.say("requests_total 160\n")
    pull.read()
    assert (pull.reason, pull.counted(), status.failing_since) == ("", 60, None)


def test_a_page_without_the_metric_shows_that_its_counter_begins_later(product: Product, pull: Pull) -> None:
    """Some clients write nothing of a metric that has no series yet."""
    product.say("# TYPE go_goroutines gauge\ngo_goroutines 8\n")
    pull.read()
    assert pull.reason == "metric_missing"
    pull.restart()
    product.say('requests_total{tenant="a"} 5\n')
    pull.read()
    assert (pull.reason, pull.counted()) == ("", 5)


@pytest.mark.parametrize("body", ["", "<html>starting</html>\n", "ok\n"])
def test_a_page_without_any_metric_says_nothing_of_where_a_counter_begins(
    body: str, product: Product, pull: Pull
) -> None:
    product.say(body)
    pull.read()
    assert pull.reason == "metric_missing"
    product.say("requests_total 5\n")
    pull.read()
    assert (pull.reason, pull.counted()) == ("", 0)


def test_a_ledger_that_takes_nothing_is_a_fault_and_loses_nothing(product: Product, pull: Pull) -> None:
    product.say("requests_total 100\n")
    pull.read()
    pull.ledger.stop_pushes()
    product.say("requests_total 150\n")
    pull.read()
    assert pull.reason == "shutting_down"
    pull.restart()
    pull.read()
    assert pull.counted() == 50


def test_a_source_is_read_when_it_is_due_and_not_before(product: Product, pull: Pull) -> None:
    product.say("requests_total 1\n")
    pull.read(0)
    pull.read(29)
    assert len(product.asked) == 1
    assert pull.loop.pause_seconds() == pytest.approx(1)
    pull.read(1)
    assert len(product.asked) == 2


def test_one_source_that_fails_holds_up_no_other(tmp_path: Path, product: Product) -> None:
    product.say("requests_total 5\n# TYPE sessions gauge\nsessions 3\n")
    pull = Pull(tmp_path, [counter("http://127.0.0.1:9/"), gauge(product.url)])
    pull.read()
    product.say("requests_total 5\nsessions 2\n")
    pull.read()
    assert (pull.reason, pull.counted("peak")) == ("target_unreachable", 3)
    pull.ledger.close()


def test_a_heartbeat_counts_each_hour_once_across_restarts(tmp_path: Path) -> None:
    pull = Pull(tmp_path, [HEARTBEAT])
    for _ in range(3):
        pull.read(600)
        pull.read(600)
        pull.restart()
    assert pull.counted("hours") == 2, "12 and 13 o'clock"
    pull.ledger.close()


def test_a_heartbeat_counts_nothing_while_the_gate_is_shut(tmp_path: Path) -> None:
    pull = Pull(tmp_path, [HEARTBEAT])
    pull.entitled = False
    pull.read()
    assert pull.counted("hours") == 0
    pull.entitled = True
    pull.read()
    assert pull.counted("hours") == 1
    pull.ledger.close()


def test_a_heartbeat_looks_at_the_clock_twice_a_minute_and_when_the_hour_ends(tmp_path: Path) -> None:
    pull = Pull(tmp_path, [HEARTBEAT])
    pull.read(600)
    assert pull.loop.pause_seconds() == 30
    pull.read(2990)
    assert pull.loop.pause_seconds() == 10
    pull.ledger.close()


def test_a_heartbeat_counts_the_hour_in_which_a_suspended_host_goes_on(tmp_path: Path) -> None:
    """Its monotonic clock stood meanwhile: a pause until the hour's end would end in the hour after that one."""
    pull = Pull(tmp_path, [HEARTBEAT])
    pull.read(60)
    pause = pull.loop.pause_seconds()
    pull.clock.at += timedelta(hours=5, minutes=40)
    pull.read(pause)
    assert (pull.counted("hours"), pull.now.hour) == (2, 17)
    pull.ledger.close()


def test_a_heartbeat_whose_quantity_changed_counts_its_hour_no_second_time(tmp_path: Path) -> None:
    pull = Pull(tmp_path, [HEARTBEAT])
    pull.read()
    pull.sources = (replace(HEARTBEAT, quantity=Decimal(5)),)
    pull.restart()
    pull.read()
    assert (pull.counted("hours"), pull.reason) == (1, "")
    pull.read(3600)
    assert pull.counted("hours") == 6
    pull.ledger.close()


def test_when_the_workload_begins_to_end_pages_are_read_each_second(product: Product, pull: Pull) -> None:
    product.say("requests_total 1\n")
    pull.read(0)
    pull.loop.prepare_stop()
    for value in (2, 3):
        product.say(f"requests_total {value}\n")
        pull.read(1)
    assert pull.counted() == 2


def test_the_end_has_a_last_reading(product: Product, pull: Pull) -> None:
    product.say("requests_total 1\n")
    pull.loop.start()
    wait_until(lambda: product.asked)
    wait_until(lambda: pull.loop.statuses[0].reads)
    product.say("requests_total 9\n")
    pull.loop.finish(5)
    assert pull.counted() == 8


def test_the_end_does_not_wait_for_a_product_that_is_silent(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        pull = Pull(tmp_path, [counter(f"http://127.0.0.1:{server.getsockname()[1]}/")])
        pull.loop.start()
        began = time.monotonic()
        pull.loop.finish(0.1)
        assert time.monotonic() - began < 1


def test_without_a_token_a_count_says_what_is_missing(tmp_path: Path) -> None:
    source = PullSource(kind=SourceKind.KUBERNETES, dimension="peak", take=SourceTake.MAXIMUM)
    pull = Pull(tmp_path, [source], cluster_mount="/mount")
    pull.read()
    fault = pull.loop.statuses[0].fault
    assert fault is not None
    assert (fault.reason, "/mount" in fault.hint) == ("cluster_unconfigured", True)
    pull.ledger.close()


def test_a_count_that_no_api_answers_is_a_fault(tmp_path: Path) -> None:
    """The child is a real one."""
    cluster = Cluster(mount=str(tmp_path), host="127.0.0.1", port="9", namespace="own")
    source = PullSource(kind=SourceKind.KUBERNETES, dimension="peak", take=SourceTake.MAXIMUM)
    pull = Pull(tmp_path / "state", [source], cluster=cluster)
    pull.read()
    assert pull.reason == "cluster_unreachable"
    pull.ledger.close()


KILLED = """
import sys
from pathlib import Path
from tests.integration.sources.support import killed
killed(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
"""


def test_a_kill_between_a_reading_and_its_commit_changes_nothing_of_the_bill(tmp_path: Path, product: Product) -> None:
    product.say("requests_total 100\n")
    first = Pull(tmp_path, [counter(product.url)])
    first.read()
    first.ledger.close()
    for value, when in ((110, "before"), (130, "after")):
        product.say(f"requests_total {value}\n")
        command = [sys.executable, "-c", KILLED, str(tmp_path), product.url, when]
        assert subprocess.run(command, check=False, timeout=60).returncode == 9
    last = Pull(tmp_path, [counter(product.url)])
    last.read()
    assert last.counted() == 30
    last.ledger.close()


def wait_until(condition: object, seconds: float = 10) -> None:
    assert callable(condition)
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.005)
