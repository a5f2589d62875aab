"""What a plan says that a graph computes where some of its nodes are float16: an interpreter beside the file's own way,
as `plan_numerics` is of float32. A float16 node is run by itself, as float16; a scale with `float16_scales` is found
here anew, and what is dequantized for a float16 port is rounded once.

A file is run node by node, too: ONNX Runtime has hardly a float16 kernel for CPUs, computes in float32 between Casts of
its own, and takes out a Cast to float16 that one to float32 follows, with its rounding, optimizations off or not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from plan_numerics import STEPS, Array, Interpreter, rounded, unfused

from qdsl.spec import Granularity
from qdsl.spec.plan import Float16Node, Origin, Plan, WeightPlan

_NONE = Float16Node("", (), (), Origin("none"))


def least_half(scale: Any) -> Any:
    """The least float16 that is not below a float32, as float32."""
    codes = np.arange(0x7C00, dtype=np.uint16).view(np.float16).astype(np.float32)  # every one from 0 to 65504
    return codes[np.searchsorted(codes, np.asarray(scale, np.float32))]


class HalfInterpreter(Interpreter):
    """A float model, and one plan of it."""

    def answers(self, plan: Plan, ranges: Mapping[str, tuple[float, float]], **inputs: Array) -> dict[str, Array]:
        """The graph outputs."""
        halves = {half.node: half for half in plan.halves}
        exact = self._scales(plan.tensors, ranges)
        scales = {
            each.group: least_half(exact[each.group]) if each.scheme.float16_scales else exact[each.group]
            for each in plan.tensors
        }
        read = {(to.node, to.port): scales[each.group] for each in plan.tensors for to in each.readers}
        stored = {(each.node, each.port): self._stored(each) for each in plan.weights}
        values: dict[str, Array] = {**self.constants, **inputs}
        for node in self.model.graph.node:
            half = halves.get(node.name, _NONE)
            fed = {}
            for port, name in enumerate(node.input):
                if not name or (name in self.constants and (node.name, port) not in stored):
                    continue
                value, scale = stored.get((node.name, port), values[name]), read.get((node.name, port))
                value = value if scale is None else rounded(value.astype(np.float32), scale)
                fed[f"in{port}"] = _typed(value, port in half.reads)
            outputs = [name for name in node.output if name]
            values.update(zip(outputs, self._of(node, half, stored).run(None, fed), strict=True))
        return {name: _typed(values[name], half=False) for name in self.outputs}

    def _stored(self, plan: WeightPlan) -> Array:
        if not plan.scheme.float16_scales:
            return self._weight(plan)
        values = self.constants[plan.tensor].astype(np.float32)
        per_channel = plan.scheme.granularity is Granularity.PER_CHANNEL
        axes = tuple(i for i in range(values.ndim) if i != plan.axis) if per_channel else None
        reach = np.abs(values).max(axis=axes, keepdims=True)
        scale = np.where(reach > 0, reach.astype(np.float64) / STEPS, 1.0).astype(np.float32)
        return rounded(values, least_half(scale))

    def _of(self, node: NodeProto, half: Float16Node, stored: Mapping[tuple[str, int], Array]) -> ort.InferenceSession:
        """`node` as a model of its own, with float16 at the ports that `half` names."""
        ports = frozenset(port for at, port in stored if at == node.name)
        if half is _NONE:
            return self._session(node, ports)
        key = f"{node.name} in float16", ports
        if key not in self._made:
            self._made[key] = unfused(self._in_float16(node, half, ports))
        return self._made[key]

    def _in_float16(self, node: NodeProto, half: Float16Node, stored: frozenset[int]) -> Any:
        copy = NodeProto()
        copy.CopyFrom(node)
        inputs, constants = [], []
        for port, name in enumerate(node.input):
            if not name:
                continue
            copy.input[port] = f"in{port}"
            if name in self.constants and port not in stored:
                value = self.constants[name]
                value = value.astype(np.float16) if port in half.reads else value
                constants.append(numpy_helper.from_array(value, f"in{port}"))
                continue
            kind = TensorProto.FLOAT16 if port in half.reads else self._element(name)
            inputs.append(helper.make_tensor_value_info(f"in{port}", kind, None))
        kinds = {node.output[port]: TensorProto.FLOAT16 for port in half.writes}
        written = [(name, kinds.get(name, self._element(name))) for name in node.output if name]
        outputs = [helper.make_tensor_value_info(name, kind, None) for name, kind in written]
        if node.op_type == "Cast" and half.writes:
            next(each for each in copy.attribute if each.name == "to").i = TensorProto.FLOAT16
        graph = helper.make_graph([copy], "alone", inputs, outputs, constants)
        return helper.make_model(graph, opset_imports=self.model.opset_import, ir_version=self.model.ir_version)


def node_by_node(model: ModelProto, **inputs: Array) -> dict[str, Array]:
    """The graph outputs of a file, each of whose nodes writes what it is declared to."""
    graph = onnx.shape_inference.infer_shapes(model).graph
    values: dict[str, Array] = dict(inputs)
    stored = {each.name: each for each in graph.initializer}
    kinds = {each.name: each.type.tensor_type.elem_type for each in (*graph.value_info, *graph.input, *graph.output)}
    for node in graph.node:
        given, written = ([name for name in dict.fromkeys(names) if name] for names in (node.input, node.output))
        read = [helper.make_tensor_value_info(name, kinds[name], None) for name in given if name not in stored]
        outputs = [helper.make_tensor_value_info(name, kinds[name], None) for name in written]
        alone = helper.make_graph([node], "alone", read, outputs, [stored[name] for name in given if name in stored])
        made = helper.make_model(alone, opset_imports=model.opset_import, ir_version=model.ir_version)
        fed = {each.name: values[each.name] for each in read}
        values.update(zip(written, unfused(made).run(None, fed), strict=True))
    return {each.name: values[each.name] for each in graph.output}


def _typed(value: Array, half: bool) -> Array:
    """Floats in the type that a port reads; what is no float stays."""
    return value.astype(np.float16 if half else np.float32) if value.dtype in (np.float16, np.float32) else value
