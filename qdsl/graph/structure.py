"""Structural predicates: layers and blocks of a graph known by their shape, whatever their names.

Each takes a `GraphView` and returns node indices, in time linear in the graph (`residual_add`: times its logarithm),
without recursion, once per view.
"""

from __future__ import annotations

from qdsl.graph.neighbours import Weight, weighted
from qdsl.graph.structure_activations import Spelled, activation, gelu, silu, spelled
from qdsl.graph.structure_blocks import depthwise, layer_norm, pointwise
from qdsl.graph.structure_branches import head_branches, mixed_concats
from qdsl.graph.structure_head import decode_head
from qdsl.graph.structure_residual import residual_add, residual_skips

__all__ = [
    "Spelled",
    "Weight",
    "activation",
    "decode_head",
    "depthwise",
    "gelu",
    "head_branches",
    "layer_norm",
    "mixed_concats",
    "pointwise",
    "residual_add",
    "residual_skips",
    "silu",
    "spelled",
    "weighted",
]
