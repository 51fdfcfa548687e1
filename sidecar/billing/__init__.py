"""Seal, submit and settle the hours of this workload."""
