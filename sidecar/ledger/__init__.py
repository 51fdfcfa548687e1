"""Keep usage, records and the last verified answer on disk."""
