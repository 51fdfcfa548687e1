"""Ask AWS Marketplace whether a container may run, and bill what it used."""

__version__ = "0.1.0"
