"""Identify the ECS task or EKS pod, and its region."""
