"""A file as an integer graph: Q/DQ, quantized while it runs, float, or mixed.

Every node is taken once, in order, and each tensor is known by what it is (`qdsl.integer.lower_values`): integers, a
function of them, floats, or what an operator is about to write. So operators between DequantizeLinear and
QuantizeLinear become integer operators, functions of single values between them tables, and everything else floats.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, cast

import numpy as np
import onnx

from qdsl.graph.view import NodeView
from qdsl.integer import lower_dynamic, lower_functions, lower_joins, lower_moves, lower_pools, lower_quants, lower_sums
from qdsl.integer.functions import FUNCTIONS
from qdsl.integer.lower_ends import give_inputs, take_outputs
from qdsl.integer.lower_errors import CONTRADICTIONS
from qdsl.integer.lower_reading import File
from qdsl.integer.lower_values import Const
from qdsl.integer.lower_work import Handler, Work
from qdsl.integer.records import IntegerGraph


def lower(model: onnx.ModelProto, name: str, io: Literal["int8"] | None = None) -> IntegerGraph:
    """The integer graph of a file, called `name`; its inputs and outputs have the names that they have in the file.

    The batch is 1: a free first dim of an input is set to that. What is uint8 in the file is int8 here: each integer
    and its zero point less 128, those of inputs and outputs, too; so Add, Mul and means, which have zero points in
    their float32, may differ at ties from what a runtime makes of uint8, by a step. `io` "int8": inputs are what the
    QuantizeLinear nodes that read them write, outputs what the DequantizeLinear nodes that write them read; an output
    that is left in floats stays so.

    Raises LoweringError for what has no form there, and QdslError for what is no model (`qdsl.graph.from_proto`)."""
    work = Work(File(model))
    give_inputs(work, io == "int8")
    for node in work.view.nodes:
        _take(work, node)
    return take_outputs(work, name, io == "int8")


# Before opset 13 scales per channel are written in ONNX Runtime's own domain; they mean the same.
_SAME = {("com.microsoft", op) for op in ("QuantizeLinear", "DequantizeLinear")}


def _take(work: Work, node: NodeView) -> None:
    if node.domain not in ("", "ai.onnx") and (node.domain, node.op) not in _SAME:
        raise work.no(node, f"operators of `{node.domain[:80]}` have no kernel here")
    if node.bodies:
        raise work.no(node, "it holds graphs that run on a condition or several times: these have no form here")
    if _constant(work, node):
        return
    handler = HANDLERS.get(node.op)
    if handler is None:
        raise work.no(node, "no kernel of this operator here")
    try:
        handler(work, node)
    except CONTRADICTIONS as error:
        raise work.no(node, f"what it reads, writes and says of itself does not fit: {error}") from error


def _constant(work: Work, node: NodeView) -> bool:
    """Whether `node` is computed here and now, of constants or of shapes; True where it was."""
    if node.op == "DequantizeLinear":
        return False
    if any(not isinstance(work.values[name], Const) for name in node.inputs if name in work.values):
        return node.op == "Shape" and _shape(work, node)
    found = {output: work.file.computed(output) for output in node.outputs if output}
    values = {output: Const(array) for output, array in found.items() if array is not None}
    work.values.update(values)
    return len(values) == len(found)


def _shape(work: Work, node: NodeView) -> bool:
    shape = np.array(work.file.shape(node.inputs[0], node), np.int64)
    start, end = cast("tuple[int | None, int | None]", (node.attrs.get("start"), node.attrs.get("end")))
    work.give(node, Const(shape[slice(start, end)]))
    return True


def _arithmetic(work: Work, node: NodeView) -> None:
    if not lower_dynamic.arithmetic(work, node):
        lower_joins.binary(work, node)


def _reshaping(*names: str) -> dict[str, Handler]:
    return dict.fromkeys(names, lower_moves.reshape)


HANDLERS: Mapping[str, Handler] = {
    **dict.fromkeys((*FUNCTIONS, "PRelu"), lower_functions.function),
    **_reshaping("Reshape", "Flatten", "Squeeze", "Unsqueeze"),
    **dict.fromkeys(("Add", "Sub", "Mul", "Div"), _arithmetic),
    "QuantizeLinear": lower_quants.quantize_linear,
    "DequantizeLinear": lower_quants.dequantize_linear,
    "Conv": lower_sums.conv,
    "Gemm": lower_sums.matrix,
    "MatMul": lower_sums.matrix,
    "Concat": lower_joins.concat,
    "MaxPool": lower_pools.max_pool,
    "GlobalMaxPool": lower_pools.max_pool,
    "AveragePool": lower_pools.average_pool,
    "GlobalAveragePool": lower_pools.global_average,
    "ReduceMean": lower_pools.mean,
    "Softmax": lower_pools.softmax,
    "Identity": lower_moves.same,
    "Dropout": lower_moves.same,
    "Transpose": lower_moves.transpose,
    "Slice": lower_moves.slice_,
    "DepthToSpace": lower_moves.blocks,
    "SpaceToDepth": lower_moves.blocks,
    "Split": lower_moves.split,
    "Gather": lower_moves.gather,
    "Pad": lower_moves.pad,
    "Resize": lower_moves.resize,
    "Upsample": lower_moves.resize,
    "DynamicQuantizeLinear": lower_dynamic.measure,
    "Cast": lower_dynamic.cast,
    "ConvInteger": lower_dynamic.conv_integer,
    "MatMulInteger": lower_dynamic.matmul_integer,
}
