"""Small Q/DQ graphs in a few words, for tests of lowering."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from integer_models import fused, interpreted
from integer_random import some_feeds
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from qdsl.integer.lower import lower
from qdsl.integer.records import IntegerGraph, Op

Array = NDArray[Any]


class Small:
    """A graph that grows: every method gives the name of what it adds."""

    def __init__(self, *shape: int | str, kind: int = TensorProto.FLOAT, opset: int = 17, seed: int = 0) -> None:
        self.inputs = [helper.make_tensor_value_info("x", kind, shape)]
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.opset = opset
        self.draw = np.random.default_rng(seed)

    def op(self, op: str, *inputs: str, outputs: int = 1, **attributes: Any) -> str:
        name = f"{op.lower()}{len(self.nodes)}"
        made = [name, *(f"{name}_{number}" for number in range(1, outputs))]
        self.nodes.append(helper.make_node(op, inputs, made, name=name, **attributes))
        return name

    def constant(self, values: Any, dtype: Any = np.float32) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(values, dtype), name))
        return name

    def normal(self, *shape: int, by: float = 0.5) -> str:
        return self.constant(self.draw.normal(0, by, shape))

    def pair(self, x: str, scale: Any = 0.05, zero: Any = 0, dtype: Any = np.int8) -> str:
        """QuantizeLinear and DequantizeLinear."""
        return self.dequantize(self.quantize(x, scale, zero, dtype), scale, zero, dtype)

    def quantize(self, x: str, scale: Any = 0.05, zero: Any = 0, dtype: Any = np.int8) -> str:
        return self.op("QuantizeLinear", x, self.constant(scale), self.constant(zero, dtype))

    def dequantize(self, x: str, scale: Any = 0.05, zero: Any = 0, dtype: Any = np.int8) -> str:
        return self.op("DequantizeLinear", x, self.constant(scale), self.constant(zero, dtype))

    def weight(self, *shape: int, scale: Any = 0.01, zero: Any = 0, axis: int = 0, dtype: Any = np.int8) -> str:
        """A stored weight behind its DequantizeLinear."""
        low = -127 if dtype == np.int8 else 0
        stored = self.constant(self.draw.integers(low, low + 255, shape), dtype)
        zeros = np.full(np.shape(scale), zero)
        return self.op("DequantizeLinear", stored, self.constant(scale), self.constant(zeros, dtype), axis=axis)

    def proto(self, *outputs: str, kind: int = TensorProto.FLOAT) -> onnx.ModelProto:
        ends = [helper.make_tensor_value_info(name, kind, None) for name in outputs]
        graph = helper.make_graph(self.nodes, "small", self.inputs, ends, self.constants)
        opsets = [helper.make_opsetid("", self.opset), helper.make_opsetid("com.microsoft", 1)]
        return onnx.shape_inference.infer_shapes(helper.make_model(graph, opset_imports=opsets, ir_version=8))


def kinds(graph: IntegerGraph) -> dict[str, int]:
    return dict(Counter(type(op).__name__ for op in graph.ops))


def furthest(proto: onnx.ModelProto, seeds: Sequence[int] = (0, 1)) -> float:
    """How far the interpreter is from ONNX Runtime's fused kernels, as a share of the largest value."""
    graph, found = lower(proto, "small"), 0.0
    for seed in seeds:
        feeds = some_feeds(proto, seed)
        got, want = interpreted(graph, feeds), fused(proto, feeds)
        for name, array in want.items():
            assert got[name].shape == array.shape
            floats = array.astype(np.float64)
            found = max(found, float(np.abs(got[name] - floats).max() / max(np.abs(floats).max(), 1e-9)))
    return found


def only(graph: IntegerGraph, kind: type[Op]) -> Any:
    """The one operator of a kind."""
    (found,) = (op for op in graph.ops if isinstance(op, kind))
    return found
