"""Selectors over a graph: which nodes, tensors and connections a line of a recipe speaks of."""
