"""Call AWS Marketplace through the SDK and return its answers as values."""
