"""Weights that have no scale per channel or block: vectors, stacks of matrices, and those whose kernel takes one."""

from __future__ import annotations

from qdsl.capability import Row
from qdsl.graph.view import NodeView
from qdsl.plan.context import Context
from qdsl.spec import Granularity, Scheme


def blockless(context: Context, node: NodeView) -> bool:
    """Whether blocks are asked for of a weight that is a vector."""
    scheme = context.weight(node.index).scheme
    if scheme is None or scheme.granularity is not Granularity.PER_BLOCK:
        return False
    return any(is_vector(context, node, port) for port in context.rows[node.index].weight_ports(node, context.view))


def is_vector(context: Context, node: NodeView, port: int) -> bool:
    """Whether a MatMul multiplies by a vector."""
    return node.op == "MatMul" and len(context.view.tensors[node.inputs[port]].shape or (0, 0)) == 1


def undivided(context: Context, node: NodeView, row: Row, port: int, scheme: Scheme) -> bool:
    """Whether a scale per channel is one scale for all: a vector has one output channel, and a kernel may take its
    weight, or a stack of matrices, with one scale alone."""
    if is_vector(context, node, port):
        return True
    if Granularity.PER_CHANNEL not in row.weight_granularities and context.schemes.floats is None:
        return not scheme.storage_only
    stack = node.op == "MatMul" and len(context.view.tensors[node.inputs[port]].shape or ()) > 2
    return stack and "matrix_channels" in row.requires and not scheme.storage_only and context.schemes.floats is None


def weight_ports(context: Context, node: NodeView) -> tuple[int, ...]:
    """The ports of weights: those that a kernel computes with, and those that can be stored alone."""
    found = context.capability.store_for(node, context.view)
    return (*context.rows[node.index].weights, *(found[1] if found is not None else ()))
