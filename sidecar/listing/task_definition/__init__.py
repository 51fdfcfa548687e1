"""Check a task definition against the rules of a listing."""
