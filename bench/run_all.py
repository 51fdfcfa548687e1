"""Runs every benchmark and prints one table; exit status 1 when a floor is missed.

bench/run [--quick] [--markdown | --json] [--rounds N]
"""

from __future__ import annotations

import cold_start
import healthcheck
import idle
import memory
import table

if __name__ == "__main__":
    raise SystemExit(table.main(__doc__ or "", cold_start.measure, memory.measure, idle.measure, healthcheck.measure))
