"""What does the product see, and what do the probes? HTTP over what the agent hands in."""
