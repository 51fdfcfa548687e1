"""The API's description, held against a real process by a tool that knows nothing of the code."""
