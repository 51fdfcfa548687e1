"""Start a short-lived child process, read its lines and end it."""
