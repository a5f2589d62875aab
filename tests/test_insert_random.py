"""The inserter on random graphs and random decisions: exactly the plan, nothing beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import ModelProto, NodeProto, numpy_helper
from quantized import Measured, SmallPlan, origins
from random_graphs import random_decisions, random_model

from qdsl.capability import load as load_table
from qdsl.graph import from_proto, to_proto
from qdsl.graph.view import GraphView
from qdsl.passes.insert_qdq import InsertQDQ, least_opset
from qdsl.rewrite import run

Array = np.ndarray[Any, Any]
TABLE = load_table("ort_cpu")


class Quantized:
    """A quantized model, looked at from its float nodes."""

    def __init__(self, proto: ModelProto) -> None:
        self.nodes = {node.name: node for node in proto.graph.node}
        self.stored = {tensor.name: tensor for tensor in proto.graph.initializer}
        self.writer = {name: node for node in proto.graph.node for name in node.output}
        self.outputs = {info.name for info in proto.graph.output}

    def source(self, name: str) -> tuple[str, NodeProto | None]:
        """What a port reads: the float tensor behind a pair, or the stored integers, and the DequantizeLinear; or the
        tensor itself."""
        dequantize = self.writer.get(name)
        if dequantize is None or dequantize.op_type != "DequantizeLinear":
            return name, None
        quantize = self.writer.get(dequantize.input[0])
        return (dequantize.input[0] if quantize is None else quantize.input[0]), dequantize

    def public(self, name: str) -> str:
        """The name a tensor had before the graph output of that name became its dequantized value."""
        return name.removesuffix("_before") if name.removesuffix("_before") in self.outputs else name


def check(view: GraphView, plan: SmallPlan, after: Quantized, constants: Mapping[str, Array]) -> None:
    """Every port reads what the plan says, and every stored constant stands for the one it replaces."""
    through = {(r.node, r.port) for tensor in plan.tensors for r in tensor.readers}
    stored = {(w.node, w.port) for w in plan.weights} | {(b.node, b.port) for b in plan.biases}
    for node in view.nodes:
        now = after.nodes[node.name]
        assert now.op_type == node.op
        for port, was in enumerate(node.inputs):
            source, dequantize = after.source(now.input[port])
            if (node.name, port) in stored:
                assert dequantize is not None
                within_half_a_scale(after, source, dequantize, constants[was])
            else:
                assert (dequantize is not None) == ((node.name, port) in through)
                assert after.public(source) == was
    for name in view.outputs:
        assert (after.source(name)[1] is not None) == any(
            tensor.tensor == name and any(not r.node for r in tensor.readers) for tensor in plan.tensors
        )


def within_half_a_scale(after: Quantized, stored: str, dequantize: NodeProto, value: Array) -> None:
    """The stored integers stand for `value`."""
    q, scale = (numpy_helper.to_array(after.stored[name]) for name in (stored, dequantize.input[1]))
    zero = (
        numpy_helper.to_array(after.stored[dequantize.input[2]]) if len(dequantize.input) > 2 else np.zeros(scale.shape)
    )
    axes = [attribute.i for attribute in dequantize.attribute if attribute.name == "axis"]
    along = [-1 if axes == [i] else 1 for i in range(q.ndim)]
    steps, zeros = (part.astype(np.float64).reshape(along if part.ndim and axes else ()) for part in (scale, zero))
    error = np.abs((q.astype(np.float64) - zeros) * steps - value)
    rounding = (
        np.abs(q.astype(np.float64)).max(initial=0) * 2.0**-23
    )  # of the division, in float32: matters for 16 bits
    assert np.all(error <= (0.50001 + rounding) * steps)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000))
def test_random_decisions_are_carried_out_exactly(seed: int) -> None:
    model = from_proto(random_model(seed))
    view = model.view()
    chosen = random_decisions(view, TABLE, seed)
    tensors = chosen.tensors
    plan = SmallPlan(tensors, chosen.weights, chosen.biases)
    if least_opset(plan) > model.opset:
        return
    ranges = Measured({t.tensor: -2.0 for t in tensors}, {t.tensor: 3.0 for t in tensors})
    old = {node.name for node in view.nodes}
    constants = {name: model.values(name) for name in view.tensors if view.is_constant(name)}
    run([InsertQDQ(plan, ranges)], model)
    proto = to_proto(model)
    onnx.checker.check_model(proto, full_check=True)
    check(view, plan, Quantized(proto), constants)
    written = {node.name for node in proto.graph.node} - old
    assert written == set(origins(proto.graph.node))
    assert sum(node.op_type == "QuantizeLinear" for node in proto.graph.node) == len(tensors)
