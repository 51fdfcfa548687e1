"""Change the schema step by step, oldest first."""
