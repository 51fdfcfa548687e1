"""Put the sidecar together, start it and stop it."""
