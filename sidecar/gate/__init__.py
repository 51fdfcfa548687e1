"""Ask AWS whether this workload may run, and hold the state of the gate."""
