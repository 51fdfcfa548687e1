"""Check an image against the rules of a listing."""
