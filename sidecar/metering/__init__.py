"""What is owed for this hour? Hours, usage, rollup, records, outcomes: no I/O, no clock, no log, no chance."""
