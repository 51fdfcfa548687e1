"""Pull usage from where it is counted already, and push it like a product does."""
