"""What a plan says a model computes: an interpreter that runs the float model node by node and rounds, in numpy, what
the plan has in integers, where the plan has a reader of it. It shares nothing with the inserter and the emitter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from onnx import ModelProto, NodeProto, helper, numpy_helper

from qdsl.quant.scales import whole_inverse
from qdsl.spec import Granularity
from qdsl.spec.plan import TensorPlan, WeightPlan

Array = np.ndarray[Any, Any]
LOWEST, HIGHEST = -128, 127  # what int8 saturates at; the scale of a symmetric one is of 127 steps
STEPS = 127


def rounded(values: Array, scale: Array) -> Array:
    """Through int8 and back: round half to even, saturate."""
    steps = np.clip(np.rint(values / scale), LOWEST, HIGHEST)
    return np.asarray(steps.astype(np.float32) * scale, np.float32)


def unfused(model: ModelProto | bytes) -> ort.InferenceSession:
    """Runs each node as it stands in the file."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    data = model if isinstance(model, bytes) else model.SerializeToString()
    return ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])


class Interpreter:
    """A float model, node by node."""

    def __init__(self, model: ModelProto) -> None:
        self.model = model
        self.constants = {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}
        self.outputs = [each.name for each in model.graph.output]
        self.softmax = {name for node in model.graph.node if node.op_type == "Softmax" for name in node.output}
        typed = onnx.shape_inference.infer_shapes(model).graph
        self._types = {each.name: each.type for each in (*typed.value_info, *typed.input, *typed.output)}
        self._made: dict[tuple[str, frozenset[int]], ort.InferenceSession] = {}

    def floats(self, **inputs: Array) -> dict[str, Array]:
        """Every tensor of the float model."""
        return self._run(inputs, {}, {})

    def planned(
        self,
        tensors: Sequence[TensorPlan],
        weights: Sequence[WeightPlan],
        ranges: Mapping[str, tuple[float, float]],
        **inputs: Array,
    ) -> dict[str, Array]:
        """The graph outputs as the plan has them."""
        scales = self._scales(tensors, ranges)
        read = {(r.node, r.port): scales[t.group] for t in tensors for r in t.readers}
        stored = {(w.node, w.port): self._weight(w) for w in weights}
        found = self._run(inputs, read, stored)
        given = {t.tensor: scales[t.group] for t in tensors if any(not r.node for r in t.readers)}
        return {name: rounded(found[name], given[name]) if name in given else found[name] for name in self.outputs}

    def _weight(self, plan: WeightPlan) -> Array:
        values = self.constants[plan.tensor].astype(np.float32)
        per_channel = plan.scheme.granularity is Granularity.PER_CHANNEL
        axes = tuple(i for i in range(values.ndim) if i != plan.axis) if per_channel else None
        reach = np.abs(values).max(axis=axes, keepdims=True)
        return rounded(values, np.where(reach > 0, reach.astype(np.float64) / STEPS, 1.0).astype(np.float32))

    def _run(
        self,
        inputs: Mapping[str, Array],
        read: Mapping[tuple[str, int], Array],
        stored: Mapping[tuple[str, int], Array],
    ) -> dict[str, Array]:
        values = {**self.constants, **inputs}
        for node in self.model.graph.node:
            session = self._session(node, frozenset(port for at, port in stored if at == node.name))
            fed = {}
            for port, name in enumerate(node.input):
                if name and (name not in self.constants or (node.name, port) in stored):
                    value = stored.get((node.name, port), values[name])
                    scale = read.get((node.name, port))
                    fed[f"in{port}"] = value if scale is None else rounded(value, scale)
            outputs = [name for name in node.output if name]
            values.update(zip(outputs, session.run(None, fed), strict=True))
        return values

    def _session(self, node: NodeProto, stored: frozenset[int]) -> ort.InferenceSession:
        """`node` as a model of its own: its inputs by port, so that one tensor may be two things at two of them. What
        is a constant in the file is one here, since kernels pack those first and add in another order."""
        key = node.name, stored
        if key not in self._made:
            self._made[key] = unfused(self._alone(node, stored))
        return self._made[key]

    def _alone(self, node: NodeProto, stored: frozenset[int]) -> ModelProto:
        copy = NodeProto()
        copy.CopyFrom(node)
        inputs = []
        held = [name for port, name in enumerate(node.input) if name in self.constants and port not in stored]
        for port, name in enumerate(node.input):
            if name and (name not in self.constants or port in stored):
                copy.input[port] = f"in{port}"
                inputs.append(helper.make_tensor_value_info(f"in{port}", self._element(name), None))
        outputs = [helper.make_tensor_value_info(name, self._element(name), None) for name in node.output if name]
        constants = [numpy_helper.from_array(self.constants[name], name) for name in dict.fromkeys(held)]
        graph = helper.make_graph([copy], "alone", inputs, outputs, constants)
        return helper.make_model(graph, opset_imports=self.model.opset_import, ir_version=self.model.ir_version)

    def _element(self, name: str) -> int:
        if name in self.constants:
            return int(helper.np_dtype_to_tensor_dtype(self.constants[name].dtype))
        return int(self._types[name].tensor_type.elem_type)

    def _scales(self, tensors: Sequence[TensorPlan], ranges: Mapping[str, tuple[float, float]]) -> dict[str, Array]:
        """One scale for each group: that of its widest member that is measured. The scale of what a Softmax writes has
        a whole number as its inverse."""
        reach: dict[str, float] = {}
        for each in tensors:
            if each.observe:
                widest = max(map(abs, ranges[each.tensor]))
                reach[each.group] = max(reach.get(each.group, 0.0), widest)
        whole = {each.group for each in tensors if each.tensor in self.softmax}
        found = {group: np.float32(widest / STEPS if widest else 1.0) for group, widest in reach.items()}
        return {group: whole_inverse(scale) if group in whole else scale for group, scale in found.items()}
