"""Carry HTTP from the sockets to the router, and bound what one client may cost."""
