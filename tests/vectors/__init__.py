"""Tokens with their verdicts, for every language that verifies a proof."""
