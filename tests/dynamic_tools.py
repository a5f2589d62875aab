"""Dynamic builds for tests: recipes, and one node computed as the integers stand for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper
from plan_tools import decided
from quantized import session

from qdsl.graph import Model, from_proto, to_proto
from qdsl.passes.quantize_dynamic import QuantizeDynamic
from qdsl.quant import dequantize, quantize_weight, weight_parameters
from qdsl.rewrite import run as run_passes
from qdsl.spec.plan import Plan

HEAD = """recipe demo
model onnx "demo.onnx"
quantize dynamic {{ {settings} }}
target ort

"""
EVERY = "layers op [Conv, Gemm, MatMul] {{ weights {weights} }}\n"


def dynamic_head(settings: str = "weights 8 bit; activations uint8") -> str:
    return HEAD.format(settings=settings)


def everything(weights: str = "8 bit") -> str:
    """A rule that asks for integers wherever they can be, however small the node."""
    return EVERY.format(weights=weights)


def planned(model: Model, rules: str = "", settings: str = "weights 8 bit; activations uint8") -> Plan:
    return decided(model.view(), rules, head=dynamic_head(settings)).plan


def carried_out(model: Model, plan: Plan) -> onnx.ModelProto:
    """The model after the pass, run by the runner and checked by ONNX; `model` stays as it is."""
    copy = model.copy()
    run_passes([QuantizeDynamic(plan)], copy)
    proto = to_proto(copy)
    onnx.checker.check_model(proto, full_check=True)
    return proto


def one_node(
    op: str, inputs: Mapping[str, NDArray[np.float32] | tuple[int, ...]], x: NDArray[np.float32], **attrs: Any
) -> onnx.ModelProto:
    """`y = op(x, ...)` with the other inputs as constants, or as graph inputs where there is only a shape."""
    names = ["x", *inputs]
    node = onnx.helper.make_node(op, names, ["y"], name="node", **attrs)
    given = [onnx.helper.make_tensor_value_info("x", 1, x.shape)]
    shapes = {n: value for n, value in inputs.items() if isinstance(value, tuple)}
    given += [onnx.helper.make_tensor_value_info(n, 1, shape) for n, shape in shapes.items()]
    constants = [numpy_helper.from_array(value, n) for n, value in inputs.items() if not isinstance(value, tuple)]
    out = onnx.helper.make_tensor_value_info("y", 1, None)
    graph = onnx.helper.make_graph([node], "one", given, [out], constants)
    made = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    return onnx.shape_inference.infer_shapes(made)


def rounded(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """The values that DynamicQuantizeLinear's integers stand for (ONNX operator DynamicQuantizeLinear-11)."""
    low, high = np.float32(min(0.0, float(x.min()))), np.float32(max(0.0, float(x.max())))
    scale = np.float32((high - low) / np.float32(255)) if high > low else np.float32(1)
    zero = np.float32(np.rint(np.clip(-low / scale, 0, 255)))
    stored = np.clip(np.rint(x / scale) + zero, 0, 255)
    return np.asarray((stored - zero) * scale, np.float32)


def expected(proto: onnx.ModelProto, plan: Plan, x: NDArray[np.float32], **more: Any) -> NDArray[np.float32]:
    """What one quantized node stands for: the float operator on rounded activations and rounded weights."""
    changed = onnx.ModelProto()
    changed.CopyFrom(proto)
    (weight,) = plan.weights
    for tensor in changed.graph.initializer:
        if tensor.name == weight.tensor:
            value = numpy_helper.to_array(tensor)
            params = weight_parameters(value, weight.scheme, weight.axis, guard=weight.guard)
            back = dequantize(quantize_weight(value, weight.scheme, params, weight.guard).values, params)
            tensor.CopyFrom(numpy_helper.from_array(back, tensor.name))
    found: NDArray[np.float32] = session(changed).run(None, {"x": rounded(x), **more})[0]
    return found


def compared(proto: onnx.ModelProto, x: NDArray[np.float32], rules: str, **more: Any) -> tuple[Plan, float]:
    """The plan of a model of one node, and its largest error against what its integers stand for, relative to the
    largest value."""
    model = from_proto(proto)
    plan = planned(model, rules)
    made = carried_out(model, plan)
    assert {n.op_type for n in made.graph.node} & {"ConvInteger", "MatMulInteger"}
    want = expected(proto, plan, x, **more)
    (got,) = session(made).run(None, {"x": x, **more})
    assert got.shape == want.shape
    largest = float(np.abs(want).max(initial=0.0))
    return plan, float(np.abs(got - want).max(initial=0.0)) / (largest or 1.0)
