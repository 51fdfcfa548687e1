"""A discrete-event simulation of fleets against AWS's quotas, with the project's own retry rules and schedule."""
