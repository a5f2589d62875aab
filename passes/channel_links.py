"""Channels from the layer that writes them to the layer that reads them, through nodes that scaling passes through.

    node(x / s) = node(x) / s        for every s > 0, one per channel

holds of Relu and its leaky forms, of pooling, of padding with zeros, of Resize, and of what only changes the shape
while channels stay apart. A Clip at 0 and above right behind the layer is taken along: its upper bound is divided, too.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite, prod

import numpy as np
import onnx_graphsurgeon as gs

from qdsl.graph.bounds import bounds
from qdsl.graph.constants import Array, lazy_of
from qdsl.graph.model import Model
from qdsl.graph.view import GraphView
from qdsl.graph.walk import inner
from qdsl.passes.output_channels import channels_of, plain_float
from qdsl.rewrite.facts import is_op

LAYERS = ("Conv", "ConvTranspose", "Gemm")
_POOLS = ("MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool")
_SCALE_ALONG = ("Relu", "LeakyRelu", "PRelu", "Identity", *_POOLS)
_SHAPES = ("Flatten", "Reshape", "Squeeze", "Unsqueeze")
_NO_FILL = ("reflect", "edge", "wrap")


@dataclass(frozen=True, slots=True)
class ChannelLink:
    """`before` writes the channels, `behind` reads each as `repeat` inputs side by side, `through` stands between.
    `clip`: the first of `through`, where it is a Clip between 0 and `upper`."""

    before: gs.Node
    behind: gs.Node
    through: tuple[gs.Node, ...]
    repeat: int
    clip: gs.Node | None = None
    upper: float = float("inf")

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(node.name for node in (self.before, *self.through, self.behind))


def link_from(model: Model, view: GraphView, node: gs.Node) -> ChannelLink | str | None:
    """The link that begins at `node`; why it is none; None where no layer begins, or nothing reads it."""
    if not is_op(node, *LAYERS) or len(node.inputs) < 2 or not node.outputs or not node.outputs[0].outputs:
        return None
    reason = obstacle(node)
    if reason is not None:
        return reason
    tensor, through, repeat = node.outputs[0], list[gs.Node](), 1
    while True:
        if not inner(model, tensor):
            return f"its channels are read more than once, as {tensor.name}"
        reader = tensor.outputs[0]
        if reader.inputs[0] is not tensor:
            return f"{reader.name} ({reader.op}) reads its channels beside others"
        if is_op(reader, *LAYERS):
            return _ended(node, reader, tuple(through), repeat)
        passed = _passed(model, view, reader, through, repeat)
        if isinstance(passed, str):
            return passed
        repeat = passed
        through.append(reader)
        tensor = reader.outputs[0]


def obstacle(node: gs.Node) -> str | None:
    """Why the weights of a layer cannot be scaled."""
    parameters = [tensor for tensor in node.inputs[1:] if tensor.name]
    if not parameters or not all(map(plain_float, parameters)):
        return "a parameter is not a constant of a float type"
    if node.op == "Gemm" and node.attrs.get("transA", 0):
        return "it reads its input transposed"
    if node.op == "Gemm" and node.attrs.get("beta", 1.0) != 1.0:
        return "a factor stands beside its bias"
    outputs, shape = channels_of(node), lazy_of(node.inputs[1]).shape
    group = int(node.attrs.get("group", 1)) if node.op != "Gemm" else 1
    if outputs < 1 or group < 1 or outputs % group or (node.op == "ConvTranspose" and shape[0] % group):
        return "its weights do not fit its channels"
    fits = ((), (1,), (1, 1), (outputs,), (1, outputs))
    if len(parameters) > 1 and lazy_of(parameters[1]).shape not in fits:
        return "its bias does not match the channels"
    return None


def inputs_of(node: gs.Node) -> int:
    """Input channels of a layer, as its weights say."""
    shape, group = lazy_of(node.inputs[1]).shape, int(node.attrs.get("group", 1))
    if node.op == "Gemm":
        return shape[1] if node.attrs.get("transB", 0) else shape[0]
    return shape[0] if node.op == "ConvTranspose" else shape[1] * group


def _ended(node: gs.Node, reader: gs.Node, through: tuple[gs.Node, ...], repeat: int) -> ChannelLink | str:
    reason = obstacle(reader)
    if reason is not None:
        return f"of {reader.name}, which reads its channels: {reason}"
    if inputs_of(reader) != channels_of(node) * repeat:
        return f"{reader.name} reads other channels than it writes"
    clip = through[0] if through and through[0].op == "Clip" else None
    found = bounds(clip) if clip is not None else None
    return ChannelLink(node, reader, through, repeat, clip, found[1] if found is not None else float("inf"))


def _passed(model: Model, view: GraphView, node: gs.Node, through: list[gs.Node], repeat: int) -> int | str:
    """The inputs that each channel is behind `node`; or why no scale passes through it."""
    stops = f"{node.name} ({node.op}) does not let a scale pass"
    if node.domain or not all(inner(model, tensor, 0) for tensor in node.outputs[1:]):
        return stops
    if node.op in _SCALE_ALONG:
        slope = node.inputs[1] if node.op == "PRelu" else None
        return repeat if slope is None or isinstance(slope, gs.Constant) else stops
    if node.op == "Clip":
        found = bounds(node)
        fits = not through and found is not None and found[0] == 0 and found[1] > 0 and isfinite(found[1])
        return repeat if fits else f"{node.name} (Clip) bounds it by other than 0 and one number, or not at once"
    if node.op == "Pad":
        return repeat if _pads_zeros(node) else f"{node.name} (Pad) writes other values than zeros beside it"
    if node.op == "Resize":
        kept = _shape(view, node.inputs[0])[1:2] == _shape(view, node.outputs[0])[1:2] != ()
        return repeat if kept and node.attrs.get("coordinate_transformation_mode") != "tf_crop_and_resize" else stops
    if node.op not in _SHAPES:
        return stops
    found_repeat = _repeated(_shape(view, node.inputs[0]), _shape(view, node.outputs[0]))
    return stops if found_repeat is None else repeat * found_repeat


def _shape(view: GraphView, tensor: gs.Tensor) -> tuple[int | str | None, ...]:
    return tuple(view.tensors[tensor.name].shape or ())


def _repeated(before: tuple[int | str | None, ...], behind: tuple[int | str | None, ...]) -> int | None:
    """How many places of axis 1 each channel takes in the new shape; None where channels do not stay apart."""
    if len(before) < 2 or len(behind) < 2 or before[0] != behind[0] or not isinstance(before[1], int):
        return None
    if before[1] == behind[1] and (before[0] is not None or prod(map(_one, before[2:])) == 1):
        return 1
    places = [dim for dim in before[2:] if isinstance(dim, int)]
    known = len(places) == len(before) - 2 and 0 not in places
    return prod(places) if known and len(behind) == 2 and behind[1] == before[1] * prod(places) else None


def _one(dim: int | str | None) -> int:
    return dim if isinstance(dim, int) else 2


def _pads_zeros(node: gs.Node) -> bool:
    """Whether a Pad leaves channels alone, and writes zeros or what is beside them."""
    pads = _numbers(node, 1, "pads")
    if pads is None or (len(node.inputs) > 3 and node.inputs[3].name) or len(pads) < 4:
        return False
    rank = len(pads) // 2
    if any(pads[axis] for axis in (0, 1, rank, rank + 1)):
        return False
    mode = node.attrs.get("mode", "constant")
    value = _numbers(node, 2, "value")
    return mode in _NO_FILL or (mode == "constant" and value is not None and not any(value))


def _numbers(node: gs.Node, port: int, attribute: str) -> list[float] | None:
    """A constant at a port, or the attribute of older opsets; zero where there is neither; None where computed."""
    if attribute in node.attrs:
        return [float(value) for value in np.ravel(node.attrs[attribute])]
    tensor = node.inputs[port] if len(node.inputs) > port and node.inputs[port].name else None
    if tensor is None:
        return [0.0]
    if not isinstance(tensor, gs.Constant):
        return None
    values: Array = lazy_of(tensor).load()
    return [float(value) for value in values.ravel()]
