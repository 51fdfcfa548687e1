"""Render ECS task definitions with the sidecar in them. Pure: no I/O."""
