"""Which tensor of the artifact stands for which tensor of the float model, and how to read its values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, numpy_helper

from qdsl.graph.view import GraphView
from qdsl.spec.plan import Plan

# Bytes of float tensors that one run may hand over at once.
_LARGEST_CHUNK = 1 << 28
_UNKNOWN_BYTES = 1 << 22


@dataclass(frozen=True, slots=True)
class Layer:
    """A float tensor and its double. `exposed` is what the artifact hands over: integers where `scale` is set, so that
    reading them leaves the integer kernels as they are, else dequantized values. `cut`: its range stops where what
    reads it is flat, so that float values beyond count as those at its ends."""

    tensor: str
    exposed: str
    scale: NDArray[np.float32] | None = None
    zero_point: NDArray[Any] | None = None
    cut: bool = False

    def values(self, read: NDArray[Any]) -> NDArray[Any]:
        """Real values of what was read from `exposed`."""
        if self.scale is None or self.zero_point is None:
            return read
        values = read.astype(np.float32)
        values -= self.zero_point.astype(np.float32)
        values *= self.scale
        return values

    def wanted(self, reference: NDArray[Any]) -> NDArray[Any]:
        """What `values` should be for these values of the float model."""
        if not self.cut or self.zero_point is None:
            return reference
        ends = np.iinfo(self.zero_point.dtype)
        low, high = self.values(np.asarray([ends.min, ends.max], np.int32))
        return np.asarray(np.clip(reference, low, high))


def written_layers(plan: Plan, view: GraphView) -> tuple[Layer, ...]:
    """What the quantized nodes of a dynamic `plan` write, in graph order: floats under their own names. Graph outputs
    are left out."""
    written = (view.node(weight.node).outputs[0] for weight in plan.weights)
    inner = [name for name in written if not view.tensors[name].is_output]
    order = {name: i for i, node in enumerate(view.nodes) for name in node.outputs}
    return tuple(Layer(name, name) for name in sorted(inner, key=order.__getitem__))


def layers(proto: ModelProto, tensors: Iterable[str]) -> tuple[Layer, ...]:
    """The planned `tensors` that the artifact `proto` quantizes, in graph order."""
    wanted = set(tensors)
    constants = {tensor.name: tensor for tensor in proto.graph.initializer}
    public = {info.name for info in proto.graph.output}
    readers = [node for node in proto.graph.node if node.op_type == "DequantizeLinear"]
    # Of several that read the same integers, the one that writes a graph output says which tensor it is.
    reader = {node.input[0]: node for node in sorted(readers, key=lambda node: node.output[0] in public)}
    clips = [node for node in proto.graph.node if node.op_type == "Clip"]
    clipped = {node.output[0]: node.input[0] for node in clips}
    # Integers of a width that no type has pass a Clip on their way.
    narrowed = {node.input[0]: node.output[0] for node in clips}
    # A Concat that joins integers needs no DequantizeLinear before it and no QuantizeLinear behind.
    parts = {name for node in proto.graph.node if node.op_type == "Concat" for name in node.input}
    joined = {f"{name}_quantized": name for name in wanted}
    params: dict[str, Sequence[str]] = {}
    found = []
    for node in proto.graph.node:
        if node.op_type not in ("QuantizeLinear", "Concat"):
            continue
        stored = narrowed.get(node.output[0], node.output[0])
        written = reader[stored].output[0] if stored in reader else ""
        if node.op_type == "QuantizeLinear":
            names = (written if written in public else node.input[0], clipped.get(node.input[0], ""))
            params[stored] = node.input[1:3]
        else:
            names = (joined.get(node.output[0], ""), "")
            params.update((stored, params[part]) for part in node.input if part in params)
        name = next((name for name in names if name in wanted), None)
        if name is not None and stored in params and (written or stored in parts):
            found.append(_layer(name, params[stored], stored, written, constants))
    return tuple(found)


def _layer(name: str, params: Sequence[str], stored: str, written: str, constants: dict[str, TensorProto]) -> Layer:
    scale, zero = (constants.get(part) for part in params)
    if scale is None or zero is None or zero.data_type not in _READABLE:
        return Layer(name, written)
    return Layer(name, stored, numpy_helper.to_array(scale), numpy_helper.to_array(zero))


_READABLE = (TensorProto.INT8, TensorProto.UINT8, TensorProto.INT16, TensorProto.UINT16)


def chunks(found: Sequence[Layer], view: GraphView) -> Iterator[list[Layer]]:
    """`found` in lists whose float tensors fit in memory together."""
    here: list[Layer] = []
    taken = 0
    for layer in found:
        tensor = view.tensors.get(layer.tensor)
        elements = None if tensor is None else tensor.elements
        size = _UNKNOWN_BYTES if elements is None else 4 * elements
        if here and taken + size > _LARGEST_CHUNK:
            yield here
            here, taken = [], 0
        here.append(layer)
        taken += size
    if here:
        yield here
