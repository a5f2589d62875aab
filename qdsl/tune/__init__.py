"""Alternatives of a target's table, decided by ranges or by timing."""
