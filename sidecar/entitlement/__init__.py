"""May this task or pod run? Registration, token, answers, status machine: no I/O, no clock, no log."""
