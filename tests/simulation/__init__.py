"""Simulate years of a pod's life in seconds: the real packages under a simulated clock, network, disk and AWS."""
