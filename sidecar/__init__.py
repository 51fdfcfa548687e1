"""The entitlement sidecar: may this AWS Marketplace container run, and what did it use?"""

__version__ = "0.1.0"
