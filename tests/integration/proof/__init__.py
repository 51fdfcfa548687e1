"""Verifying a proof in the languages of the examples."""
