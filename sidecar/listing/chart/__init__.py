"""Check a Helm chart against the rules of a listing."""
