"""Meter the customers of a SaaS product, which runs in the seller's account."""
