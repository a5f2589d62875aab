"""An integer graph in numpy: what the C of it has to compute, to the bit.

Integers are those of ONNX Runtime's fused operators on int8 (`session.qdqisint8allowed`; x86-64 with AVX2), floats
agree with it within their rounding. With `rounding="tflite"` sums are requantized in fixed point instead
(`qdsl.integer.rounding`), as are Add, Mul and average pools; tables and softmax are the same in both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdsl.integer import interpret_between as between
from qdsl.integer import interpret_moves as moves
from qdsl.integer import interpret_pools as pools
from qdsl.integer import interpret_products as products
from qdsl.integer import records
from qdsl.integer.layout import checked
from qdsl.integer.records import IntegerGraph
from qdsl.integer.rounding import Rounding
from qdsl.integer.values import Values

Kernel = Callable[[Any, Values], NDArray[Any]]

KERNELS: Mapping[type[records.Op], Kernel] = {
    records.Conv: products.conv,
    records.Dense: products.dense,
    records.FloatConv: products.float_conv,
    records.FloatDense: products.float_dense,
    records.Binary: between.binary,
    records.Concat: between.concat,
    records.MaxPool: pools.max_pool,
    records.AveragePool: pools.average_pool,
    records.Resize: moves.resize,
    records.Pad: moves.pad,
    records.Table: between.table,
    records.Unary: between.unary,
    records.Softmax: between.softmax,
    records.Quantize: between.quantize,
    records.Dequantize: between.dequantize,
    records.DynamicQuantize: between.dynamic_quantize,
    records.Reshape: moves.reshape,
    records.Transpose: moves.transpose,
    records.Slice: moves.sliced,
}


def run(
    graph: IntegerGraph, feeds: Mapping[str, NDArray[Any]], *, every: bool = False, rounding: Rounding = "ort"
) -> dict[str, NDArray[Any]]:
    """The outputs by name, or every tensor; `feeds` and results are as stored (`qdsl.integer.layout`).

    Raises ValueError where an input is missing or is not what the graph stores, and where an operator gives what its
    output does not store."""
    missing = [name for name in graph.inputs if name not in feeds]
    if missing:
        raise ValueError(f"no values for {', '.join(missing)}")
    arrays = {name: checked(graph.tensors[name], feeds[name]) for name in graph.inputs}
    values = Values(graph, rounding, {**graph.constants, **arrays})
    for op in graph.ops:
        values.arrays[op.output] = checked(graph.tensors[op.output], np.asarray(KERNELS[type(op)](op, values)))
    return values.arrays if every else {name: values.arrays[name] for name in graph.outputs}
