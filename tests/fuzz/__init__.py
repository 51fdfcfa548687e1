"""Search what strangers send, for bytes that the code does not answer as it should."""
