"""Decide what is owed for an hour. Pure: no I/O, no clock, no log, no randomness."""
