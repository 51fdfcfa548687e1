"""Show one read-only page for a person: the gate, what waits, and the last hours of each dimension."""
