"""Ranges: measured on data, taken from a lock, measured again, cut where only wider scales would follow."""
