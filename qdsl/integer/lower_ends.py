"""Where an integer graph begins and ends."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from qdsl.graph.view import NodeView
from qdsl.integer.functions import FUNCTIONS
from qdsl.integer.lower_errors import CONTRADICTIONS, LoweringError
from qdsl.integer.lower_layout import CHANNELS_LAST, Axes, identity
from qdsl.integer.lower_quants import encoding_of
from qdsl.integer.lower_values import At, Const, Floats, Ints, Of, Packed, Pending, RunInts, Value
from qdsl.integer.lower_work import Work
from qdsl.integer.records import IntegerGraph

_PLANES = ("Conv", "ConvInteger", "MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "Resize", "Upsample")
_ALONG = ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "Pad", "Cast", "Slice", "Split", "Concat")
_TWO = ("Add", "Sub", "Mul", "Div")
_MOVES = ("Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Slice", "Split", "Gather", "Identity", "Dropout")
_DEEPEST = 32


# --- inputs ----------------------------------------------------------------------------------------------------------


def give_inputs(work: Work, integers: bool) -> None:
    """What stands at the graph's inputs, with channels last where planes are asked for."""
    for name in work.view.inputs:
        seen = work.view.tensors[name]
        if seen.kind == "constant":
            continue
        shape, kind = work.file.shape(name), seen.dtype
        axes = _wanted(work, name, identity(len(shape)), 0) or identity(len(shape))
        if kind in ("int8", "uint8"):
            at = work.graph.tensor(name, shape, axes, "int8")
            work.values[name] = Ints(at, None, kind == "uint8")
        elif kind != "float32":
            raise LoweringError("", f"input `{name[:80]}`", f"it is {kind}: float32, int8 and uint8 have kernels here")
        elif integers:
            _quantized_input(work, name, shape, axes)
        else:
            work.values[name] = Floats(work.graph.tensor(name, shape, axes))


def _quantized_input(work: Work, name: str, shape: tuple[int, ...], axes: Axes) -> None:
    """An input that is what its QuantizeLinear would write, where it is only moved before."""
    readers = list(_readers(work, name, 0))
    told = {encoding_of(work, node)[0] for node in readers if node is not None and node.op == "QuantizeLinear"}
    others = {"an output" if node is None else node.op for node in readers} - {"QuantizeLinear"}
    if len(told) != 1 or others:
        who = ", ".join(sorted(others)) or ("QuantizeLinear nodes of several scales" if told else "nobody")
        reason = f"it cannot be int8: it is read by {who}, not by QuantizeLinear nodes of one scale alone"
        raise LoweringError("", f"input `{name[:80]}`", reason)
    encoding = told.pop()
    work.values[name] = Of(work.graph.tensor(name, shape, axes, "int8", encoding), encoding)


def _readers(work: Work, tensor: str, depth: int) -> Iterator[NodeView | None]:
    """The nodes that read a tensor for more than to move it; None for whatever reads it by its name."""
    if work.view.is_open(tensor):
        yield None
    for node in work.view.users(tensor):
        if node.op not in _MOVES or depth >= _DEEPEST:
            yield node
            continue
        for output in filter(None, node.outputs):
            yield from _readers(work, output, depth + 1)


def _wanted(work: Work, tensor: str, axes: Axes, depth: int) -> Axes | None:
    """The order in which the first reader that cares wants an input. `axes[i]` is the input's axis that axis i of
    `tensor` is."""
    for node in work.view.consumers(tensor) if depth < _DEEPEST else ():
        if node.op in _PLANES and len(axes) in (3, 4):
            return tuple(axes[axis] for axis in (CHANNELS_LAST if len(axes) == 4 else (0, 2, 1)))
        onward = _onward(work, node, tensor, axes)
        for output in node.outputs if onward is not None else ():
            found = _wanted(work, output, onward or axes, depth + 1)
            if found is not None:
                return found
    return None


def _onward(work: Work, node: NodeView, tensor: str, axes: Axes) -> Axes | None:
    """The axes of the input as those of what a node writes; None where it is not to be followed."""
    if node.op == "Transpose":
        perm: Any = node.attrs.get("perm")
        return None if perm is None else tuple(axes[axis] for axis in perm)
    follows = node.op in FUNCTIONS or node.op in _ALONG
    return axes if follows or (node.op in _TWO and any(map(work.view.is_constant, node.inputs))) else None


# --- outputs ---------------------------------------------------------------------------------------------------------


def take_outputs(work: Work, name: str, integers: bool) -> IntegerGraph:
    """The graph, with every output under its name."""
    inputs = tuple(each for each in work.view.inputs if each in work.graph.tensors)
    return work.graph.graph(name, inputs, [_output(work, each, integers) for each in work.view.outputs])


def _output(work: Work, name: str, integers: bool) -> tuple[At, str, str]:
    source = work.view.producer(name)
    node = source.name if source is not None else name
    try:
        at = work.graph.ready(_lying(work, name, integers), node)
    except CONTRADICTIONS as error:
        reason = f"what it reads, writes and says of itself does not fit: {error}"
        raise LoweringError(node, source.op if source is not None else f"output `{name[:80]}`", reason) from error
    if len(at.shape) != 4:
        at = work.graph.laid(at, identity(len(at.shape)), node)
    return at, name, node


def _lying(work: Work, name: str, integers: bool) -> At:
    value: Value | None = work.values.get(name)
    if value is None or isinstance(value, Const | Packed):
        raise LoweringError("", f"output `{name[:80]}`", "it is constant")
    if isinstance(value, Ints):
        return value.at
    if integers and isinstance(value, Of) and not value.steps:
        return value.at
    if isinstance(value, Pending):
        return work.written(name, value)
    if isinstance(value, Floats | Of):
        return work.as_floats(_reader(work, name), value, name)
    kind = "integers quantized at run time" if isinstance(value, RunInts) else "sums"
    raise LoweringError("", f"output `{name[:80]}`", f"it holds {kind}: only floats and int8 have a form here")


def _reader(work: Work, name: str) -> NodeView:
    producer = work.view.producer(name)
    return producer if producer is not None else NodeView(-1, name, "output", "", (name,), (), {}, ())
