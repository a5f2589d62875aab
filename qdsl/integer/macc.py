"""Multiplications and additions as ST counts them (MACC), so that figures stand beside those of its tool.

Read off reports of ST Edge AI Core (`c_macc`), which documents no rule:
- a convolution: one per product, and one per entry of its bias; a matrix likewise;
- a pool: an input element each; two tensors in one: an output element each;
- Quantize and Dequantize: 2 an element; Sigmoid 10, Softmax 15 an element;
- what is fused into another operator, moves values or changes their shape: nothing.

No report has shown the other functions: those of the C library are counted as Sigmoid is, a Relu of its own as 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

from qdsl.integer.records import (
    AveragePool,
    Binary,
    Conv,
    Dense,
    Dequantize,
    DynamicQuantize,
    FloatConv,
    FloatDense,
    Floats,
    IntegerGraph,
    MaxPool,
    Op,
    Quantize,
    Softmax,
    Table,
    Tensor,
    Unary,
)

CONVERSION = 2
SOFTMAX = 15
CURVE = 10
LINES = frozenset({"Relu", "Clip", "LeakyRelu", "ThresholdedRelu", "Abs", "Neg", "Identity"})


def macc(graph: IntegerGraph) -> dict[str, int]:
    """MACC of each operator of `graph`, by its output, in the order in which they run."""
    return {op.output: macc_of(op, graph.tensors) for op in graph.ops}


def total(graph: IntegerGraph) -> int:
    return sum(macc(graph).values())


def as_converted(graph: IntegerGraph) -> int:
    """The total as ST counts a network whose inputs and outputs are other integers than inside: each of `graph` that is
    int8 costs a conversion, as if it were uint8 or float32 outside."""
    ends = [graph.tensors[name] for name in (*graph.inputs, *graph.outputs)]
    return total(graph) + sum(CONVERSION * prod(end.shape) for end in ends if end.dtype == "int8")


def macc_of(op: Op, tensors: Mapping[str, Tensor]) -> int:
    size = prod(tensors[op.output].shape)
    match op:
        case Conv() | FloatConv():
            return size * prod(op.weight.shape[1:]) + biases(op)
        case Dense() | FloatDense():
            return size * int(op.weight.shape[1]) + biases(op)
        case AveragePool() | MaxPool():
            return prod(tensors[op.inputs[0]].shape)
        case Binary():
            return size
        case Quantize() | Dequantize() | DynamicQuantize():
            return CONVERSION * size
        case Softmax():
            return SOFTMAX * size
        case Table() | Unary():
            return (1 if op.function in LINES else CURVE) * size
    return 0


def biases(op: Conv | Dense | FloatConv | FloatDense) -> int:
    late = isinstance(op, Conv | Dense) and isinstance(op.to, Floats) and op.to.bias is not None
    return len(op.weight) if late or op.bias is not None else 0
