"""What ST Edge AI Core documents of single operators: attributes, axes and inputs that it does not take."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from qdsl.graph.view import GraphView, NodeView

# Whether the tool does not take it, what is there, and what the documentation says.
Told = tuple[bool, str, str]
_DEFAULT = "ST Edge AI Core takes the default value alone"
_BATCH = "ST Edge AI Core does not move, cut or join along the batch"
# Of an operator: attributes that may have one value alone, with the value that ONNX gives where none is written.
_DEFAULTS: dict[str, dict[str, tuple[object, ...]]] = {
    "QuantizeLinear": {"block_size": (0,), "saturate": (1,), "output_dtype": (0,)},
    "DequantizeLinear": {"block_size": (0,), "output_dtype": (0,)},
    "Cast": {"saturate": (1,)},
    "Reshape": {"allowzero": (0,)},
    "MaxPool": {"storage_order": (0,)},
    "Shape": {"start": (0,), "end": ()},
    "Resize": {"antialias": (0,), "keep_aspect_ratio_policy": ("stretch",), "axes": ()},
    "LSTM": {"layout": (0,)},
}
_MODES = {
    ("Resize", "mode", "cubic"),
    ("Resize", "coordinate_transformation_mode", "half_pixel_symmetric"),
    ("Pad", "mode", "wrap"),
}
_SOFTMAXES = frozenset({"Softmax", "LogSoftmax", "Hardmax"})
_NEW_SOFTMAX = 13  # the opset from which the default axis is -1


def attributes(view: GraphView, node: NodeView) -> Iterator[Told]:
    """What is found at `node`, each with the same words where it is the same."""
    if node.domain not in ("", "ai.onnx"):
        return
    for name, allowed in _DEFAULTS.get(node.op, {}).items():
        if name in node.attrs and node.attrs[name] not in allowed:
            yield True, f"{node.op} with {name}", _DEFAULT
    for op, name, value in _MODES:
        if node.op == op and node.attrs.get(name) == value:
            yield True, f"{op} with {name} {value}", "ST Edge AI Core does not have it"
    look = _LOOKS.get(node.op)
    if look is not None:
        yield from look(view, node)


def _softmax(view: GraphView, node: NodeView) -> Iterator[Told]:
    rank = _rank(view, node)
    written = node.attrs.get("axis")
    axis = written if isinstance(written, int) else (-1 if view.opset >= _NEW_SOFTMAX else 1)
    along = axis + rank if axis < 0 and rank is not None else axis
    why = "ST Edge AI Core takes axis 1 alone, that of the channels"
    if along != 1:
        yield True, f"{node.op} along axis {axis}", why
    elif axis < 0:
        yield False, f"{node.op} along axis {axis}, which is 1 here", f"{why}, and reads no -1: write it as 1"


def _pool(view: GraphView, node: NodeView) -> Iterator[Told]:
    if any(step != 1 for step in _numbers(node, "dilations")):
        yield True, f"{node.op} with dilations", _DEFAULT


def _batch_normalization(view: GraphView, node: NodeView) -> Iterator[Told]:
    if sum(bool(name) for name in node.outputs) > 1:
        yield True, "BatchNormalization with more than one output", "ST Edge AI Core takes the first alone"


def _pad(view: GraphView, node: NodeView) -> Iterator[Told]:
    if len(node.inputs) > 3 and node.inputs[3]:
        yield True, "Pad with axes", "ST Edge AI Core pads all dimensions"


def _prelu(view: GraphView, node: NodeView) -> Iterator[Told]:
    if len(node.inputs) > 1 and not _stored(view, node.inputs[1]):
        yield True, "PRelu with a slope that is computed", "ST Edge AI Core takes a constant one alone"


def _transpose(view: GraphView, node: NodeView) -> Iterator[Told]:
    rank, order = _rank(view, node), _numbers(node, "perm")
    if (order and order[0] != 0) or (not order and rank is not None and rank > 1):
        yield True, "Transpose of the batch", _BATCH


def _along_batch(view: GraphView, node: NodeView) -> Iterator[Told]:
    rank, axis = _rank(view, node), node.attrs.get("axis", 1 if node.op == "Flatten" else 0)
    if rank is not None and rank > 1 and isinstance(axis, int) and axis in (0, -rank):
        yield True, f"{node.op} along the batch", _BATCH


def _matmul(view: GraphView, node: NodeView) -> Iterator[Told]:
    shapes = [shape for name in node.inputs if (shape := _shape(view, name)) is not None]
    if any(len(shape) > 4 or (len(shape) == 4 and shape[0] not in (1, None)) for shape in shapes):
        yield True, "MatMul of more than three dimensions", "ST Edge AI Core multiplies up to three beside a batch of 1"


def _split(view: GraphView, node: NodeView) -> Iterator[Told]:
    shape, axis = _shape(view, node.inputs[0]), node.attrs.get("axis", 0)
    side = shape[axis] if shape is not None and isinstance(axis, int) and -len(shape) <= axis < len(shape) else None
    if isinstance(side, int) and side != len(node.outputs):
        why = "documented is a Split into single slices alone"
        yield False, f"Split of {side} into {len(node.outputs)}", why


def _hard_sigmoid(view: GraphView, node: NodeView) -> Iterator[Told]:
    rank = _rank(view, node)
    if rank is not None and rank > 2:
        yield False, "HardSigmoid of more than a vector", "documented is a HardSigmoid of vectors alone"


_LOOKS: dict[str, Callable[[GraphView, NodeView], Iterator[Told]]] = {
    **dict.fromkeys(_SOFTMAXES, _softmax),
    **dict.fromkeys(("AveragePool", "MaxPool"), _pool),
    **dict.fromkeys(("Concat", "Gather", "GatherElements", "Flatten"), _along_batch),
    "BatchNormalization": _batch_normalization,
    "Pad": _pad,
    "PRelu": _prelu,
    "Transpose": _transpose,
    "MatMul": _matmul,
    "Split": _split,
    "HardSigmoid": _hard_sigmoid,
}


def _stored(view: GraphView, name: str) -> bool:
    """Whether a tensor is a constant, or one behind Q and DQ."""
    producer = view.producer(name)
    while producer is not None and producer.op in ("QuantizeLinear", "DequantizeLinear"):
        name = producer.inputs[0]
        producer = view.producer(name)
    return view.is_constant(name)


def _numbers(node: NodeView, name: str) -> tuple[int, ...]:
    found = node.attrs.get(name)
    return tuple(each for each in found if isinstance(each, int)) if isinstance(found, tuple) else ()


def _shape(view: GraphView, name: str) -> tuple[int | str | None, ...] | None:
    found = view.tensors.get(name)
    return None if found is None else found.shape


def _rank(view: GraphView, node: NodeView) -> int | None:
    shape = _shape(view, node.inputs[0]) if node.inputs else None
    return None if shape is None else len(shape)
