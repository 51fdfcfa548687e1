"""Check a product manifest against the rules of a listing."""
