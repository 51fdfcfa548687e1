"""Decide whether this workload may run. Pure: no I/O, no clock, no log."""
