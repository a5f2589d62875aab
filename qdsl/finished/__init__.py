"""Finished files: what a model that somebody quantized holds, read into the tensors and edges that a plan has."""
