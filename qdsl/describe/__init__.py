"""A plan in words: the whole of it, and why one node or tensor is as it is."""
