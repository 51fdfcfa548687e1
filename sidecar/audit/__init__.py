"""Compare what AWS billed with what was used."""
