"""Runs every benchmark and prints one table; exit status 1 when a floor is missed.

bench/run [--quick] [--markdown | --json] [--rounds N] [--loader wrk|python] [--peer PATH]
"""

from __future__ import annotations

import beside_peer
import cold_start
import crash
import fsyncs
import healthcheck
import idle
import ingest
import ledger_growth
import memory
import table

MEASURES = (
    cold_start.measure, memory.measure, idle.measure, healthcheck.measure,
    ingest.measure, beside_peer.measure, ledger_growth.measure, crash.measure, fsyncs.measure,
)  # fmt: skip

if __name__ == "__main__":
    raise SystemExit(table.main(__doc__ or "", *MEASURES))
